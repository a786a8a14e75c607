"""What a results.json holds, as far as a report reads it."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from suexp.store.numbers import read

Real = int | float


class _Part(BaseModel):
    """Types only: other keys may stand there."""

    model_config = ConfigDict(extra="allow")


class Post(_Part):
    """The post."""

    title: str | None = None
    title_zh: str | None = None
    url: str | None = None
    date: str | None = None
    paper: str | None = None
    claim: str | None = None
    limits: list[str] | None = None


class Run(_Part):
    """A run and what came out of it."""

    id: str
    arm: str | None
    seed: int
    status: str
    error: str | None = None
    metrics: dict[str, Real | None]
    cost: dict[str, int | FiniteFloat | None] | None = None
    commit: str | None = None


class Claim(_Part):
    """A claim and its verdict."""

    id: str
    text: str
    test: str
    verdict: str
    reason: str | None = None
    estimate: Real | None = None
    interval: Annotated[list[Real | None], Field(min_length=2, max_length=2)] | None = None
    left: Real | None = None
    right: Real | None = None
    margin: Real | None = None
    relation: str | None = None
    n: int | None = None


class Trial(_Part):
    """A value of the grid."""

    value: Real | str
    metric: Real | None = None


class Tuning(_Part):
    """The grid, and what each arm took of it."""

    grid: dict[str, list[Trial]] | None = None
    chosen: dict[str, Real | str | None] | None = None


class RealData(_Part):
    """A run on data that is not shipped, with its metrics; or an experiment, with its claims."""

    title: str
    source: str
    command: str
    commit: str
    wall_seconds: Real
    steps: int | None = None
    metrics: dict[str, Real] | None = None
    seeds: str | None = None
    claims: list[Claim] | None = None


class Results(_Part):
    """The whole file, with real_data.json beside it."""

    experiment: str
    post: Post | None = None
    scale: str
    command: str | None = None
    created: str | None = None
    commit: str | None = None
    mixed: dict[str, list[str]] | None = None
    versions: dict[str, str | None] | None = None
    machine: dict[str, Any] | None = None
    arms: dict[str, list[str]]
    seeds: list[int] | None = None
    tuning: Tuning | None = None
    runs: list[Run]
    claims: list[Claim]
    figures: list[dict[str, Any]]
    real_data: list[RealData] | None = None


def with_numbers(results: dict[str, Any]) -> dict[str, Any]:
    """Return the file's content, its infinite numbers no longer words."""
    runs = [
        {**run, **{key: read(run[key]) for key in ("metrics", "cost", "tables") if key in run}}
        for run in results["runs"]
    ]
    tuning = results.get("tuning")
    if tuning and "grid" in tuning:
        tuning = {**tuning, "grid": read(tuning["grid"])}
    whole = {**results, "runs": runs, "claims": _claims(results["claims"]), "tuning": tuning}
    if "real_data" in results:
        whole["real_data"] = [
            {**entry, "claims": _claims(entry["claims"])} if "claims" in entry else entry
            for entry in results["real_data"]
        ]
    return whole


def _claims(claims: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: item if isinstance(item, str) else read(item) for key, item in claim.items()}
        | {key: read(claim[key]) for key in ("estimate", "left", "right") if key in claim}
        for claim in claims
    ]


def mistake(results: Any) -> str | None:
    """Return the first place where a results.json is not what suexp writes, in words, or None."""
    try:
        Results.model_validate(results)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return None
