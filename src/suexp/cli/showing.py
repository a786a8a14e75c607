"""``suexp show NAME``: what an option or experiment is."""

import ast
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from suexp.cli import costing, listing
from suexp.cli.terminal import parser, show_rows, show_text
from suexp.code.source import Target, meanings, sections
from suexp.config.catalogue import Catalogue, Option
from suexp.config.unknown import unknown_option
from suexp.errors import UserError
from suexp.judge.looks import Seeding
from suexp.near import near
from suexp.report import latest, lineage


def run(argv: Sequence[str]) -> int:
    """Explain everything that bears a name.

    Raises:
        UserError: nothing bears it.
    """
    arguments = parser("show", "Explain an option or an experiment.")
    arguments.add_argument(
        "name",
        help="an option (performer, attention/performer), an experiment, a group, or a post: its "
        "address, its number, words of its title",
    )
    given = arguments.parse_args(argv)
    catalogue = Catalogue(given.config_dir)
    if given.name in catalogue.groups:
        show_text(f"{given.name}: {catalogue.describe(given.name)}\n")
        rows = listing.options(given.name, catalogue)
        listing.show_options(given.name, rows, catalogue)
        return 0
    posts = posts_of(given.name, catalogue)
    if len(posts) > 1:
        rows = [listing.experiment(option) for option in posts]
        listing.show_options("experiment", rows, catalogue)
        return 0
    for i, option in enumerate(posts or resolve(given.name, catalogue)):
        if i:
            print()
        if option.group == "experiment":
            show_experiment(option, catalogue)
        else:
            show_option(option, catalogue)
    return 0


def resolve(name: str, catalogue: Catalogue) -> list[Option]:
    """Return the options that a name, ``group/name`` or ``group=name`` means.

    Raises:
        UserError: there are none.
    """
    group, separator, option = name.replace("=", "/").rpartition("/")
    if not separator:
        found = catalogue.named(name)
        if not found:
            names = {option for options in catalogue.groups.values() for option in options}
            known = sorted({*names, *catalogue.groups})
            raise UserError(f"show {name}: no such option or experiment{near(name, known)}")
        return found
    if group not in catalogue.groups:
        suffix = near(group, list(catalogue.groups))
        raise UserError(f"show {name}: no such group{suffix}")
    if option not in catalogue.groups[group]:
        raise UserError(f"show {unknown_option(group, option, catalogue)}")
    return [catalogue.option(group, option)]


def posts_of(words: str, catalogue: Catalogue) -> list[Option]:
    """Return the experiments of a post, given by address, number or words of its title."""
    group = re.split("[/=]", words)[0]
    if "experiment" not in catalogue.groups or catalogue.named(words) or group in catalogue.groups:
        return []
    number = re.search(r"(?:^|archives/)(\d+)/?$", words)
    found = []
    for option in catalogue.options("experiment"):
        post = option.content.get("post")
        if not isinstance(post, dict):
            continue
        if number:
            fits = str(post.get("url", "")).endswith(f"/archives/{number[1]}")
        else:
            titles = f"{post.get('title', '')}\n{post.get('title_zh', '')}".casefold()
            fits = words.casefold() in titles
        if fits:
            found.append(option)
    return found


def show_option(option: Option, catalogue: Catalogue) -> None:
    """Print what the class says of itself, its parameters, and where it is used."""
    source = option.source
    show_text(f"{option.group}={option.name}", "bold")
    show_text(option.target or str(option.path), "dim")
    if option.comment:
        show_text(f"\n{option.comment}")
    if source is not None:
        show_text("\n" + sections(source.doc)[""].replace("``", "`"))
    rows = list(_parameters(option, source))
    if rows:
        place = option.place and f"{option.place}."
        show_text(f"\nparameters ({place}NAME=VALUE)", "bold")
        show_rows(("name", "default", "type", "meaning"), rows)
    costs = costing.rows(option)
    if costs:
        show_text(f"\n{costing.title(option)}", "bold")
        show_rows(("", "formula", "value"), costs)
    facts = [*_references(source), *_capabilities(source), *_uses(option, catalogue)]
    if facts:
        print()
        show_rows(("", ""), facts)


def _parameters(option: Option, source: Target | None) -> Iterator[tuple[str, str, str, str]]:
    meaning: dict[str, str] = {}
    for item in reversed(source.lineage if source else ()):
        meaning |= meanings(item.doc)
    if not (option.target or "").startswith("suexp."):
        # Other people's manuals are long; what our YAML says of a key comes first.
        meaning = {key: text.split(". ")[0] for key, text in meaning.items()} | option.remarks
    meaning = option.remarks | meaning
    node = option.content
    prefix = ""
    if "_target_" not in node:
        prefix, node = next(
            ((f"{k}.", v) for k, v in node.items() if isinstance(v, dict) and "_target_" in v),
            ("", node),
        )
    for key, value in node.items():
        if key == "_target_":
            continue
        parameter = source.signature.parameters.get(key) if source else None
        annotation = parameter.annotation if parameter else None
        kind = ast.unparse(annotation).strip("'") if annotation else ""
        yield f"{prefix}{key}", _value(value), kind, meaning.get(key, "").replace("``", "`")


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {_value(v)}' for k, v in value.items())}}}"
    return str(value)


def _references(source: Target | None) -> Iterator[tuple[str, str]]:
    text = f"{source.doc}\n{source.module.doc}" if source else ""
    # An address may stand at a sentence's end or in brackets.
    urls = [url.rstrip(".,;:)>`") for url in re.findall(r"https?://\S+", text)]
    arxiv = re.findall(r"(?i)\barxiv:?\s*(\d{4}\.\d{4,5})", text)
    urls += [f"https://arxiv.org/abs/{number}" for number in arxiv]
    for url in dict.fromkeys(urls):
        yield ("post" if "kexue.fm" in url or "spaces.ac.cn" in url else "reference"), url


def _capabilities(source: Target | None) -> Iterator[tuple[str, str]]:
    if source is None:
        return
    for feature in sorted(source.literal("provides", ())):
        yield "provides", feature
    for feature, reason in source.literal("needs", {}).items():
        yield "needs", f"{feature}: {reason}"
    for feature, reason in source.literal("refuses", {}).items():
        yield "not with", f"{feature}: {reason}"


def _uses(option: Option, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    if catalogue.defaults.get(option.group) == option.name:
        yield "default", f"config.yaml chooses it for {option.group}"
    for experiment in using(option, catalogue):
        yield "used by", f"experiment={experiment}: {latest.summary(latest.results_of(experiment))}"


def using(option: Option, catalogue: Catalogue) -> list[str]:
    """Return the experiments that choose an option, in their base, an arm or a scale."""
    group, name = re.escape(option.group), re.escape(option.name)
    chosen = re.compile(
        rf"(?:^|[\s'\",\[{{+/]){group}(?:@[\w.]+)?:\s*(?:\[(?:[\w, ]*,\s*)?)?{name}(?![\w.=])",
        re.M,
    )
    experiments = catalogue.options("experiment") if "experiment" in catalogue.groups else []
    return [i.name for i in experiments if option.name in i.text and chosen.search(i.text)]


def show_experiment(option: Option, catalogue: Catalogue) -> None:
    """Print the post, the arms, the claims with their last verdicts, and how to run it."""
    from suexp.experiment.form import expand
    from suexp.experiment.schema import check

    check(option)
    scale = catalogue.defaults.get("scale") or "laptop"
    content = expand(option.content, scale)
    post = content["post"]
    results = latest.results_of(option.name)
    show_text(f"experiment={option.name}", "bold")
    titles = " / ".join(str(post[key]) for key in ("title", "title_zh") if post.get(key))
    show_text(titles or option.description)
    if post.get("claim"):
        show_text(f"\n{post['claim']}")
    print()
    where = f", {results['where']}" if results else ""
    facts = [
        ("post", " ".join(str(post[key]) for key in ("url", "date") if post.get(key))),
        ("paper", post.get("paper")),
        ("cost", latest.cost(results)),
        ("run", f"suexp experiment={option.name}"),
        ("seeds", str(Seeding.of(content["seeds"]))),
        ("scales", ", ".join(dict.fromkeys([scale, *(option.content.get("scales") or {})]))),
        ("verdicts", f"{latest.summary(results)}{where}"),
        *(("limit", limit) for limit in post.get("limits") or []),
    ]
    show_rows(("", ""), [fact for fact in facts if fact[1]])
    show_text("\narms", "bold")
    shared = content["base"]
    rows = [(arm, items[len(shared) :]) for arm, items in content["arms"].items()]
    rows = [("(all)", shared), *rows] if shared else rows
    show_rows(("arm", "overrides"), [(arm, shlex.join(items)) for arm, items in rows])
    origins = lineage.rows(lineage.lineage(content["arms"]))
    if origins:
        show_text("\nruns that start from others", "bold")
        show_rows(("run", "starts from"), origins)
    judged = {claim["id"]: claim for claim in (results or {}).get("claims", [])}
    if content["claims"]:
        show_text("\nclaims", "bold")
        show_rows(
            ("claim", "verdict", "sentence", "test"),
            [
                (key, judged.get(key, {}).get("verdict", "-"), claim.get("text"), claim.get("test"))
                for key, claim in content["claims"].items()
            ],
        )
