"""``suexp report [DIR]``: an experiment's report again, or one site over all of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suexp.catalogue import Catalogue, experiments_dir
from suexp.cli import verdicts
from suexp.cli.showing import using
from suexp.cli.terminal import counted, parser, show_text
from suexp.errors import UserError

if TYPE_CHECKING:
    from suexp.runner.report_site import Entry


def run(argv: Sequence[str]) -> int:
    """Write report.md and report.html of a folder, or the site of all experiments.

    Raises:
        UserError: there are no results in the folder, or the site cannot be written.
    """
    arguments = parser(
        "report",
        "Write an experiment's report again from its results.json; without a folder, "
        "one site over all experiments: an index to search, and a page for each.",
    )
    arguments.add_argument("folder", nargs="?", type=Path, help="for example outputs/lion/laptop")
    arguments.add_argument("--out", type=Path, help="whose results the site shows; outputs")
    arguments.add_argument("--into", type=Path, help="where the site goes; default: OUT/site")
    given = arguments.parse_args(argv)
    if given.folder is None:
        out = given.out or Path("outputs")
        return site(Catalogue(given.config_dir), out, given.into or out / "site")
    if given.out or given.into:
        raise UserError(f"report {given.folder}: --out and --into are the site's; leave out DIR")
    return report(given.folder)


def report(folder: Path) -> int:
    """Write the report of a folder.

    Raises:
        UserError: there are no results in it.
    """
    if folder.name == "results.json":
        folder = folder.parent
    if not (folder / "results.json").is_file():
        raise UserError(f"report {folder}: there is no results.json; {_where(folder)}")
    from suexp.runner.report import load_results, write_report

    write_report(load_results(folder), folder)
    print(f"report: {folder / 'report.html'}")
    return 0


def site(catalogue: Catalogue, out: Path, into: Path) -> int:
    """Write the site of all experiments, run or not.

    Raises:
        UserError: the folder cannot be written.
    """
    from suexp.runner.report_site import write_site

    found = list(entries(catalogue, out))
    try:
        index = write_site(found, into)
    except OSError as error:
        raise UserError(f"report: cannot write to {into}: {error.strerror}") from error
    unrun = sum(entry.results is None for entry in found)
    show_text(f"{counted(len(found), 'experiment')}, {unrun} not run yet")
    print(f"site: {index}")
    return 0


def entries(catalogue: Catalogue, out: Path) -> Iterator["Entry"]:
    """Give every experiment that is known by its file or by its results, with the last of these."""
    from suexp.runner.report import load_results
    from suexp.runner.report_site import Entry

    known = catalogue.groups.get("experiment", {})
    parts: dict[str, list[str]] = {}
    for group in {*catalogue.groups} - {"experiment", "scale", "trainer"}:  # those are no parts
        for option in catalogue.options(group):
            for slug in using(option, catalogue):
                parts.setdefault(slug, []).append(f"{group}={option.name}")
    for slug in sorted({*known, *(path.parents[1].name for path in out.glob("*/*/results.json"))}):
        content = catalogue.option("experiment", slug).raw if slug in known else {}
        latest = verdicts.latest(slug, str(out))
        if latest is None and slug not in known:
            continue
        results, folder, where = None, Path(), ""
        if latest is not None:
            where = str(latest["where"])
            folder = experiments_dir() / slug if where == "recorded" else Path(where)
            try:
                results = load_results(folder)
                limits = (content.get("post") or {}).get("limits")
                if limits and results.get("post"):  # today's words, often learned from the runs
                    results["post"] = results["post"] | {"limits": limits}
            except UserError as error:
                show_text(f"left out: {error}")
        yield Entry(slug, content, sorted(parts.get(slug, [])), results, folder, where)


def _where(folder: Path) -> str:
    below = sorted(path.parent for path in folder.glob("*/results.json"))
    if below:
        return f"did you mean {below[0]}?"
    known = sorted(path.parent for path in Path("outputs").glob("*/*/results.json"))
    if known:
        return f"choose from {', '.join(map(str, known[:10]))}"
    return "run an experiment first, for example suexp experiment=lion"
