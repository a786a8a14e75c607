"""Run experiments and their methods on real data sets that are not shipped; keep what comes out.

python scripts/real_data.py --data DIR             every entry of scripts/real_data.yaml
python scripts/real_data.py --data DIR memm_vs_crf only this experiment's

An entry with ``settings`` is a run, of which metrics are kept; one with ``experiment`` is a whole
experiment, with arms, seeds and claims, of which verdicts are kept: one of the package on other
data, or one of scripts/real_data/experiment. Writes experiments/<slug>/real_data.json, from which
scripts/docs.py makes a section of the card. DIR holds the data sets in the folders that the YAML
names; each is public, see its entry.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import suexp
from suexp.config.yaml_file import load_yaml
from suexp.errors import UserError
from suexp.experiment.outcome import Experiment
from suexp.experiment.settings import Named, overrides
from suexp.report.wording import total_seconds
from suexp.store.folder import write_atomic
from suexp.store.numbers import dumps

ROOT = Path(__file__).parents[1]
OWN = Path(__file__).with_suffix("")
UNJUDGED = ("undecided", "not evaluated")  # arms that were left out


def figures(entry: dict[str, Any], names: dict[str, Named], data: Path, out: str) -> dict[str, Any]:
    """Run one entry and return what came of it; the data's own folder stays out of it."""
    written = overrides(entry["settings"], names)
    typed = [item.replace("DATA", str(data)) for item in written]
    summary = suexp.run([*typed, f"out={out}", "trainer.enable_progress_bar=false"])
    if summary.status != "finished":
        raise UserError(f"{entry['title']}: {summary.error}")
    facts = json.loads((summary.folder / "summary.json").read_text(encoding="utf-8"))
    return {
        "title": entry["title"],
        "source": entry["source"],
        "command": shlex.join(["suexp", *written]),
        "metrics": {name: summary.metrics[name] for name in entry["metrics"]},
        "steps": summary.cost["steps"],
        "wall_seconds": summary.cost["wall_seconds"],
        "commit": facts.get("commit"),
        "dirty": facts.get("dirty"),
    }


def verdicts(entry: dict[str, Any], data: Path, out: str) -> dict[str, Any]:
    """Run the experiment of an entry and return its claims."""
    asked: list[str] = entry["experiment"]
    typed = [item.replace("DATA", str(data)) for item in asked]
    quiet = "trainer.enable_progress_bar=false"
    made = suexp.run([*typed, f"out={out}", quiet], config_dir=str(OWN))
    assert isinstance(made, Experiment)
    if made.unfinished:
        raise UserError(f"{entry['title']}: {made.unfinished} runs did not finish")
    results = made.results
    return {
        "title": entry["title"],
        "source": entry["source"],
        "command": shlex.join(["suexp", f"--config-dir=scripts/{OWN.name}", *asked]),
        "claims": [claim for claim in results["claims"] if claim["verdict"] not in UNJUDGED],
        "seeds": results["seeding"],
        "wall_seconds": round(total_seconds(results["runs"]), 1),
        "commit": results["commit"],
        "dirty": results["dirty"],
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slugs", nargs="*", help="experiments; none: all that the YAML has")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--out", default="outputs", help="where the runs are written")
    parser.add_argument("--root", type=Path, default=ROOT)
    options = parser.parse_args(arguments)
    path = Path(__file__).with_suffix(".yaml")
    entries: dict[str, list[dict[str, Any]]] = load_yaml(path)
    named: dict[str, Any] = entries.pop("let")  # type: ignore[assignment]
    names = {name: Named(("let", name), settings) for name, settings in named.items()}
    try:
        for slug in options.slugs or entries:
            if slug not in entries:
                raise UserError(f"{path.name} has no {slug}; it has {', '.join(entries)}")
            found = [
                verdicts(entry, options.data, options.out)
                if "experiment" in entry
                else figures(entry, names, options.data, options.out)
                for entry in entries[slug]
            ]
            if any(item["dirty"] is not False for item in found):
                raise UserError(f"{slug}: the runs were not made from a clean commit")
            target = options.root / "experiments" / slug / "real_data.json"
            text = dumps(found, indent=1, ensure_ascii=False)
            write_atomic(target, text + "\n")
            print(f"wrote {target.relative_to(options.root)}")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
