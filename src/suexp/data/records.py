"""Records of text, JSON lines, CSV, TSV and Parquet files, with the line in every complaint."""

import codecs
import csv
import difflib
import json
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from suexp.data import bounds
from suexp.data.document import Document
from suexp.data.layout import KINDS
from suexp.data.packed import bomb, packing
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

PARQUET = b"PAR1"
CR, ICONV = r"tr '\r' '\n'", "iconv -f {} -t UTF-8"
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

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
        found = _text(path, unit)
        columns = {"text": "text"}
    elif kind == "json":
        found = _json(path)
    elif kind == "parquet":
        found = _parquet(path, columns, optional)
    else:
        found = _csv(path, kind, header)
    where = None
    for where, row in found:
        present = columns_there(where, columns, row, optional)
        yield where, {name: row[column] for name, column in present.items()}
    if where is None:
        raise UserError(f"{path} holds no {'text' if kind == 'text' else 'row'}")


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
    if "label" in row:
        check_label(where, columns["label"], label)
    return Document(row["text"], row["text"], label, where, row.get("other"))


def check_label(where: str, column: str, label: Any) -> None:
    """Refuse a label that is neither a word nor an integer.

    Raises:
        UserError: as said; an empty cell is no word.
    """
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise UserError(
            f"{where}: column {column!r} holds {_kind(label)}, not a word or an integer"
        )
    if isinstance(label, str) and not label.strip():
        raise UserError(f"{where}: column {column!r} is empty; fill it or remove the row")


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
    near = difflib.get_close_matches(column, there[:1000], n=1, cutoff=0.5)
    hint = (
        f"did you mean data.columns.{name}={near[0]}?"
        if near
        else f"name one with data.columns.{name}=COLUMN"
    )
    return f"{where}: no column {column!r} among {few(there)}; {hint}"


def few(names: Iterable[str]) -> str:
    """Return names in a row, the first twelve of many."""
    names = list(names)
    return f"{', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"


def _refuse_twice(where: str, names: list[str]) -> None:
    """Refuse names of which one would hide the other.

    Raises:
        UserError: two are equal.
    """
    if len({*names}) < len(names):
        name = Counter(names).most_common(1)[0][0]
        raise UserError(f"{where}: two columns have the name {name!r}; rename one of them")


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, its end included.

    Raises:
        UserError: what is no text in UTF-8, or a line that is too long to be held.
    """
    offset = number = 0
    with path.open("rb") as file:
        while line := file.readline(bounds.LINE + 1):
            number += 1
            if number == 1:
                _refuse_packed(path, line[:8])
            if b"\0" in line:
                raise UserError(f"{path}:{number}: holds a NUL byte, so it is no text in UTF-8")
            if len(line) > bounds.LINE:
                raise too_long(f"{path}:{number}", "line")
            if number == 1 and b"\r" in line[:-1] and not line.endswith(b"\n"):
                raise UserError(f"{path}: lines that end with CR alone; {_converted(path, CR)}")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}: not UTF-8 at byte {offset + error.start} (line {number}); "
                    f"{_converted(path, ICONV.format(_likely(line)))}"
                ) from error
            offset += len(line)
            yield number, text


def _refuse_packed(path: Path, start: bytes) -> None:
    if start.startswith(UTF16):
        raise UserError(f"{path}: UTF-16, not UTF-8; {_converted(path, ICONV.format('UTF-16'))}")
    name = shlex.quote(str(path))
    if found := packing(start):
        raise UserError(f"{path} is {found[0]}, no text; unpack it with {found[1]} {name}")
    if start.startswith(PARQUET):
        raise UserError(f"{path} is Parquet, no text; set data.format=parquet")


def _likely(line: bytes) -> str:
    """Return an encoding that a line may have."""
    try:
        line.decode("gb18030")
    except UnicodeDecodeError:
        return "LATIN1"
    return "GB18030"


def _converted(path: Path, command: str) -> str:
    new = path.with_name(f"{path.stem}.utf8{path.suffix}")
    names = " > ".join(shlex.quote(str(name)) for name in (path, new))
    return f"convert it, perhaps with {command} < {names}"


def too_long(where: str, what: str) -> UserError:
    """Return the complaint that something is longer than what is held at once."""
    return UserError(f"{where}: a {what} of over {bounds.size(bounds.LINE)}; cut it up")


def _text(path: Path, unit: str) -> Iterator[Record]:
    start, kept, size = 1, list[str](), 0
    for number, line in lines_of(path):
        line = line.rstrip("\r\n")
        ends = unit == "line" or (unit == "paragraph" and not line.strip())
        if line.strip() or (kept and not ends):
            start = number if not kept else start
            kept.append(line)
            size += len(line) + 1
            if size > bounds.LINE:
                raise too_long(f"{path}:{start}", unit)
        if ends and kept:
            yield f"{path}:{start}", {"text": "\n".join(kept)}
            kept, size = [], 0
    if kept:
        yield f"{path}:{start}", {"text": "\n".join(kept)}


class _Twice(Exception):
    """A JSON object has two values of one name."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise _Twice(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return row


_JSON = json.JSONDecoder(object_pairs_hook=_object)


def _json(path: Path) -> Iterator[Record]:
    for number, line in lines_of(path):
        if not line.strip():
            continue
        try:
            row = _JSON.decode(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{number}: not a JSON object: {error.msg}") from error
        except (ValueError, RecursionError) as error:  # a number or a nesting that is too long
            reason = str(error).partition(";")[0]
            raise UserError(f"{path}:{number}: not a JSON object to read: {reason}") from error
        except _Twice as error:
            raise UserError(
                f"{path}:{number}: two values have the name {error.args[0]!r}; rename one of them"
            ) from error
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: not a JSON object but {type(row).__name__}")
        yield f"{path}:{number}", row


def _csv(path: Path, kind: str, header: bool) -> Iterator[Record]:
    csv.field_size_limit(bounds.LINE)
    # Tables with tabs are written without quotes as a rule; a stray quote would swallow lines.
    lines = (text for _, text in lines_of(path))
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
                _refuse_twice(f"{path}:{reader.line_num}", names)
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
    import pyarrow as pa

    file = open_parquet(path)
    present = columns_there(str(path), columns, file.schema_arrow.names, optional)
    most, number = bounds.unpacked(path), 0
    try:
        for batch in file.iter_batches(batch_size=4096, columns=list(present.values())):
            most -= sum(map(_written_out, batch.columns))
            if most < 0:
                raise bomb(path)
            for row in batch.to_pylist():
                yield f"{path} row {number}", row
                number += 1
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} row {number}: cannot be read: {_first_line(error)}") from error


def _written_out(column: Any) -> int:
    """Return the bytes of a column in which texts that repeat are written out each time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    return pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0


def _parquet_columns(path: Path) -> list[str]:
    return list(open_parquet(path).schema_arrow.names)


def open_parquet(path: Path) -> Any:
    """Open a file; texts that repeat are kept once, as in the file.

    Raises:
        UserError: it is none, has two columns of one name, or unpacks to too much.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        file = pq.ParquetFile(path, read_dictionary=texts)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file") from error
    _refuse_twice(str(path), schema.names)
    groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    values = sum(g.column(i).num_values for g in groups for i in range(g.num_columns))
    if max(values, sum(g.total_byte_size for g in groups)) > bounds.unpacked(path):
        raise bomb(path)
    return file


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
