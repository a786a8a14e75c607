"""Which runs' ids an edit of suexp changes: made in a copy, ids compared before and after.

python scripts/id_changes.py                 a table over the edits and the experiments below

An id must change with whatever the result depends on, and with nothing else.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXPERIMENTS = (
    *("lion", "performer", "realformer", "unilm_masks", "memm_vs_crf", "vae_density"),
    *("points_in_sector", "bert_of_theseus", "analytic_logistic", "gradient_normalization_gan"),
)
# Prints experiment -> arm -> id, of the first seed at laptop scale; the tuned values do not matter.
PROGRAM = """
import json, sys
from suexp.experiment.plan import plan
found = {}
for name in sys.argv[1:]:
    (item,) = plan([f"experiment={name}"])
    seed = item.seeds[0]
    found[name] = {run.arm: run.run.id for run in item.runs() if run.seed == seed}
print(json.dumps(found))
"""


def add(file: str, text: str) -> Callable[[Path], None]:
    """Return an edit that appends to a file, which may be a new one."""

    def edit(source: Path) -> None:
        with (source / file).open("a", encoding="utf-8") as opened:
            opened.write(text)

    return edit


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    """Return an edit that replaces a text wherever it stands in a file."""

    def edit(source: Path) -> None:
        path = source / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    return edit


EDITS: dict[str, Callable[[Path], None]] = {
    "a docstring of job/run.py": replace("job/run.py", '"""One run', '"""Once again: one run'),
    "a comment in experiment/plan.py": add("experiment/plan.py", "# A comment.\n"),
    "code of report/view.py": add("report/view.py", "ADDED = 1\n"),
    "a new file that nobody imports": add("optimizer/nobodys.py", "ADDED = 1\n"),
    "code of optimizer/lion.py": add("optimizer/lion.py", "ADDED = 1\n"),
    "code of attention/performer.py": add("attention/performer.py", "ADDED = 1\n"),
    "code of data/digits.py": add("data/digits.py", "ADDED = 1\n"),
    "code of job/recorder.py": add("job/recorder.py", "ADDED = 1\n"),
}


def ids(root: Path) -> dict[str, dict[str, str]]:
    """Return the ids as the suexp below a folder gives them."""
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    command = [sys.executable, "-c", PROGRAM, *EXPERIMENTS]
    done = subprocess.run(
        command, env=environment, cwd=root, capture_output=True, text=True, check=True
    )
    found: dict[str, dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print("| edit | " + " | ".join(EXPERIMENTS) + " |")
    print("|---|" + "---|" * len(EXPERIMENTS))
    with tempfile.TemporaryDirectory() as folder:
        for name in ("src", "conf", "experiments"):
            shutil.copytree(
                ROOT / name,
                Path(folder) / name,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        source = Path(folder) / "src" / "suexp"
        before = ids(Path(folder))
        for name, edit in EDITS.items():
            kept = Path(folder) / "kept"
            shutil.copytree(source, kept)
            edit(source)
            after = ids(Path(folder))
            shutil.rmtree(source)
            kept.rename(source)
            cells = []
            for experiment, arms in before.items():
                changed = sum(arms[arm] != after[experiment][arm] for arm in arms)
                cells.append(f"{changed} of {len(arms)}" if changed else "-")
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
