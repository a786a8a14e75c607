"""``suexp check --contract OVERRIDES``: the options held to what every option of a group keeps."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from suexp.cli.terminal import counted, show_rows, show_text
from suexp.code.bases import bases, components, foreign
from suexp.config.compose import Resolved
from suexp.contract.own import label, subject
from suexp.errors import UserError
from suexp.origins import alone

if TYPE_CHECKING:
    from suexp.contract.subject import Subject


def hold(runs: Sequence[Resolved], overrides: Sequence[str]) -> int:
    """Print each check of each option's contract; return 1 if one is not passed.

    Args:
        runs: resolved.
        overrides: which name the options.

    Raises:
        UserError: they name no option of a group that has a contract.
    """
    named = [item.lstrip("+").partition("=")[0] for item in overrides]
    subjects = {repr(item.node): item for run in runs for item in _subjects(run, named)}
    if not subjects:
        raise UserError(
            f"check --contract: names no option of {', '.join(bases())}; "
            "for example suexp check --contract attention=softmax"
        )
    from suexp.contract.check import outcomes

    broken = 0
    for held in subjects.values():
        found = [(str(check), why) for check, why in outcomes(held)]
        broken += sum(why is not None for _, why in found)
        show_text(f"{held.label} ({held.node['_target_']})", "bold")
        show_rows(("", ""), [(check, why or "passed") for check, why in found])
    kept = "All that is asked is kept." if not broken else f"{counted(broken, 'check')} not passed."
    show_text(kept, "dim")
    return int(broken > 0)


def _subjects(run: Resolved, named: Sequence[str]) -> Iterator["Subject"]:
    for key, group, node in components(alone(run.config)):
        if foreign(node["_target_"]) or group in named:
            yield subject(label(key, group, run.choices), group, node, run.config)
