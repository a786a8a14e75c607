"""Write what is generated: the README's tables, cards and their pictures, maps of conf and src.

python scripts/docs.py            write what has changed
python scripts/docs.py --check    write nothing, exit 1 when a file is not up to date
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from suexp.config.catalogue import Catalogue, read_module_doc
from suexp.errors import UserError
from suexp.judge.intervals import mean_interval
from suexp.report.pages import load_results, markdown_report, markdown_verdict_table
from suexp.report.pictures import Picture, book, pictures
from suexp.report.wording import count, duration, plus_minus, size
from suexp.store.folder import write_atomic

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


def pages(root: Path) -> dict[Path, str]:
    """Return every generated file with its content.

    Raises:
        UserError: there is no README.md, or a place for a generated part that is not closed.
    """
    found = {
        path.with_name("README.md"): card(load_results(path.parent))
        for path in sorted((root / "experiments").glob("*/results.json"))
    }
    parts: dict[str, Callable[[], str]] = {
        "verdicts": lambda: verdict_table(root / "experiments"),
        "book": lambda: book_picture(root / "experiments"),
        "which": lambda: which_tables(root / "experiments"),
        "groups": group_table,
        "conf": conf_map,
        "src": lambda: src_map(root / "src" / "suexp"),
    }
    if not (root / "README.md").is_file():
        raise UserError(f"{root / 'README.md'} does not exist")
    for folder in (root, root / "conf", root / "src" / "suexp", root / "experiments"):
        page = folder / "README.md"
        if page.is_file():
            found[page] = filled(page.read_text(encoding="utf-8"), parts)
    if "<!-- verdicts -->" not in found[root / "README.md"]:
        raise UserError("README.md needs the lines <!-- verdicts --> and <!-- /verdicts -->")
    return found


def filled(text: str, parts: dict[str, Callable[[], str]]) -> str:
    """Return a page with what stands between its markers, ``<!-- name -->``, made anew."""
    for name, make in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, opened, rest = text.partition(start)
        if not opened:
            continue
        _, closed, after = rest.partition(end)
        if not closed:
            raise UserError(f"README.md: {start} needs a line {end} after it")
        text = f"{before}{start}\n{make()}{end}{after}"
    return text


def card(results: dict[str, Any]) -> str:
    """Return the report with today's limits."""
    return markdown_report(Catalogue().with_limits(results))


def recorded(experiments: Path) -> list[dict[str, Any]]:
    """Return the results of all recorded experiments."""
    return [load_results(path.parent) for path in sorted(experiments.glob("*/results.json"))]


def verdict_table(experiments: Path) -> str:
    """Return the verdicts of all recorded experiments."""
    return markdown_verdict_table(recorded(experiments))


def book_picture(experiments: Path) -> str:
    """Return the picture of all claims, as experiments/README.md shows it."""
    picture = book(recorded(experiments))
    if picture is None:
        return ""
    return f"![{picture.caption}]({picture.file})\n\n*{picture.caption}*\n"


def drawings(root: Path) -> list[tuple[Path, Picture]]:
    """Return the pictures that are drawn from results alone, each with its folder."""
    results = recorded(root / "experiments")
    found = [
        (root / "experiments" / item["experiment"], picture)
        for item in results
        for picture in pictures(item)
    ]
    whole = book(results)
    return found if whole is None else [*found, (root / "experiments", whole)]


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


def group_table() -> str:
    """Return every group with its options, the default in bold."""
    catalogue = Catalogue()
    rows = ["| group | options |", "|---|---|"]
    for group, options in catalogue.groups.items():
        default = catalogue.defaults.get(group)
        names = [f"**{name}**" if name == default else name for name in options]
        rows.append(f"| `{group}` | {', '.join(names)} |")
    return "\n".join(rows) + "\n"


def conf_map() -> str:
    """Return one line for each folder of conf/: what is chosen there, and among how many."""
    catalogue = Catalogue()
    rows = ["| folder | what is chosen | options | default |", "|---|---|--:|---|"]
    for group, options in catalogue.groups.items():
        default = catalogue.defaults.get(group) or ""
        rows.append(f"| `{group}/` | {catalogue.describe(group)} | {len(options)} | {default} |")
    return "\n".join(rows) + "\n"


def src_map(package: Path) -> str:
    """Return one line for each folder and file of the package, from their docstrings."""
    groups = {*Catalogue().groups, "nn"} - {"experiment"}  # which conf/ has, and code that runs one
    rows: dict[str, list[str]] = {"Components": [], "The runner": [], "Files": []}
    for path in sorted(package.iterdir()):
        module = path / "__init__.py" if path.is_dir() else path
        if module.suffix != ".py" or not module.is_file() or path.name == "__init__.py":
            continue
        kind = "Files" if path.is_file() else "Components" if path.name in groups else "The runner"
        name = f"{path.name}/" if path.is_dir() else path.name
        rows[kind].append(f"| `{name}` | {read_module_doc(module).splitlines()[0]} |")
    return "\n".join(
        f"| {title} | |\n|---|---|\n" + "\n".join(lines) + "\n" for title, lines in rows.items()
    )


def stale(root: Path) -> list[Path]:
    """Return the files that writing would change, and the figures that are missing."""
    files = [
        page
        for page, text in pages(root).items()
        if not page.is_file() or page.read_text(encoding="utf-8") != text
    ]
    for path in sorted((root / "experiments").glob("*/results.json")):
        figures = load_results(path.parent)["figures"]
        named = [path.parent / figure["file"] for figure in figures if figure["file"]]
        files += [figure for figure in named if not figure.is_file()]
    files += [folder / item.file for folder, item in drawings(root) if not item.drawn(folder)]
    return files


def write(root: Path) -> None:
    """Write every generated file that is not up to date."""
    for page, text in pages(root).items():
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            write_atomic(page, text)
    for folder, picture in drawings(root):
        if not picture.drawn(folder):
            picture.draw(folder / picture.file)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when stale")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    options = parser.parse_args(arguments)
    try:
        if not options.check:
            write(options.root)
            return 0
        files = stale(options.root)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for path in files:
        print(f"{path.relative_to(options.root)} is not up to date; run make docs")
    return int(bool(files))


if __name__ == "__main__":
    sys.exit(main())
