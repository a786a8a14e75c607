"""The command line over a small tree of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suexp import folders
from suexp.cli import main
from suexp.code import source
from suexp.config.catalogue import Catalogue
from tests.cli.tree import write_tree


@pytest.fixture
def tree(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let the small tree stand in for suexp's own conf/; return it."""
    conf = write_tree(in_tmp)
    monkeypatch.syspath_prepend(str(in_tmp))
    monkeypatch.setattr(folders, "_shipped", in_tmp.joinpath)
    source.read.cache_clear()
    source.package_path.cache_clear()
    yield conf
    source.read.cache_clear()
    source.package_path.cache_clear()


@pytest.fixture
def small(tree: Path) -> Catalogue:
    """The small tree's catalogue."""
    return Catalogue(base=tree)


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """Call the command line; return its exit code, stdout and stderr."""

    def run(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
