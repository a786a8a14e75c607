"""Records of text, JSON lines, CSV, TSV and Parquet files, with the line in every complaint."""

import csv
import difflib
import json
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from suexp.data.document import Document
from suexp.data.layout import KINDS
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
    ".parquet": "parquet",
}

# What a record must have -> what it is called in the source.
COLUMNS: dict[str, Any] = {name: name for name in ("text", "label", "other", "tokens", "tags")}

JOINT = "; "  # between the texts of a list

Record = tuple[str, dict[str, Any]]  # where it stands, and column -> value


def format_of(path: Path, format: str | None) -> str:
    """Return how a file is read: what was asked for, or what its name says.

    Raises:
        UserError: the name says nothing.
    """
    found = format or FORMATS.get(path.suffix.lower())
    if found is None:
        raise UserError(
            f"{path}: cannot tell the format by the name; "
            "set data.format to text, json, csv, tsv or parquet"
        )
    return found


def records(
    path: Path,
    format: str | None,
    columns: dict[str, str],
    header: bool,
    unit: str,
    optional: Collection[str] = (),
) -> Iterator[Record]:
    """Yield place and record of each row, with the columns under the names that are wanted.

    Args:
        path: the file.
        format: text, json (one object a line), csv, tsv or parquet; None: as the name says.
        columns: wanted name -> column of the file; of a file without a header, its number from 0.
        header: whether the first line of CSV and TSV names the columns.
        unit: what is one record of a text file: ``paragraph`` (up to a blank line), ``line``,
            ``file``.
        optional: which of the wanted names may be missing.

    Raises:
        UserError: an empty file, broken UTF-8, a bad line, or a missing column.
    """
    kind = format_of(path, format)
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty")
    if kind == "text":
        if missing := [name for name in columns if name != "text" and name not in optional]:
            raise UserError(
                f"{path}: plain text has no column {missing[0]!r}; use JSON lines or TSV"
            )
        yield from _text(path, unit)
        return
    if kind == "json":
        found = _json(path)
    elif kind == "parquet":
        found = _parquet(path, columns, optional)
    else:
        found = _csv(path, kind, header)
    for where, row in found:
        present = columns_there(where, columns, list(row), optional)
        yield where, {name: row[column] for name, column in present.items()}


def whole_records(path: Path, format: str | None, header: bool) -> Iterator[Record]:
    """Yield place and record of each row of a table, with all its columns; arguments as above.

    Raises:
        UserError: plain text, an empty or broken file.
    """
    kind = format_of(path, format)
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty")
    if kind == "text":
        raise UserError(f"{path}: plain text has no columns; use CSV, TSV, JSON lines or Parquet")
    if kind == "parquet":
        return _parquet(path, {name: name for name in _parquet_columns(path)}, ())
    return _json(path) if kind == "json" else _csv(path, kind, header)


def columns_of(kind: str, columns: dict[str, Any]) -> dict[str, str]:
    """Return wanted name -> the source's name, of those columns that the kind of rows needs.

    Raises:
        ValueError: a name that no row has.
    """
    for name in columns:
        if name not in COLUMNS:
            raise ValueError(f"data.columns.{name}: a row has only {', '.join(COLUMNS)}")
    wanted = (*KINDS[kind].columns, *KINDS[kind].optional)
    return {name: str(columns.get(name, name)) for name in wanted}


def optional_columns(kind: str, columns: dict[str, str]) -> list[str]:
    """Return the wanted names that may be missing: those that the user has not renamed."""
    return [name for name in KINDS[kind].optional if columns[name] == COLUMNS[name]]


def columns_there(
    where: str, columns: dict[str, str], there: Collection[str], optional: Collection[str]
) -> dict[str, str]:
    """Return the columns without those optional ones that a source does not have.

    Raises:
        UserError: another one is missing.
    """
    for name, column in columns.items():
        if column not in there and name not in optional:
            raise UserError(missing_column(where, column, columns, list(there)))
    return {name: column for name, column in columns.items() if column in there}


def as_document(where: str, row: dict[str, Any], columns: dict[str, str]) -> Document:
    """Return the document of a record, which has ``text`` and perhaps ``label`` and ``other``.

    A list of texts as the other one, of key words say, counts as one text, joined by `JOINT`.
    ``tokens`` and ``tags``, two lists, take the place of the text.

    Raises:
        UserError: a text that is not a string, or a label that is neither string nor integer.
    """
    if "tokens" in row or "tags" in row:
        lists = {name: _texts(where, columns[name], row.get(name)) for name in ("tokens", "tags")}
        text = "".join(lists["tokens"])
        return Document(text, text, None, where, None, lists["tokens"], lists["tags"])
    if "text" not in row:
        raise UserError(f"{where}: no column {columns.get('text', 'text')!r}")
    if isinstance(row.get("other"), list) and all(isinstance(x, str) for x in row["other"]):
        row = row | {"other": JOINT.join(row["other"])}
    for name in ("text", "other"):
        if name in row:
            _check_text(where, columns[name], row[name])
    label = row.get("label")
    if "label" in row and (isinstance(label, bool) or not isinstance(label, str | int)):
        raise UserError(
            f"{where}: column {columns['label']!r} holds {_kind(label)}, not a word or an integer"
        )
    return Document(row["text"], row["text"], label, where, row.get("other"))


def _texts(where: str, column: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UserError(f"{where}: column {column!r} holds {_kind(value)}, not a list of texts")
    for item in value:
        _check_text(where, column, item)
    return tuple(value)


def _check_text(where: str, column: str, text: Any) -> None:
    if not isinstance(text, str):
        raise UserError(f"{where}: column {column!r} holds {_kind(text)}, not text")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can escape what is no character
        raise UserError(
            f"{where}: character {error.start} of column {column!r} is half of a "
            f"surrogate pair ({text[error.start]!a}); write the whole character"
        ) from error


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def missing_column(where: str, column: str, columns: dict[str, str], there: list[str]) -> str:
    """Return the complaint that a source has no such column, with the near match."""
    name = next(name for name, value in columns.items() if value == column)
    near = difflib.get_close_matches(column, there, n=1, cutoff=0.5)
    hint = (
        f"did you mean data.columns.{name}={near[0]}?"
        if near
        else f"name one with data.columns.{name}=COLUMN"
    )
    return f"{where}: no column {column!r} among {', '.join(there)}; {hint}"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, its end included."""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}: not UTF-8 at byte {offset + error.start} (line {number}); "
                    "convert it, for example with iconv"
                ) from error
            offset += len(line)
            yield number, text


def _text(path: Path, unit: str) -> Iterator[Record]:
    start, kept = 1, list[str]()
    for number, line in _lines(path):
        line = line.rstrip("\r\n")
        ends = unit == "line" or (unit == "paragraph" and not line.strip())
        if line.strip() or (kept and not ends):
            start = number if not kept else start
            kept.append(line)
        if ends and kept:
            yield f"{path}:{start}", {"text": "\n".join(kept)}
            kept = []
    if kept:
        yield f"{path}:{start}", {"text": "\n".join(kept)}


def _json(path: Path) -> Iterator[Record]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{number}: not a JSON object: {error.msg}") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: not a JSON object but {type(row).__name__}")
        yield f"{path}:{number}", row


def _csv(path: Path, kind: str, header: bool) -> Iterator[Record]:
    csv.field_size_limit(sys.maxsize)
    # Tables with tabs are written without quotes as a rule; a stray quote would swallow lines.
    lines = (text for _, text in _lines(path))
    if kind == "tsv":
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines)
    names: list[str] | None = None
    try:
        for row in reader:
            if not row:
                continue
            if names is None:
                names = row if header else [str(i) for i in range(len(row))]
                if header:
                    continue
            if len(row) != len(names):
                raise UserError(
                    f"{path}:{reader.line_num}: {len(row)} fields instead of {len(names)}"
                )
            yield f"{path}:{reader.line_num}", dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: {error}") from error


def _parquet(path: Path, columns: dict[str, str], optional: Collection[str]) -> Iterator[Record]:
    file = _open_parquet(path)
    present = columns_there(str(path), columns, file.schema_arrow.names, optional)
    number = 0
    for batch in file.iter_batches(batch_size=4096, columns=list(present.values())):
        for row in batch.to_pylist():
            yield f"{path} row {number}", row
            number += 1


def _parquet_columns(path: Path) -> list[str]:
    return list(_open_parquet(path).schema_arrow.names)


def _open_parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a Parquet file") from error
