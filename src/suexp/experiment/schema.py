"""What the keys of an experiment hold; everything that is wrong with one is said here, in a line.

Claims and figures are read in `suexp.experiment.form`, with the modules that judge and draw them.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
)
from pydantic_core import ErrorDetails

from suexp.config.catalogue import ARM_KEYS, EXPERIMENT_KEYS, Option
from suexp.config.yaml_file import lines_of
from suexp.errors import UserError
from suexp.experiment.form import expand
from suexp.experiment.settings import Keys, Mistake, shown
from suexp.judge.looks import seconds
from suexp.near import hint, near, nearest


def _distinct(values: list[Any]) -> list[Any]:
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise ValueError(f"{shown(twice[0])} stands twice")
    return values


# An arm's name goes into run.arm=NAME and into the claims.
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.-]*$")]
Names = Annotated[list[Name], Field(min_length=1), AfterValidator(_distinct)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Text = Annotated[str, Field(min_length=1)]


def _time(said: Any) -> Any:
    if said is not None:
        seconds(str(said))
    return said


# One, or a list.
Columns = Annotated[list[Text], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]
Limits = Annotated[list[float], Field(min_length=2, max_length=2)]
# A name, a mapping, or a list of these: `suexp.experiment.settings` reads it.
Settings = Any


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Open(BaseModel):
    """Types only: which other keys there are is known where it is used."""

    model_config = ConfigDict(extra="allow", strict=True)


class Post(_Part):
    """The post, and what the experiment cannot show of it."""

    slug: Text
    title: Text
    title_zh: Text | None = None
    url: Text | None = None
    date: Text | None = None
    paper: Text | None = None
    claim: Text | None = None
    limits: list[Text] = []


class Until(_Part):
    """Seeds are added until the claims are decided."""

    until: Literal["decided"]
    at_most: Annotated[int, Field(ge=2, le=1000)] | None = None
    budget: Annotated[Any, AfterValidator(_time)] = None


def _kind(value: Any) -> str:
    return "until" if isinstance(value, Mapping) else "list"


Seeds = Annotated[
    Annotated[Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)], Tag("list")]
    | Annotated[Until, Tag("until")],
    Discriminator(_kind),
]


class Tune(_Part):
    """The parameter of which each arm takes its own best value.

    ``unequal`` says why arms that a claim compares have unequal numbers of trials.
    """

    parameter: Text
    seed: Seed
    metric: Text
    mode: Literal["min", "max"] = "min"
    unequal: Text | None = None
    grid: Annotated[dict[Name, Any], Field(min_length=1)]  # lists, or mappings of lists


class Claim(_Open):
    """A sentence and its test."""

    text: Text
    test: Text
    scale: Text | None = None
    exact: bool | None = None
    matters: Annotated[float, Field(gt=0)] | None = None


class Level(_Part):
    """What an arm is expected to reach, and where that is from."""

    value: float
    tolerance: Annotated[float, Field(gt=0)]
    source: Text


class Figure(_Open):
    """What is drawn of the runs."""

    kind: Text
    caption: Text | None = None
    arms: Names | None = None
    table: Text | None = None
    x: Text | None = None
    y: Text | None = None
    z: Text | None = None
    by: Columns | None = None
    where: dict[str, Any] | None = None
    x_label: Text | None = None
    y_label: Text | None = None
    x_scale: Literal["linear", "log"] | None = None
    y_scale: Literal["linear", "log"] | None = None
    x_limits: Limits | None = None
    y_limits: Limits | None = None
    bins: Annotated[int, Field(ge=1)] | None = None
    guide: float | None = None
    points: bool | None = None
    equal: bool | None = None


class Scale(_Part):
    """What a scale changes."""

    seeds: Seeds | None = None
    only: Names | None = None
    base: Settings = None
    let: dict[Name, Settings] | None = None
    arms: dict[Name, Settings] | None = None
    overrides: Settings = None
    tune: Tune | None = None
    claims: dict[Name, Claim] | None = None
    expect: dict[Text, Level] | None = None
    figures: dict[str, Figure] | None = None


class Form(_Part):
    """An experiment's own keys."""

    post: Post
    base: Settings = None
    let: dict[Name, Settings] | None = None
    arms: dict[Name, Settings]
    seeds: Seeds
    tune: Tune | None = None
    claims: dict[Name, Claim] | None = None
    expect: dict[Text, Level] | None = None
    figures: dict[str, Figure] | None = None
    scales: dict[Name, Scale] | None = None
    only: Names | None = None


def read(slug: str, keys: Mapping[str, Any], scale: str) -> dict[str, Any]:
    """Return a composed experiment at a scale (`suexp.experiment.form.expand`).

    Args:
        slug: the experiment's name.
        keys: its own keys, as they were composed; what the user typed is among them.
        scale: the scale's name.

    Raises:
        UserError: the first mistake.
    """
    try:
        _check_types(keys)
        return expand(keys, scale)
    except Mistake as mistake:
        raise UserError(f"experiment={slug}: {mistake}") from mistake


def check(option: Option) -> None:
    """Check an experiment's file, whole: its keys, what they hold, every scale.

    Raises:
        UserError: the first mistake, with file and line.
    """
    files = [option.path, *(item.path for item in option.ancestors())]
    try:
        if option.package != "_global_":
            raise Mistake((), "the first line must be `# @package _global_`")
        _check_keys(option)
        form = {key: option.content[key] for key in EXPERIMENT_KEYS if key in option.content}
        _check_types(form)
        known = option.catalogue.groups.get("scale", {})
        for scale in form.get("scales") or {}:
            if scale not in known:
                raise Mistake(("scales", scale), f"scales: no such scale; {hint(scale, [*known])}")
        for scale in known:
            expand(form, scale)
    except Mistake as mistake:
        raise UserError(f"{_place(files, mistake.keys)}: {mistake}") from mistake


def _place(files: Sequence[Path], keys: Keys) -> str:
    """Return where a key stands, among the files of which an experiment is made."""
    lines = {file: lines_of(file, keys) for file in files}
    file = max(files, key=lambda file: len(lines[file]))
    return f"{file}, line {lines[file][-1]}" if lines[file] else str(file)


def _check_keys(option: Option) -> None:
    """Refuse a key at the top that is nobody's: a misspelt one would be without effect.

    A key of the experiment's own is one that it refers to: ``sizes`` where ``${sizes.steps}`` is.
    """
    catalogue = option.catalogue
    known = {*EXPERIMENT_KEYS, *catalogue.primary, *(g.split("/")[0] for g in catalogue.groups)}
    known = {*known, "hydra"} - {"defaults", "experiment", "scale", *ARM_KEYS}
    text = "\n".join(item.text for item in (option, *option.ancestors()))
    for key in map(str, option.content):
        if key in known or re.search(rf"\$\{{{re.escape(key)}\b", text):
            continue
        if key in ("experiment", "scale") or not any(catalogue.options_with(key)):
            match = nearest(key, known)
            fix = f"did you mean {match}?" if match else f"nothing refers to it as ${{{key}}}"
            raise Mistake((key,), f"{key}: no such key; {fix}")


def _check_types(form: Mapping[str, Any]) -> None:
    try:
        Form.model_validate(form)
    except ValidationError as error:
        # An unknown key first: it explains the one that is missing.
        errors = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
        raise _mistake(errors[0]) from error


def _mistake(error: ErrorDetails) -> Mistake:
    """Return what pydantic found wrong, in our words."""
    keys = tuple(key for key in error["loc"] if key != "[key]")
    at = {"seeds": 1, "scales": 3}.get(str(keys[0]), 0)
    if at and keys[at - 1 : at] == ("seeds",):  # then comes which of the two forms it has
        keys = (*keys[:at], *keys[at + 1 :])
    place = ".".join(map(str, keys))
    kind = error["type"]
    if kind == "extra_forbidden":
        parts: dict[str, type[BaseModel]] = {"post": Post, "tune": Tune, "seeds": Until}
        part = Level if "expect" in keys[:-2] else parts.get(str(keys[-2]), Scale)
        return Mistake(keys, f"{place}: no such key{near(str(keys[-1]), part.model_fields)}")
    if kind == "missing":
        return Mistake(keys, f"{place}: is missing")
    if "[key]" in error["loc"] or kind == "string_pattern_mismatch":
        return Mistake(keys, f"{place}: a name is letters, digits, _, - and ., a letter first")
    words = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    for pattern, word in _WORDS.items():
        words = re.sub(pattern, word, words)
    if kind not in ("value_error", "too_short", "string_too_short"):
        words += f", found {shown(error['input'])}"
    return Mistake(keys, f"{place}: {words}")


# Pydantic's words, and ours.
_WORDS = {
    r"a valid dictionary.*": "`key: value` lines",
    r"a valid list": "a list",
    r"a valid string": "text",
    r"a valid integer.*": "a whole number",
    r"a valid number": "a number",
    r"a valid boolean": "true or false",
    r".*should have at least 1 .*": "is empty",
}
