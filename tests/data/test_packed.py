"""What is packed is counted before `datasets` unpacks it."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from suexp.data.hub import Hub
from suexp.data.packed import refuse_bomb
from tests.support.refusal import MiB, gzipped, said


def packed(kind: str) -> Path:
    """Write 20 MiB of zeros in a small file."""
    path = Path(f"train.{kind}")
    if kind == "gz":
        return gzipped(path.name, b"", 20)
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", bytes(20 * MiB))
    else:
        library: Any = {"bz2": bz2, "xz": lzma}[kind]
        path.write_bytes(library.compress(bytes(20 * MiB)))
    return path


@pytest.mark.parametrize("kind", ["gz", "zip", "bz2", "xz"])
def test_bombs_in_a_folder_of_the_hub_s_form(in_tmp: Path, small: None, kind: str) -> None:
    path = packed(kind)
    assert path.stat().st_size < MiB / 10
    line = said(lambda: refuse_bomb(path), 16 * MiB)
    assert line.startswith(f"train.{kind}: its ")
    assert line.endswith("which no data does")


def test_archives_that_are_broken_or_unknown(in_tmp: Path) -> None:
    item = tarfile.TarInfo("a.csv")
    item.size = 2**40
    Path("a.tar").write_bytes(item.tobuf())
    assert said(lambda: refuse_bomb(Path("a.tar"))).startswith("a.tar: its 1.5 KiB unpack to over")
    Path("b.tar").write_bytes(tarfile.TarInfo("a.csv").tobuf()[:300])
    refuse_bomb(Path("b.tar"))  # no tar, and no text either: what reads it says so
    Path("a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    assert "unpack it with 7z x, and remove it" in said(lambda: refuse_bomb(Path("a.7z")))
    Path("a.gz").write_bytes(gzip.compress(b"a" * 100)[:-12])
    assert said(lambda: refuse_bomb(Path("a.gz"))).startswith("a.gz cannot be read: ")
    with tarfile.open("b.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.csv"), io.BytesIO())
    refuse_bomb(Path("b.tar.gz"))  # nothing is said of what is right


@pytest.mark.slow
def test_a_folder_of_the_hub_s_form(in_tmp: Path, small: None) -> None:
    Path("own").mkdir()
    gzipped("own/train.csv.gz", b"text,label\n", 20)
    data = Hub("own", kind="classification", tokenizer="bytes", validation=None)
    assert said(lambda: data.splits(), 64 * MiB).startswith(f"{in_tmp}/own/train.csv.gz: its ")
    Path("own/train.csv.gz").unlink()
    os.mkfifo("own/train.csv")
    empty = Hub("own", kind="classification", tokenizer="bytes", validation=None)
    assert "own could not be loaded as a folder" in said(lambda: empty.splits(), 64 * MiB)
