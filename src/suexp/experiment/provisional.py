"""What claims look like before all of their runs are there."""

from collections.abc import Mapping, Sequence
from typing import Any

from suexp.judge.claims import judge
from suexp.judge.grammar import parse
from suexp.judge.looks import Seeding
from suexp.judge.sequence import OPEN


def provisional(
    claims: Mapping[str, Mapping[str, Any]],
    runs: Sequence[dict[str, Any]],
    scale: str,
    seeding: Seeding,
    seeds_of: Mapping[str, Sequence[int]],
) -> list[dict[str, Any]]:
    """Return a record of each claim, from the runs that have ended.

    A claim whose planned runs are there, or that an earlier look has decided, has its verdict; any
    other is judged on the seeds of which all arms are there, as if no more were planned, and its
    record says ``provisional``: whoever stops there because he likes it errs more often.

    Args:
        claims: those of the experiment.
        runs: those that have ended, in the form of results.json.
        scale: smoke, laptop or paper.
        seeding: when one looks.
        seeds_of: the seeds that each arm is to have.
    """
    there = {(run["arm"], run["seed"]) for run in runs}
    records = judge(claims, runs, scale, seeding)
    for place, record in enumerate(records):
        name = str(record["id"])
        arms = parse(str(record["test"])).arms
        if any(arm not in seeds_of for arm in arms):
            continue  # another scale's
        planned = [set(seeds_of[arm]) for arm in arms]
        seeds = sorted(s for s in set.intersection(*planned) if all((a, s) in there for a in arms))
        if all((arm, seed) in there for arm in arms for seed in seeds_of[arm]):
            continue
        if record["verdict"] == "undecided":  # this scale decides nothing
            continue
        each = record.get("judged") in ("exact", "every")
        if not seeds:
            reason = "no seed has all of its runs yet"
            records[place] = record | {"verdict": "undecided", "reason": reason}
        elif each:  # one counterexample refutes for good
            if record["verdict"] != "not reproduced":
                record["provisional"] = True
        elif record["verdict"] in (OPEN, "not evaluated") and len(seeds) > record["n"]:
            known = [run for run in runs if run["seed"] in seeds]
            again = judge({name: claims[name]}, known, scale, Seeding(tuple(seeds)))[0]
            records[place] = again | {"provisional": True}
    return records
