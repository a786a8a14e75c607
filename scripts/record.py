"""Record what an experiment's laptop run came to, and bring all that is generated up to date.

python scripts/record.py lion performer    outputs/<slug>/laptop/ -> experiments/<slug>/
python scripts/record.py --redraw lion     figures again that results.json suffices for
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from docs import card, write
from suexp.config.catalogue import Catalogue
from suexp.errors import UserError
from suexp.report.figures import draw
from suexp.report.pages import load_results
from suexp.store.folder import write_atomic
from suexp.store.numbers import dumps


def record(source: Path, target: Path, allow_dirty: bool) -> None:
    """Copy one experiment's results (less its long tables), card and figures."""
    results = load_results(source)
    doubts = _doubts(results)
    if doubts and not allow_dirty:
        raise UserError(f"{source} is not recorded: {'; '.join(doubts)} (--allow-dirty overrules)")
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.svg"):
        old.unlink()
    for figure in results["figures"]:
        if figure.get("file"):
            drawing = source / figure["file"]
            shutil.copyfile(drawing, target / drawing.name)
            figure["file"] = drawing.name
    for run in results["runs"]:
        run.pop("tables", None)  # thousands of rows, which the figures and the verdicts have read
    text = dumps(results, indent=1, ensure_ascii=False)
    write_atomic(target / "results.json", text + "\n")
    write_atomic(target / "README.md", card(load_results(target)))


def redraw(target: Path, figures: Mapping[str, Any]) -> list[str]:
    """Draw again the figures of final metrics and of tuning, which results.json suffices for.

    Histories and tables are not recorded: figures of these stay as they are.

    Args:
        target: the experiment's folder, such as experiments/lion.
        figures: the definitions of its figures, of today.

    Returns:
        The names of those that were drawn.
    """
    path = target / "results.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    recorded = {figure["name"]: figure for figure in kept["figures"] if figure["file"]}
    done = []
    with TemporaryDirectory() as folder:
        drawn = draw(dict(figures), load_results(target), Path(folder) / "no runs", Path(folder))
        for figure in drawn:
            definition, old = figures[figure["name"]], recorded.get(figure["name"])
            source = definition.get("from", "final")
            bare = definition["kind"] == "tuning" or source in ("final", "tuning")
            if bare and old and figure["file"]:
                shutil.copyfile(Path(folder) / figure["file"], target / old["file"])
                old["caption"] = figure["caption"]
                done.append(figure["name"])
    text = dumps(kept, indent=1, ensure_ascii=False)
    if done and text + "\n" != path.read_text(encoding="utf-8"):
        write_atomic(path, text + "\n")
    return done


def _doubts(results: dict[str, Any]) -> list[str]:
    """What speaks against showing a result to the world."""
    doubts = []
    runs = results["runs"]
    if results.get("dirty") is not False or any(run.get("dirty") for run in runs):
        doubts.append("it was not made from a clean commit")
    commits = {run["commit"] for run in runs if run.get("commit")}
    if len(commits) > 1:
        doubts.append(f"its runs come from {len(commits)} commits (rerun=true makes them anew)")
    if results["scale"] != "laptop":
        doubts.append(f"it is of scale {results['scale']}")
    unfinished = [run for run in runs if run["status"] != "finished"]
    if unfinished or not runs:
        doubts.append(f"{len(unfinished) or 'all'} runs did not finish")
    open_claims = [c["id"] for c in results["claims"] if c["verdict"] == "not evaluated"]
    if open_claims:
        doubts.append(f"not evaluated: {', '.join(open_claims)}")
    return doubts


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slugs", nargs="+", help="experiments to record")
    parser.add_argument("--allow-dirty", action="store_true", help="record in spite of all doubts")
    parser.add_argument("--outputs", default="outputs", help="where the laptop runs were written")
    parser.add_argument("--redraw", action="store_true", help="figures of what is recorded")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    options = parser.parse_args(arguments)
    root: Path = options.root
    try:
        for slug in options.slugs if options.redraw else ():
            figures = Catalogue().option("experiment", slug).content.get("figures") or {}
            names = redraw(root / "experiments" / slug, figures)
            print(f"experiments/{slug}: {', '.join(names) or 'nothing'} drawn again")
        for slug in options.slugs if not options.redraw else ():
            source = root / options.outputs / slug / "laptop"
            record(source, root / "experiments" / slug, options.allow_dirty)
            print(f"recorded experiments/{slug}")
        write(root)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
