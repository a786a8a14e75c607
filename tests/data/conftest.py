from pathlib import Path

import pytest

from suexp.data import bounds


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all of these tests: the embedded corpora are prepared once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUEXP_CACHE", str(session_cache))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a bomb be small."""
    monkeypatch.setattr(bounds, "SMALL", 2**20)
