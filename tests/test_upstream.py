"""What is changed in other packages."""

import json
import subprocess
import sys

SPARED = """
import sys
import suexp.job.run
import suexp.task.seq2seq
heavy = {"transformers", "scipy.signal"} & set(sys.modules)
assert not heavy, heavy
"""
NAMES = """
import json
import torchmetrics, torchmetrics.functional, torchmetrics.functional.text, torchmetrics.text
packages = (torchmetrics, torchmetrics.functional, torchmetrics.functional.text, torchmetrics.text)
print(json.dumps({
    f"{package.__name__}.{name}": getattr(package, name).__module__
    for package in packages
    for name in package.__all__
    if name != "functional"
}))
from torchmetrics.text import BERTScore
"""


def test_torchmetrics_imports_what_is_used_and_has_all_it_has() -> None:
    def names(program: str) -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, str] = json.loads(done.stdout)
        return found

    spared, whole = names(SPARED + NAMES), names(NAMES)
    assert len(spared) > 150
    # Their lists lack what depends on transformers, which can be imported as ever.
    assert {name for name in whole if name not in spared} <= {
        name for name, home in whole.items() if home.rpartition(".")[2] in ("bert", "infolm")
    }
    assert spared.items() <= whole.items()
