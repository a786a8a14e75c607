"""Whole commands, run in forks of one process that has imported everything."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny import EXPERIMENT, TINY
from tests.support.violent import NEVER, Moment, nursery

ARM = """
arms: {plain: {attention: performer}}
claims:
  C1: {text: "It learns something.", test: "val/loss[plain] < 9"}
"""


class Nursery:
    """Runs a command in a folder; `.said` and `.died` beside the folder tell what became of it."""

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    def __call__(
        self,
        place: Path,
        argv: Sequence[str],
        moment: Moment = NEVER,
        before: Callable[[], object] | None = None,
    ) -> tuple[int, str]:
        """Return the wait status of ``suexp argv``, and where it died.

        Args:
            place: the working directory, made if need be.
            argv: the command line.
            moment: when it is killed.
            before: is called first, in the command's own process.
        """
        died = Path(f"{place}.died")
        died.unlink(missing_ok=True)
        self.pipe.send((place, [*argv], moment, before))
        status: int = self.pipe.recv()
        return status, died.read_text().splitlines()[0] if died.exists() else ""


def said(place: Path) -> str:
    return Path(f"{place}.said").read_text()


@pytest.fixture(scope="session")
def begin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    root = tmp_path_factory.mktemp("nursery")
    (root / "conf" / "experiment").mkdir(parents=True)
    (root / "conf" / "experiment" / "tiny.yaml").write_text(EXPERIMENT + ARM)
    first = ["--config-dir", "../conf", "experiment=tiny", *TINY, "trainer.max_steps=2"]
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=nursery, args=(theirs, root / "first", first))
    process.start()
    theirs.close()
    yield Nursery(ours)
    ours.close()
    process.join()
