"""The notebooks run, in an empty folder, and are kept without outputs."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
# What the last cell comes to.
LAST = {
    "a_post": "experiment=points_in_sektor: no such option; did you mean",
    "own_component": "[('finished', 'val/loss', 20), ('finished', 'val/loss', 20)]",
}


def test_each_has_a_test() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == {*LAST}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAST)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_runs(name: str, in_tmp: Path) -> None:
    book: Any = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(in_tmp)}}).execute()
    (last,) = code[-1].outputs
    text = last["text"] if "text" in last else last["data"]["text/plain"]
    assert LAST[name] in text
