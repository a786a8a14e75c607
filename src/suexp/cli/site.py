"""``suexp report`` without a folder: one site over all experiments."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suexp.cli.showing import using
from suexp.cli.terminal import counted, show_text
from suexp.config.catalogue import Catalogue
from suexp.errors import UserError
from suexp.report.latest import folder_of, results_of

if TYPE_CHECKING:
    from suexp.report.site import Entry


def site(catalogue: Catalogue, out: Path, into: Path) -> int:
    """Write the site of all experiments, run or not.

    Raises:
        UserError: the folder cannot be written.
    """
    from suexp.report.site import write_site

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
    from suexp.report.pages import load_results
    from suexp.report.site import Entry

    known = catalogue.groups.get("experiment", {})
    parts: dict[str, list[str]] = {}
    for group in {*catalogue.groups} - {"experiment", "scale", "trainer"}:  # those are no parts
        for option in catalogue.options(group):
            for slug in using(option, catalogue):
                parts.setdefault(slug, []).append(f"{group}={option.name}")
    for slug in sorted({*known, *(path.parents[1].name for path in out.glob("*/*/results.json"))}):
        content = catalogue.option("experiment", slug).raw if slug in known else {}
        latest = results_of(slug, str(out))
        if latest is None and slug not in known:
            continue
        results, folder, where = None, Path(), ""
        if latest is not None:
            where = str(latest["where"])
            folder = folder_of(slug, latest)
            try:
                results = catalogue.with_limits(load_results(folder))
            except UserError as error:
                show_text(f"left out: {error}")
        yield Entry(slug, content, sorted(parts.get(slug, [])), results, folder, where)
        yield from _with_arms_added(slug, content, sorted(parts.get(slug, [])), out)


def _with_arms_added(
    slug: str, content: Mapping[str, Any], parts: Sequence[str], out: Path
) -> Iterator["Entry"]:
    """Give the same experiment with arms of the user's own, which stand beside it."""
    from suexp.report.pages import load_results
    from suexp.report.site import Entry

    for path in sorted(out.glob(f"{slug}/*,add=*/results.json")):
        try:
            results = load_results(path.parent)
        except UserError as error:
            show_text(f"left out: {error}")
            continue
        post = dict(results.get("post") or {})
        post["title"] = f"{post.get('title', slug)}, with {results.get('added')}"
        name = f"{slug}+{path.parent.name.partition(',add=')[2]}"
        yield Entry(name, content, parts, {**results, "post": post}, path.parent, str(path.parent))
