"""Records of local files of any format, with the line in every complaint."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from suexp.data.answers import Answer, answer_of, kind_of
from suexp.data.columns import columns_there, root, value_of
from suexp.data.delimited import delimited_rows
from suexp.data.document import Document
from suexp.data.json_rows import json_rows
from suexp.data.lines import Record, lines_of, text_rows
from suexp.data.parquet import open_parquet, parquet_rows
from suexp.data.tagged_lines import is_tagged, tagged_rows
from suexp.errors import UserError

FORMATS = {
    ".txt": "text",
    ".utf8": "text",  # as the SIGHAN bakeoffs name theirs
    ".md": "text",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".conll": "conll",
    ".bio": "conll",
    ".bmes": "conll",
    ".parquet": "parquet",
}

# Between the texts of a list: of paragraphs, and of key words.
JOINTS = {"text": "\n", "other": "; "}


def format_of(path: Path, format: str | None, columns: Collection[str] = ("text",)) -> str:
    """Return how a file is read: what was asked for, or what its name says, or its first lines.

    Where tags are wanted, lines that end with one are CoNLL's, whatever else was asked for: as
    words they would teach nothing. Where more than a text is wanted, lines with tabs are a table.

    Raises:
        UserError: neither name nor content says it.
    """
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    found = format or FORMATS.get(name.suffix.lower())
    if found in ("text", None) and "tags" in columns and is_tagged(path):
        return "conll"
    if format is None and found in ("text", None) and {*columns} - {"text", "tokens", "tags"}:
        first = next((text for _, text in lines_of(path) if text.strip()), "")
        found = "tsv" if "\t" in first else found
    if found is None:
        raise UserError(
            f"{path}: cannot tell the format by the name; "
            "set data.format to text, json, csv, tsv, conll or parquet"
        )
    return found


def records(
    path: Path,
    format: str | None,
    columns: dict[str, str],
    header: bool | None,
    unit: str,
    optional: Collection[str] = (),
) -> Iterator[Record]:
    """Yield place and record of each row, with the columns under the names that are wanted.

    Args:
        path: the file.
        format: text, json, csv, tsv, conll or parquet; None: see `format_of`.
        columns: wanted name -> column of the file; of a file without a header, its number from 0;
            ``a.b`` is field b of an object, column a.
        header: whether the first line of CSV and TSV names the columns; None: unless some are
            numbers which it does not have.
        unit: what is one record of a text file: ``paragraph`` (up to a blank line), ``line``,
            ``file``.
        optional: which of the wanted names may be missing.

    Raises:
        UserError: an empty file, broken UTF-8, a bad line, or a missing column.
    """
    kind = _format_of_some(path, format, columns)
    if kind == "text":
        if missing := [name for name in columns if name != "text" and name not in optional]:
            raise UserError(
                f"{path}: plain text has no column {missing[0]!r}; use JSON lines or TSV"
            )
        found = text_rows(path, unit)
        columns = {"text": "text"}
    elif kind == "conll":
        found = tagged_rows(path)
        columns = {name: name for name in ("tokens", "tags")}
    elif kind == "parquet":
        there = open_parquet(path).schema_arrow.names
        present = columns_there(str(path), columns, there, optional)
        found = parquet_rows(path, {root(column, there) for column in present.values()})
    elif kind == "json":
        found = json_rows(path)
    else:
        found = delimited_rows(path, kind, header, columns.values())
    counted = kind in ("csv", "tsv") and header is None
    where = None
    for where, row in found:
        present = columns_there(where, columns, row, optional, counted)
        yield where, {name: value_of(row, column) for name, column in present.items()}
    if where is None:
        raise UserError(f"{path} holds no {'text' if kind == 'text' else 'row'}")


def whole_records(path: Path, format: str | None, header: bool) -> Iterator[Record]:
    """Yield place and record of each row of a table, with all its columns; arguments as above.

    Raises:
        UserError: plain text, an empty or broken file.
    """
    kind = _format_of_some(path, format, ("label",))
    if kind in ("text", "conll"):
        raise UserError(f"{path}: plain text has no columns; use CSV, TSV, JSON lines or Parquet")
    if kind == "parquet":
        return parquet_rows(path)
    return json_rows(path) if kind == "json" else delimited_rows(path, kind, header, ())


def _format_of_some(path: Path, format: str | None, columns: Collection[str]) -> str:
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty")
    return format_of(path, format, columns)


def as_document(
    where: str, row: dict[str, Any], columns: dict[str, str], answer: Answer = "class"
) -> Document:
    """Return the document of a record, which has ``text`` and perhaps ``label`` and ``other``.

    A list of texts counts as one text, joined by `JOINTS`. ``tokens`` and ``tags``, two lists,
    take the place of the text.

    Raises:
        UserError: a text that is not a string, or a label that is no such answer.
    """
    if isinstance(tags := row.get("tags"), list) and any(isinstance(tag, int) for tag in tags):
        raise UserError(
            f"{where}: column {columns['tags']!r} holds int, not text; name what they count, in "
            "its order: data.tag_names=[O,B-PER,I-PER]"
        )
    if "tokens" in row or "tags" in row:
        lists = {name: _texts(where, columns[name], row.get(name)) for name in ("tokens", "tags")}
        text = "".join(lists["tokens"])
        return Document(text, text, None, where, None, lists["tokens"], lists["tags"])
    if "text" not in row:
        raise UserError(f"{where}: no column {columns.get('text', 'text')!r}")
    for name, joint in JOINTS.items():
        value = row.get(name)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            row = row | {name: joint.join(value)}
        if name in row:
            _check_text(where, columns[name], row[name])
    label = row.get("label")
    if "label" in row:
        label = answer_of(where, columns["label"], label, answer)
    return Document(row["text"], row["text"], label, where, row.get("other"))


def _texts(where: str, column: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UserError(f"{where}: column {column!r} holds {kind_of(value)}, not a list of texts")
    for item in value:
        _check_text(where, column, item)
    return tuple(value)


def _check_text(where: str, column: str, text: Any) -> None:
    if not isinstance(text, str):
        raise UserError(f"{where}: column {column!r} holds {kind_of(text)}, not text")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can escape what is no character
        raise UserError(
            f"{where}: character {error.start} of column {column!r} is half of a "
            f"surrogate pair ({text[error.start]!a}); write the whole character"
        ) from error
