"""Record what an experiment's laptop run came to, and keep the README's table of verdicts true.

python scripts/record.py lion performer    outputs/<slug>/laptop/ -> experiments/<slug>/
python scripts/record.py                    only rewrite the cards and the table in README.md
python scripts/record.py --check            exit 1 when a card or the table is not up to date
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from suexp.config.catalogue import Catalogue
from suexp.errors import UserError
from suexp.judge.intervals import mean_interval
from suexp.report.pages import load_results, markdown_report, markdown_verdict_table
from suexp.report.view import view
from suexp.report.wording import count, duration, plus_minus, size
from suexp.store.folder import write_atomic

START, END = "<!-- verdicts -->", "<!-- /verdicts -->"
GROUPS_START, GROUPS_END = "<!-- groups -->", "<!-- /groups -->"
WHICH_START, WHICH_END = "<!-- which -->", "<!-- /which -->"
# The tables of "Which one should I take?": experiment, title, ending of the arms' names, columns.
MATRICES = (
    ("attention_matrix", "Attention, texts of 128 bytes", "", ("val/loss",)),
    ("attention_matrix", "The same tokens in texts of 1024 bytes", "_long", ("val/loss",)),
    (
        "position_matrix",
        "Positions, trained on 64 bytes of source code, tested on 64, 128 and 512",
        "",
        ("val/loss_n64", "val/loss_n128", "val/loss_n512"),
    ),
)


COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "train_seconds": ("training", duration),
    "peak_memory_bytes": ("memory", size),
    "flops_per_step": ("FLOPs a step", count),
    "attention_state_bytes": ("decoding state", size),
}
SPEED = "attention_matrix/speed.json"  # bench_attention.py --json


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
    text = json.dumps(results, indent=1, ensure_ascii=False)
    write_atomic(target / "results.json", text + "\n")
    write_atomic(target / "README.md", card(load_results(target)))


def card(results: dict[str, Any]) -> str:
    """Return the report with today's limits and, where there are such runs, those on real data."""
    results = Catalogue().with_limits(results)
    real = view(results).real_data
    if not real:
        return markdown_report(results)
    rows = ["", "## On data that is not shipped", ""]
    for run in real:
        line = f"- {run.title} ({run.source}): **{run.values}** ({run.cost})"
        rows += [line, "", f"      {run.command}", ""]
    return markdown_report(results).rstrip() + "\n" + "\n".join(rows)


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


def with_table(readme: str, experiments: Path) -> str:
    """Return the README with its generated parts: verdicts and, where it has a place, groups."""
    recorded = [load_results(path.parent) for path in sorted(experiments.glob("*/results.json"))]
    readme = between(readme, START, END, markdown_verdict_table(recorded))
    if WHICH_START in readme:
        readme = between(readme, WHICH_START, WHICH_END, which_tables(experiments))
    if GROUPS_START in readme:
        readme = between(readme, GROUPS_START, GROUPS_END, group_table())
    return readme


def which_tables(experiments: Path) -> str:
    """Return the comparisons of components, the best by the first column on top."""
    parts = []
    for slug, title, ending, columns in MATRICES:
        folder = experiments / slug
        if (folder / "results.json").is_file():
            parts += [f"**{title}** ([card](experiments/{slug}/README.md))", ""]
            parts += [*_comparison(load_results(folder), ending, columns), ""]
    path = experiments / SPEED
    if path.is_file():
        measured = json.loads(path.read_text(encoding="utf-8"))
        heads = "{heads} heads of {head_dim}".format_map(measured["settings"])
        longest = max(n for row in measured["growth"] for n in row["n"])
        parts += [
            f"**Forward and backward of the core alone** ({heads}, one text, one thread; ×: times "
            f"as fast as the fastest peer in the same run; growth up to {longest} tokens, to 4096 "
            "where n x m numbers are needed; `python scripts/bench_attention.py`)",
            "",
            *_speed(measured),
            "",
        ]
    return "\n".join(parts)


def _speed(measured: dict[str, Any]) -> list[str]:
    """Return the rows of `bench_attention.py`: times of one pass, and as fast as which peer."""
    settings, growth = measured["settings"], {row["what"]: row for row in measured["growth"]}
    lengths = settings["lengths"]
    header = ["", *(f"n = {n}" for n in lengths), "fastest peer", "time", "memory"]
    lines = [f"| {' | '.join(header)} |", f"| --- |{' --: |' * (len(header) - 1)}"]
    fastest = [row for row in measured["rows"] if row["fastest"]]
    for name in dict.fromkeys(row["what"] for row in fastest):
        rows = {row["n"]: row for row in fastest if row["what"] == name}
        cells = [f"{rows[n]['ms']:.0f} ms, {rows[n]['ratio']:.2f} ×" for n in lengths]
        cells.append(", ".join(dict.fromkeys(row["against"] for row in rows.values())))
        if name in growth:
            cells += [f"n^{growth[name][f'{what}_exponent']:.2f}" for what in ("time", "memory")]
        lines.append(f"| {name.replace('_', chr(92) + '_')} | {' | '.join(cells)} |")
    return lines


def _comparison(results: dict[str, Any], ending: str, columns: Sequence[str]) -> list[str]:
    """Return the rows of one table: means over seeds, with half of their 95 % intervals."""
    endings = ("_long", "_code")
    rows = {}
    for arm in results["arms"]:
        if arm.endswith(ending) if ending else not arm.endswith(endings):
            runs = [run for run in results["runs"] if run["arm"] == arm]
            values = [mean_interval([run["metrics"][name] for run in runs]) for name in columns]
            mean = {
                name: sum(run["cost"].get(name) or 0 for run in runs) / len(runs) for name in COSTS
            }
            rows[arm.removesuffix(ending)] = (values, mean)
    header = ["", *columns, *(title for title, _ in COSTS.values())]
    lines = [f"| {' | '.join(header)} |", f"| --- |{' --: |' * (len(header) - 1)}"]
    for arm, (values, mean) in sorted(rows.items(), key=lambda item: item[1][0][0].mean):
        cells = [plus_minus(value.mean, value.low, value.high) for value in values]
        cells += [show(mean[name]) for name, (_, show) in COSTS.items()]
        lines.append(f"| {arm.replace('_', chr(92) + '_')} | {' | '.join(cells)} |")
    return lines


def between(text: str, start: str, end: str, content: str) -> str:
    """Return the text with what stands between two markers replaced."""
    before, found_start, rest = text.partition(start)
    _, found_end, after = rest.partition(end)
    if not found_start or not found_end:
        raise UserError(f"README.md needs the lines {start} and {end}")
    return f"{before}{start}\n{content}{end}{after}"


def group_table() -> str:
    """Return every group with its options, the default in bold."""
    catalogue = Catalogue()
    rows = ["| group | options |", "|---|---|"]
    for group, options in catalogue.groups.items():
        default = catalogue.defaults.get(group)
        names = [f"**{name}**" if name == default else name for name in options]
        rows.append(f"| `{group}` | {', '.join(names)} |")
    return "\n".join(rows) + "\n"


def stale(root: Path) -> list[Path]:
    """Return the files that recording would write differently."""
    files = []
    for path in sorted((root / "experiments").glob("*/results.json")):
        results, page = load_results(path.parent), path.with_name("README.md")
        if not page.is_file() or page.read_text("utf-8") != card(results):
            files.append(page)
        figures = [path.parent / figure["file"] for figure in results["figures"] if figure["file"]]
        files += [figure for figure in figures if not figure.is_file()]
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if with_table(text, root / "experiments") != text:
        files.append(readme)
    return files


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slugs", nargs="*", help="experiments to record")
    parser.add_argument("--allow-dirty", action="store_true", help="record in spite of all doubts")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when stale")
    parser.add_argument("--outputs", default="outputs", help="where the laptop runs were written")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    options = parser.parse_args(arguments)
    root: Path = options.root
    try:
        if options.check:
            files = stale(root)
            for path in files:
                print(f"{path.relative_to(root)} is not what its results say; run {sys.argv[0]}")
            return int(bool(files))
        for slug in options.slugs:
            source = root / options.outputs / slug / "laptop"
            record(source, root / "experiments" / slug, options.allow_dirty)
            print(f"recorded experiments/{slug}")
        for path in sorted((root / "experiments").glob("*/results.json")):
            write_atomic(path.with_name("README.md"), card(load_results(path.parent)))
        readme = root / "README.md"
        if not readme.is_file():
            raise UserError(f"{readme} does not exist")
        text = with_table(readme.read_text(encoding="utf-8"), root / "experiments")
        write_atomic(readme, text)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
