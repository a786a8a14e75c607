"""``suexp report DIR``: write an experiment's report again from its results.json."""

from collections.abc import Sequence
from pathlib import Path

from suexp.cli.terminal import parser
from suexp.errors import UserError


def run(argv: Sequence[str]) -> int:
    """Write report.md, report.html and the figures.

    Raises:
        UserError: there are no results in the folder.
    """
    arguments = parser("report", "Write an experiment's report again from its results.json.")
    arguments.add_argument("folder", help="for example outputs/lion/laptop")
    folder = Path(arguments.parse_args(argv).folder)
    if folder.name == "results.json":
        folder = folder.parent
    if not (folder / "results.json").is_file():
        raise UserError(f"report {folder}: there is no results.json; {_where(folder)}")
    from suexp.runner.report import load_results, write_report

    write_report(load_results(folder), folder)
    print(f"report: {folder / 'report.html'}")
    return 0


def _where(folder: Path) -> str:
    below = sorted(path.parent for path in folder.glob("*/results.json"))
    if below:
        return f"did you mean {below[0]}?"
    known = sorted(path.parent for path in Path("outputs").glob("*/*/results.json"))
    if known:
        return f"choose from {', '.join(map(str, known[:10]))}"
    return "run an experiment first, for example suexp experiment=lion"
