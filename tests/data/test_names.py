"""Names that no file has, and what is no file."""

import os
from pathlib import Path

import pytest

from suexp.code.local_files import local_files
from suexp.data.files import Files
from suexp.data.hub import Hub
from suexp.data.idx import Idx
from suexp.data.images import Images
from suexp.data.paths import found_files
from suexp.data.table import Table
from tests.support.refusal import said

PRETRAINED = "suexp.transform.pretrained.Pretrained"


def test_a_name_that_no_file_can_have(in_tmp: Path) -> None:
    for name in ("x" * 300, "x" * 100_000, f"{'y' * 300}/*.txt", "a\0b"):
        line = said(lambda name=name: found_files("data.train", name))
        assert line.startswith(f"data.train: {name[:80]!r}"[:60])
        assert "cannot be looked up: " in line
    Path("t.txt").write_text("t")
    for read in (
        lambda: Images("x" * 300).reads(),
        lambda: Idx("x" * 300).reads(),
        lambda: Table("x" * 300).reads(),
        lambda: Hub("x" * 300),
        lambda: Files("t.txt", tokenizer="wordpiece", vocab="x" * 300).reads(),
        lambda: [*local_files({"t": {"_target_": PRETRAINED, "source": "x" * 300}})],
    ):
        assert "xxx...' cannot be looked up: File name too long" in said(read)


def test_a_tilde_that_is_no_user_s(in_tmp: Path) -> None:
    Path("~x.csv").write_text("text\none\n")
    assert [doc.text for doc in Files(test="~x.csv").documents("test")] == ["one"]
    assert [path.name for path in found_files("data.train", "~x*")] == ["~x.csv"]
    assert said(lambda: Images("~nobody/x").reads()).startswith("data.files: no file ~nobody/x;")
    assert said(lambda: [*local_files({"t": {"_target_": PRETRAINED, "source": "~no/x"}})])


def test_pipes_devices_and_broken_links(in_tmp: Path) -> None:
    os.mkfifo("pipe.txt")
    Path("link.png").symlink_to("nowhere.png")
    for name in ("pipe.txt", "*.txt", "/dev/zero"):
        line = said(lambda name=name: found_files("data.train", name))
        assert line.endswith("is a pipe or a device; name a file")
    assert "link.png is a broken link" in said(lambda: Images(".").reads())
    assert "link.png is a broken link" in said(lambda: Images("*.png").reads())
    Path("pictures").mkdir()
    os.mkfifo("pictures/a.png")
    assert "a.png is a pipe or a device" in said(lambda: Images("pictures").reads())


def test_a_file_of_another_user(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("t.txt").write_text("a")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read all
    assert (
        said(lambda: found_files("data.test", "t.txt"))
        == "data.test: t.txt may not be read; see chmod"
    )


def test_folders_that_hold_themselves(in_tmp: Path) -> None:
    Path("texts/below/.hidden").mkdir(parents=True)
    for name in ("a.txt", "below/b.txt", "below/.hidden/c.txt", ".d.txt"):
        Path("texts", name).write_text(name)
    for name in ("round", "about"):  # with two of them there are 2^40 ways
        Path("texts", name).symlink_to(".")
    expected = [Path("texts/a.txt"), Path("texts/below/b.txt")]
    for pattern in ("texts/**/*.txt", "texts/**"):
        assert found_files("data.train", pattern) == expected
    hidden = [Path("texts/below/.hidden/c.txt")]
    assert found_files("data.train", "texts/**/.hidden/*.txt") == hidden
