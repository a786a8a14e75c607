"""What came of a post's claims, in words made from their verdicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suexp.judge.claims import BAD, GOOD, WAITING
from suexp.report.verdicts import Judged, needs

TOLD = 3  # failed claims that are told in full


@dataclass(frozen=True)
class Doubt:
    """A badge at the post's sentence: why it cannot be taken as it stands.

    Attributes:
        verdict: one of the judge's words.
        label: how many claims have it.
        claims: which.
    """

    verdict: str
    label: str
    claims: list[str]


@dataclass(frozen=True)
class Found:
    """The line under the post's sentence.

    Attributes:
        counts: how many claims hold, fail and are open.
        failed: of the first failed claims the sentence, the name, and the numbers or None.
        more: names of further failed claims.
        open: names of open claims.
        needs: what would decide them, or None.
    """

    counts: str
    failed: list[tuple[str, str, str | None]]
    more: list[str]
    open: list[str]
    needs: str | None


def found(claims: Sequence[Judged], records: Sequence[Mapping[str, Any]]) -> Found | None:
    """Return what the verdicts say together; None where there is no claim.

    Args:
        claims: the claims in words.
        records: the same as results.json has them.
    """
    if not claims:
        return None
    hold = [claim for claim in claims if claim.verdict in GOOD]
    failed = [claim for claim in claims if claim.verdict in BAD]
    waiting = [claim for claim in claims if claim.verdict in WAITING]
    several = "s" if len(claims) != 1 else ""
    counts = f"{len(hold)} of {len(claims)} claim{several} hold{'s' * (len(hold) == 1)}"
    exact = sum(claim.verdict == "verified" for claim in hold)
    if exact:
        counts += f" ({exact} of them by identity)" if exact < len(hold) else " (by identity)"
    if failed:
        counts += f", {len(failed)} fail{'s' * (len(failed) == 1)}"
    if waiting:
        counts += f", {len(waiting)} {'is' if len(waiting) == 1 else 'are'} open"
    told = [(_sentence(claim), claim.id, _numbers(claim)) for claim in failed[:TOLD]]
    more = [claim.id for claim in failed[TOLD:]]
    return Found(counts, told, more, [claim.id for claim in waiting], _needed(records))


def doubts(claims: Sequence[Judged]) -> list[Doubt]:
    """Return a badge for each verdict that speaks against the sentence, or leaves it open."""
    said = {
        "not reproduced": "not reproduced",
        "no difference that matters": "without a difference that matters",
        "inconclusive": "open",
        "not evaluated": "not evaluated",
        "undecided": "undecided at this scale",
    }
    badges = []
    for verdict, words in said.items():
        ids = [claim.id for claim in claims if claim.verdict == verdict]
        if ids:
            badges.append(Doubt(verdict, f"{len(ids)} of {len(claims)} {words}", ids))
    return badges


def _sentence(claim: Judged) -> str:
    return claim.text.strip().rstrip(".")


def _numbers(claim: Judged) -> str | None:
    if not claim.estimate:
        return claim.reason
    return f"{claim.estimate}, allowed {claim.allowed}" if claim.allowed else claim.estimate


def _needed(records: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what all open claims together need: the seeds of the hardest, the time of all."""
    asked = [record["needs"] for record in records if record.get("needs")]
    if not asked:
        return None
    together = {
        "seeds": max(need["seeds"] for need in asked),
        "seconds": math.fsum(need["seconds"] for need in asked),
    }
    return needs(together)
