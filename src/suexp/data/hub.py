"""Any text data set of the Hugging Face hub."""

import functools
import http.client
import itertools
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

from suexp.code.local_files import local_path
from suexp.contents import content_hash
from suexp.data.columns import (
    COLUMNS,
    columns_of,
    columns_there,
    optional_columns,
    root,
    value_of,
)
from suexp.data.document import Document, of_split
from suexp.data.layout import KINDS
from suexp.data.packed import refuse_bomb
from suexp.data.parquet import open_parquet
from suexp.data.paths import only_files, staying_inside
from suexp.data.records import as_document
from suexp.data.text import Text, one_of
from suexp.errors import UserError

TIMEOUT = 3.0  # seconds in which the hub must answer at all


class Hub(Text):
    r"""A data set by its name, downloaded once, for any kind of task.

    Rows become documents as in `suexp.data.files.Files`: ``tokens`` of a batch is (batch_size,
    block_size + 1), or for ``kind=classification`` (B, n) with ``keep`` (B, n) and ``label`` (B,),
    for it, ``kind=multilabel`` and ``kind=regression`` as in `suexp.data.labelling`,
    for ``kind=pairs`` as in `suexp.data.pairing`, for ``kind=similar`` as in
    `suexp.data.both_ways`, for ``kind=seq2seq`` as in `suexp.data.joining`.
    What was prepared once is found again with no network. Code from the hub is never run.

    Reference: https://huggingface.co/docs/datasets; Lhoest et al., arXiv:2109.02846.

    Args:
        name: for example ``Salesforce/wikitext``.
        config: the data set's configuration, for example ``wikitext-103-raw-v1``.
        revision: a commit or tag; null: what the hub has at the first download.
        train: the hub's name of the training split.
        validation: likewise; null: ``val_fraction`` of the training rows.
        test: likewise; null: no test split.
        kind: ``lm``, ``classification``, ``multilabel``, ``regression``, ``pairs``, ``similar``,
            ``seq2seq``, ``tagging`` or ``sentences``.
        columns: ``text``, ``label``, ``other`` (a second text), ``tokens``, ``tags`` -> the data
            set's names for them. Tags may be numbers whose names the data set knows.
        tokenizer: ``bpe``, trained on the training split, ``bytes``, ``wordpiece``, BERT's,
            ``chars`` or ``words``, the characters of the training split or what it has between
            blanks, ``sentencepiece``, or ``cpm``, those pieces with CPM's blanks and line ends
            (`suexp.data.pieces`).
        vocab_size: tokens of the BPE, the 3 special ones included, or the most characters or words,
            one unknown and 3 special ones included; the bytes always have 259.
        block_size: tokens that a row predicts, or the most tokens of a single text.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of the rows held out where no validation split is named.
        max_bytes: the most training text, in bytes; null: all.
        truncate: cut single texts that are longer than block_size; false: refuse them.
        vocab: of wordpiece, a checkpoint's vocab.txt, of sentencepiece and cpm its model; or its
            folder.
        reserved: further special tokens, to which a task gives a meaning; they come last.
        begin: a single text begins with a token of its own, where its tokenizer gives it none.

    Raises:
        ValueError: a value out of range.
        UserError: a name that the hub does not have, or no network.
    """

    provides: ClassVar[set[str]] = {
        "text",
        "labels if kind=classification",
        "label_sets if kind=multilabel",
        "quantities if kind=regression",
        "pairs if kind=pairs",
        "similar_pairs if kind=similar",
        "targets if kind=seq2seq",
        "tags if kind=tagging",
        "sentences if kind=sentences",
    }

    def __init__(
        self,
        name: str | None = None,
        config: str | None = None,
        revision: str | None = None,
        train: str = "train",
        validation: str | None = "validation",
        test: str | None = None,
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
        columns: dict[str, str] = COLUMNS,
        tokenizer: Literal[
            "bpe", "bytes", "wordpiece", "chars", "words", "sentencepiece", "cpm"
        ] = "bpe",
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
    ) -> None:
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
        self.name = None if name is None else str(local_path("data.name", name))
        self.config, self.revision = config, revision
        self.train, self.validation, self.test = train, validation, test
        self.columns = columns_of(kind, columns)
        self.optional = optional_columns(kind, self.columns)
        self.split_names = ("train", "validation", *(("test",) if test else ()))

    def documents(self, split: str) -> Iterator[Document]:
        """Return the rows of a split."""
        if split == "test" and self.test:
            return self._read(self.test)
        if self.validation:
            return self._read(self.train if split == "train" else self.validation)
        return of_split(self._read(self.train), split, self.val_fraction)

    def reads(self) -> list[Path]:
        """Return the folder, if the name is that of one here: `datasets` would take it."""
        return [*super().reads(), *([Path(str(self.name))] if self._is_here else [])]

    @property
    def _is_here(self) -> bool:
        return self.name is not None and Path(self.name).is_dir()

    def source(self) -> Any:
        """Return what names the data, and what such a folder holds here; the hub is not asked."""
        names = [self.name, self.config, self.revision]
        files = sorted(Path(str(self.name)).rglob("*")) if self._is_here else []
        held = [(str(path), content_hash(path)) for path in files if path.is_file()]
        return [*names, self.train, self.validation, self.test, self.kind, self.columns, held]

    def _read(self, split: str) -> Iterator[Document]:
        rows = self._loaded[split]
        where = f"{self.name} ({split})"
        present = columns_there(where, self.columns, rows.column_names, self.optional)
        held = {root(column, rows.column_names) for column in present.values()}
        rows = rows.select_columns(sorted(held)).with_format("arrow")
        names = None  # of tags that are numbers
        if "tags" in present:
            tags = rows.features.get(present["tags"])
            names = getattr(getattr(tags, "feature", None), "names", None)
        classes = "label" in present and hasattr(rows.features.get(present["label"]), "names")
        number = 0
        for table in rows.iter(batch_size=1000):
            for row in table.to_pylist():
                record = {name: value_of(row, column) for name, column in present.items()}
                if classes and record["label"] == -1:  # a class that nobody could tell
                    raise UserError(
                        f"{where} row {number}: has no label; save the rows that have one as JSON "
                        "lines, and use data=files"
                    )
                if names:
                    record["tags"] = [names[tag] for tag in record["tags"]]
                yield as_document(
                    f"{where} row {number}", record, self.columns, KINDS[self.kind].answer
                )
                number += 1

    @functools.cached_property
    def _loaded(self) -> dict[str, Any]:
        """The hub's splits by their names there, from the local cache or else the network."""
        if self.name is None:
            raise UserError("data.name is not set; name a data set, or use data=pydoc")
        names = dict.fromkeys(filter(None, (self.train, self.validation, self.test)))
        if self._is_here or reachable():
            return {split: self._load(split) for split in names}
        try:
            with offline():
                return {split: self._load(split) for split in names}
        except UserError as error:
            if error.__cause__ is None:  # our own refusal, not what the library could not do
                raise
            instead = (
                "data=docstring_topic"
                if self.kind == "classification"
                else "data=pydoc or data=stdlib_code"
            )
            raise UserError(
                f"{self.name} is not on this machine and the hub cannot be reached; "
                f"use {instead}, which need no download, or data=files"
            ) from error

    def _load(self, split: str) -> Any:
        from datasets import load_dataset, load_dataset_builder

        try:
            # Its own description names its files, and could name any of this machine's.
            told = load_dataset_builder(self.name, self.config, revision=self.revision)
            files = itertools.chain.from_iterable((told.config.data_files or {}).values())
            here = [Path(file) for file in files if "://" not in str(file)]
            staying_inside("data.name", Path(str(self.name)), only_files("data.name", here))
            for file in here:
                refuse_bomb(file)
                if file.suffix == ".parquet":
                    open_parquet(file)
            return load_dataset(self.name, self.config, split=split, revision=self.revision)
        except UserError:
            raise
        except Exception as error:  # of a dozen classes, over several lines
            reason = " ".join(str(error).split())
            source = "as a folder" if self._is_here else "from the hub"
            raise UserError(f"{self.name} could not be loaded {source}: {reason}") from error


def reachable() -> bool:
    """Tell, within three seconds, whether the hub answers; not asked in the library's offline mode.

    `datasets` itself gives up after five retries and 23 seconds.
    """
    from datasets import config

    if config.HF_HUB_OFFLINE:
        return False
    answers: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(config.HF_ENDPOINT, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT):
                answers.append(True)
        except urllib.error.HTTPError:
            answers.append(True)
        except (OSError, ValueError, http.client.HTTPException):
            pass

    # In a thread, since the time-out does not cover the look-up of the host's name.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    return bool(answers)


@contextmanager
def offline() -> Iterator[None]:
    """Make the hub's libraries look into their caches only, for the time being."""
    import datasets.config
    import huggingface_hub.constants

    modules: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value
