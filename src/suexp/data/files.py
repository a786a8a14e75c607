"""Texts of your own, from local files."""

import itertools
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from suexp.contents import content_hash
from suexp.data.columns import COLUMNS, columns_of, optional_columns
from suexp.data.document import UNKNOWN, Document, of_split
from suexp.data.layout import KINDS
from suexp.data.paths import Paths, found_files
from suexp.data.records import as_document, format_of, records
from suexp.data.text import Text, one_of
from suexp.errors import UserError


class Files(Text):
    r"""Local text, JSON, CSV, TSV and Parquet files, packed by gzip or not, for any kind of task.

    Each record is a document. ``kind=lm`` packs them into blocks: ``tokens`` of a batch is
    (batch_size, block_size + 1). ``kind=classification`` keeps one a row: ``tokens`` (B, n),
    ``keep`` (B, n) and ``label`` (B,), the place of the label in the sorted labels of the training
    split; where rows have a second text, column ``other``, they hold both (see
    `suexp.data.labelling`). ``kind=multilabel`` likewise, but ``label`` is a list of labels, and
    ``kind=regression``, where it is a number. ``kind=pairs`` keeps two texts a row, columns
    ``text`` and ``other``, and ``label``, 1 or 0, where there is one (see `suexp.data.pairing`);
    ``unlabelled`` pairs may join the labelled ones of the training split. ``kind=similar`` reads
    the same columns and gives each pair in both directions (see `suexp.data.both_ways`).
    ``kind=seq2seq`` joins the source ``text`` and the target ``other`` in a row (see
    `suexp.data.joining`). ``kind=tagging`` gives each token a tag: in JSON the columns ``tokens``
    and ``tags``, in CoNLL's files the first and the last column (see `suexp.data.tagged_lines`), in
    plain text the blanks between words, each line a text (see `suexp.data.tagging`).
    ``kind=sentences`` has single texts in rows of one width (see `suexp.data.sentences`). With no
    validation file, records are held out by a hash of their text: equal texts stay together.

    Reference: https://jsonlines.org, https://www.rfc-editor.org/rfc/rfc4180,
    https://parquet.apache.org.

    Args:
        train: path, glob or list of them, relative to the folder that suexp is started in.
        validation: likewise; null: ``val_fraction`` of the training records.
        test: likewise; null: no test split.
        kind: ``lm``, ``classification``, ``multilabel``, ``regression``, ``pairs``, ``similar``,
            ``seq2seq``, ``tagging`` or ``sentences``.
        columns: ``text``, ``label``, ``other`` (a second text), ``tokens``, ``tags`` -> the file's
            name for them, ``a.b`` for field b of an object a; of a table without a header, the
            column's number from 0. A list of texts is joined.
        format: text, json (an object a line, or one list), csv (with commas, tabs or semicolons),
            tsv, conll (a token and its tag a line) or parquet; null: as each file's name or its
            first lines say.
        header: whether the first line of CSV and TSV names the columns; null: unless some of
            ``columns`` are numbers which it does not have.
        document: what is one document of a text file: ``paragraph`` (up to a blank line), ``line``
            or ``file``; of tagged text always ``line``.
        tokenizer: ``auto``, by the first training texts: ``chars`` of Chinese and of single
            characters with tags, ``words`` of words with tags, else ``bpe``; ``bpe``, trained on
            the training split, ``bytes``, ``wordpiece``, BERT's, ``chars`` or ``words``, the
            characters of the training split or what it has between blanks, ``sentencepiece``, or
            ``cpm``, those pieces with CPM's blanks and line ends (`suexp.data.pieces`).
        vocab_size: tokens of the BPE, the 3 special ones included, or the most characters or words,
            one unknown and 3 special ones included; the bytes always have 259.
        block_size: tokens that a row predicts, or the most tokens of a single text.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of the records held out where no validation file is given.
        max_bytes: the most training text, in bytes; null: all.
        truncate: cut single texts that are longer than block_size; false: refuse them.
        vocab: of wordpiece, a checkpoint's vocab.txt, of sentencepiece and cpm its model; or its
            folder.
        reserved: further special tokens, to which a task gives a meaning; they come last.
        begin: a single text begins with a token of its own, where its tokenizer gives it none.
        unlabelled: files likewise, of pairs: further training rows, whose labels are not looked at;
            null: none.
        tag_names: of tags that are numbers: the tag that each number from 0 stands for.

    Raises:
        ValueError: a value out of range.
        UserError: a file that is missing, empty or broken, with the line; a column that is missing
            or there twice; an empty label, or the same one in all rows.
    """

    provides: ClassVar[set[str]] = {
        "text",
        "labels if kind=classification",
        "label_sets if kind=multilabel",
        "quantities if kind=regression",
        "pairs if kind=pairs",
        "unlabelled pairs if unlabelled",
        "similar_pairs if kind=similar",
        "targets if kind=seq2seq",
        "tags if kind=tagging",
        "sentences if kind=sentences",
    }

    def __init__(
        self,
        train: Paths = None,
        validation: Paths = None,
        test: Paths = None,
        kind: Literal[
            "lm",
            "classification",
            "multilabel",
            "regression",
            "pairs",
            "similar",
            "seq2seq",
            "tagging",
            "sentences",
        ] = "lm",
        columns: dict[str, str | int] = COLUMNS,
        format: Literal["text", "json", "csv", "tsv", "conll", "parquet"] | None = None,
        header: bool | None = None,
        document: Literal["paragraph", "line", "file"] = "paragraph",
        tokenizer: Literal[
            "auto", "bpe", "bytes", "wordpiece", "chars", "words", "sentencepiece", "cpm"
        ] = "auto",
        vocab_size: int = 8192,
        block_size: int = 128,
        batch_size: int = 16,
        eval_batch_size: int = 32,
        val_fraction: float = 0.1,
        max_bytes: int | None = None,
        truncate: bool = True,
        vocab: str | None = None,
        reserved: int = 0,
        begin: bool = False,
        unlabelled: Paths = None,
        tag_names: list[str] | None = None,
    ) -> None:
        if unlabelled is not None and kind != "pairs":
            raise ValueError(
                "data.unlabelled names pairs of texts without labels; set data.kind=pairs, or "
                "leave it out"
            )
        self.kind = one_of("kind", kind, tuple(KINDS))
        super().__init__(
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            block_size=block_size,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            val_fraction=val_fraction,
            max_bytes=max_bytes,
            truncate=truncate,
            vocab=vocab,
            reserved=reserved,
            begin=begin,
        )
        self.train, self.validation, self.test = train, validation, test
        self.unlabelled = unlabelled
        self.document = one_of("document", document, ("paragraph", "line", "file"))
        if kind == "tagging":
            self.document = "line"
        formats = (None, "text", "json", "csv", "tsv", "conll", "parquet")
        self.format = one_of("format", format, formats)
        self.tag_names = None if tag_names is None else list(tag_names)
        self.columns, self.header = columns_of(kind, columns), header
        self.optional = optional_columns(kind, self.columns)
        self.split_names = ("train", "validation", *(("test",) if test is not None else ()))

    def documents(self, split: str) -> Iterator[Document]:
        """Return the records of a split."""
        if split == "test":
            return self._read("test", self.test)
        if self.validation is None:
            found = of_split(self._several(), split, self.val_fraction)
        else:
            found = self._read(split, self.train if split == "train" else self.validation)
        if split == "train" and self.unlabelled is not None:
            return itertools.chain(found, self._without_labels())
        return found

    def _several(self) -> Iterator[Document]:
        """Yield the training documents, of which some are held out.

        Raises:
            UserError: there is only one.
        """
        found = self._read("train", self.train)
        first = list(itertools.islice(found, 2))
        if len(first) == 1:
            lines = first[0].text.count("\n")
            ways = "for a text a line set data.document=line, else " * (lines > 0)
            raise UserError(
                f"{first[0].where}: all training text is one {self.document}, of which none can be "
                f"held out; {ways}name data.validation=FILE"
            )
        return itertools.chain(first, found)

    def _without_labels(self) -> Iterator[Document]:
        for doc in self._read("unlabelled", self.unlabelled, ("text", "other")):
            yield replace(doc, label=UNKNOWN)

    def reads(self) -> list[Path]:
        """Return the files of all splits."""
        files = [found_files(f"data.{name}", paths) for name, paths in self._paths().items()]
        return [*super().reads(), *(path for some in files for path in some)]

    def source(self) -> Any:
        """Return the content hashes and what decides how the files are read."""
        return {
            "files": {
                name: [
                    (format_of(path, self.format, self.columns), content_hash(path))
                    for path in found_files(f"data.{name}", paths)
                ]
                for name, paths in self._paths().items()
            },
            "kind": self.kind,
            "columns": self.columns,
            "header": self.header,
            "document": self.document,
            "tag_names": self.tag_names,
        }

    def _paths(self) -> dict[str, Paths]:
        names = ("train", "validation", "test", "unlabelled")
        paths = {name: getattr(self, name) for name in names}
        return {
            name: value for name, value in paths.items() if value is not None or name == "train"
        }

    def _read(
        self, split: str, paths: Paths, only: Collection[str] | None = None
    ) -> Iterator[Document]:
        columns = {
            name: column for name, column in self.columns.items() if only is None or name in only
        }
        for path in found_files(f"data.{split}", paths):
            rows = records(path, self.format, columns, self.header, self.document, self.optional)
            for where, row in rows:
                if self.tag_names is not None and "tags" in row:
                    row["tags"] = [self._tag(where, tag) for tag in row["tags"]]
                yield as_document(where, row, columns, KINDS[self.kind].answer)

    def _tag(self, where: str, tag: Any) -> Any:
        names = self.tag_names or []
        if isinstance(tag, int) and not 0 <= tag < len(names):
            raise UserError(
                f"{where}: tag {tag}, but data.tag_names has {len(names)}, from 0; name them all"
            )
        return names[tag] if isinstance(tag, int) else tag
