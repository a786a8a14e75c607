"""Lines of text files in UTF-8, packed by gzip or not, and what is said of files that are none."""

import codecs
import gzip
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from suexp.data import bounds
from suexp.data.packed import BROKEN, bomb, packing
from suexp.errors import UserError

PARQUET = b"PAR1"
GZIP = b"\x1f\x8b"
CR, ICONV = r"tr '\r' '\n'", "iconv -f {} -t UTF-8"
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Record = tuple[str, dict[str, Any]]  # where it stands, and column -> value


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, its end included; what is called ``.gz`` is unpacked.

    Raises:
        UserError: what is no text in UTF-8, a line that is too long to be held, or a file that
            unpacks to more than any data does.
    """
    offset = number = 0
    packed = path.suffix.lower() == ".gz"
    most = bounds.unpacked(path)
    with _opened(path, packed) as file:
        while line := _next_line(path, file):
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
            if packed and offset > most:
                raise bomb(path)
            yield number, text


def _opened(path: Path, packed: bool) -> IO[bytes] | gzip.GzipFile:
    if not packed:
        return path.open("rb")
    with path.open("rb") as file:
        if file.read(2) != GZIP:
            raise UserError(f"{path} is not packed by gzip; rename it, without .gz")
    return gzip.open(path)


def _next_line(path: Path, file: IO[bytes] | gzip.GzipFile) -> bytes:
    try:
        return file.readline(bounds.LINE + 1)
    except BROKEN as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _refuse_packed(path: Path, start: bytes) -> None:
    if start.startswith(UTF16):
        raise UserError(f"{path}: UTF-16, not UTF-8; {_converted(path, ICONV.format('UTF-16'))}")
    if found := packing(start):
        # Unpackers read any name on their input only; an archive has names of its own.
        names = [
            shlex.quote(str(path)),
            shlex.quote(str(path.with_name(f"{path.stem}.unpacked{path.suffix}"))),
        ]
        how = names[0] if found[0].startswith("a ") else f"< {' > '.join(names)}"
        raise UserError(f"{path} is {found[0]}, no text; unpack it with {found[1]} {how}")
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


def text_rows(path: Path, unit: str) -> Iterator[Record]:
    """Yield the texts of a file: each ``paragraph`` (up to a blank line), ``line``, or all."""
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
