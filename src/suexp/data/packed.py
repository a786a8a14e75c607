"""What archives and packed files would unpack to, counted without keeping it."""

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from suexp.data import bounds
from suexp.errors import UserError

# What a file begins with -> its name, and what unpacks it with the standard library.
PACKED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"PK\3\4": ("a zip archive", "unzip"),
    b"\x28\xb5\x2f\xfd": ("zstandard", "unzstd"),
    b"\x04\x22\x4d\x18": ("lz4", "unlz4"),
    b"Rar!": ("a RAR archive", "unrar x"),
    b"7z\xbc\xaf": ("a 7z archive", "7z x"),
}
STREAMS: dict[str, Callable[[Path], Any]] = {
    "gzip": gzip.open,
    "bzip2": bz2.open,
    "xz": lzma.open,
}
BROKEN = (
    *(OSError, EOFError, ValueError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError),
)


def packing(start: bytes) -> tuple[str, str] | None:
    """Return what a file is that begins so, and the command that unpacks it; None: not packed."""
    return next((what for magic, what in PACKED.items() if start.startswith(magic)), None)


def refuse_bomb(path: Path) -> None:
    """Refuse a file that would fill the disk or the memory once it is unpacked.

    Raises:
        UserError: it unpacks to more than `suexp.data.bounds.unpacked`, or who knows to what.
    """
    with path.open("rb") as file:
        found = packing(file.read(8))
    try:
        if found and found[0] in STREAMS:
            with STREAMS[found[0]](path) as stream:
                _refuse_sizes(path, map(len, iter(lambda: stream.read(2**20), b"")))
        elif found and found[0] == "a zip archive":
            with zipfile.ZipFile(path) as archive:
                _refuse_sizes(path, (item.file_size for item in archive.infolist()))
        elif found:
            raise UserError(f"{path} is {found[0]}; unpack it with {found[1]}, and remove it")
        if tarfile.is_tarfile(path):  # a hole in a file takes no room in it
            with tarfile.open(path) as members:
                _refuse_sizes(path, (item.size for item in members))
    except BROKEN as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _refuse_sizes(path: Path, sizes: Iterable[int]) -> None:
    left = bounds.unpacked(path)
    for size in sizes:
        left -= size
        if left < 0:
            raise bomb(path)


def bomb(path: Path) -> UserError:
    """Return the complaint about a file that holds more than it can."""
    return UserError(
        f"{path}: its {bounds.size(path.stat().st_size)} unpack to over "
        f"{bounds.size(bounds.unpacked(path))}, which no data does"
    )
