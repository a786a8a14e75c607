"""``suexp list [GROUP]``: what can be chosen."""

import json
from collections.abc import Sequence
from typing import Any

from suexp.cli.terminal import parser, show_rows, show_text
from suexp.config.catalogue import Catalogue, Option
from suexp.errors import UserError
from suexp.near import near
from suexp.report import latest


def run(argv: Sequence[str]) -> int:
    """List the groups, or the options of one.

    Raises:
        UserError: no such group.
    """
    arguments = parser("list", "List the groups, or the options of one group.")
    arguments.add_argument("group", nargs="?", help="a group, for example attention or experiment")
    arguments.add_argument("--json", action="store_true", help="machine readable")
    given = arguments.parse_args(argv)
    catalogue = Catalogue(given.config_dir)
    rows = listed(given.group, catalogue)
    if given.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False, default=str))
    elif given.group is None:
        show_overview(rows)
    else:
        show_options(given.group, rows, catalogue)
    return 0


def listed(group: str | None, catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return the groups, or the options of one.

    Raises:
        UserError: no such group.
    """
    if group is None:
        return overview(catalogue)
    if group in catalogue.groups:
        return options(group, catalogue)
    raise UserError(_no_group(group, catalogue))


def overview(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return each group with its description, default and options."""
    return [
        {
            "group": group,
            "description": catalogue.describe(group),
            "default": catalogue.defaults.get(group),
            "options": list(names),
        }
        for group, names in catalogue.groups.items()
    ]


def options(group: str, catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return each option of a group with its description."""
    describe = experiment if group == "experiment" else _option
    return [describe(option) for option in catalogue.options(group)]


def _option(option: Option) -> dict[str, Any]:
    keys = {key: value for key, value in option.content.items() if key != "_target_"}
    return {
        "name": option.name,
        "description": option.description,
        "target": option.target,
        "parameters": keys,
    }


def experiment(option: Option) -> dict[str, Any]:
    """Return an experiment with its title and last verdicts, or why its file is wrong."""
    try:
        return _described(option)
    except (AttributeError, TypeError, ValueError):
        from suexp.experiment.schema import check  # says what is wrong; it takes a while to import

        check(option)
        raise


def _described(option: Option) -> dict[str, Any]:
    content = option.content
    post = content.get("post") or {}
    results = latest.results_of(option.name)
    return {
        "name": option.name,
        "description": post.get("title") or option.description,
        "url": post.get("url"),
        "date": post.get("date"),
        "cost": latest.cost(results),
        "arms": list(content.get("arms") or {}),
        "seeds": content.get("seeds"),
        "claims": {k: v.get("text") for k, v in (content.get("claims") or {}).items()},
        "verdicts": latest.count(results),
        "scale": results and results.get("scale"),
        "summary": latest.summary(results),
    }


def show_overview(rows: list[dict[str, Any]]) -> None:
    """Print the groups."""
    show_rows(
        ("group", "options", "default", "what it is"),
        [
            (row["group"], len(row["options"]), row["default"] or "-", row["description"])
            for row in rows
        ],
    )
    show_text("\nsuexp list GROUP lists its options, suexp show NAME explains one.", "dim")


def show_options(group: str, rows: list[dict[str, Any]], catalogue: Catalogue) -> None:
    """Print one group's options; the default is marked."""
    if group == "experiment":
        columns: tuple[str, ...] = ("experiment", "post", "verdicts", "cost")
        keys: tuple[str, ...] = ("name", "description", "summary", "cost")
        show_rows(columns, [[row[key] for key in keys] for row in rows])
        return
    default = catalogue.defaults.get(group)
    show_rows(
        (group, "", "what it is"),
        [
            (row["name"], "default" if row["name"] == default else "", row["description"])
            for row in rows
        ],
    )


def _no_group(name: str, catalogue: Catalogue) -> str:
    for option in catalogue.named(name):
        return f"list {name}: {name} is an option of {option.group}; see suexp show {name}"
    return f"list {name}: no such group{near(name, list(catalogue.groups))}"
