"""``suexp report [DIR]``: an experiment's report again, or one site over all of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suexp.cli.site import site
from suexp.cli.terminal import parser
from suexp.config.catalogue import Catalogue
from suexp.errors import UserError


def run(argv: Sequence[str]) -> int:
    """Write the reports of a folder, one for Weights & Biases too, or the site of all experiments.

    Raises:
        UserError: there are no results in the folder, the site cannot be written, or there is no
            key to publish with.
    """
    arguments = parser(
        "report",
        "Write an experiment's report again from its results.json; without a folder, "
        "one site over all experiments: an index to search, and a page for each.",
    )
    arguments.add_argument("folder", nargs="?", type=Path, help="for example outputs/lion/laptop")
    sites = arguments.add_argument_group("without a folder")
    sites.add_argument("--out", type=Path, help="whose results the site shows; outputs")
    sites.add_argument("--into", type=Path, help="where the site goes; default: OUT/site")
    wandb = arguments.add_argument_group("of a folder")
    wandb.add_argument(
        "--wandb", action="store_true", help="also define a wandb report over the runs: wandb.json"
    )
    wandb.add_argument("--publish", action="store_true", help="and publish it; needs a key")
    wandb.add_argument("--project", help="wandb's project; default: conf/logger/wandb.yaml's")
    wandb.add_argument("--entity", help="wandb's team; default: the key's own")
    given = arguments.parse_args(argv)
    catalogue = Catalogue(given.config_dir)
    if given.folder is None:
        if given.wandb or given.publish:
            raise UserError("report --wandb: it is of one experiment; write report DIR --wandb")
        out = given.out or Path("outputs")
        return site(catalogue, out, given.into or out / "site")
    if given.out or given.into:
        raise UserError(f"report {given.folder}: --out and --into are the site's; leave out DIR")
    folder = given.folder.parent if given.folder.name == "results.json" else given.folder
    results = report(folder)
    if given.wandb or given.publish:
        from suexp.report.wandb_workspace import define, publish, write

        project = given.project or catalogue.option("logger", "wandb").raw["wandb"]["project"]
        definition = define(results, _figures(results, catalogue), project, given.entity)
        print(f"wandb report: {write(definition, folder)}")
        if given.publish:
            print(f"published: {publish(definition, folder)}")
    return 0


def report(folder: Path) -> dict[str, Any]:
    """Write the report of a folder, and return its results.

    Raises:
        UserError: there are no results in it.
    """
    if not (folder / "results.json").is_file():
        raise UserError(f"report {folder}: there is no results.json; {_where(folder)}")
    from suexp.report.pages import load_results, write_report

    results = load_results(folder)
    write_report(results, folder)
    print(f"report: {folder / 'report.html'}")
    return results


def _figures(results: dict[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """Return the definitions of the experiment's figures; none where it is not known any more."""
    name = str(results["experiment"])
    if name not in catalogue.groups.get("experiment", {}):
        return {}
    content = catalogue.option("experiment", name).content
    scaled = (content.get("scales") or {}).get(results["scale"]) or {}
    return scaled.get("figures") or content.get("figures") or {}


def _where(folder: Path) -> str:
    below = sorted(path.parent for path in folder.glob("*/results.json"))
    if below:
        return f"did you mean {below[0]}?"
    known = sorted(path.parent for path in Path("outputs").glob("*/*/results.json"))
    if known:
        return f"choose from {', '.join(map(str, known[:10]))}"
    return "run an experiment first, for example suexp experiment=lion"
