"""An idea of one's own as one more arm of an experiment.

``experiment=attention_matrix add=mine like=softmax attention=cosine``: what is set beside it is the
new arm's own, over the settings of the arm that it is like; the others stay as they are.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suexp.config.catalogue import ARM_KEYS, EXPERIMENT_KEYS
from suexp.config.overrides import key_of
from suexp.errors import UserError
from suexp.folders import experiments_dir
from suexp.near import near
from suexp.store.identity import volatile


@dataclass(frozen=True)
class Added:
    """The arm that is added.

    Attributes:
        arm: its name.
        like: the arm whose settings it starts from; None: the first.
        own: the overrides that make it another.
    """

    arm: str
    like: str | None
    own: tuple[str, ...]

    @classmethod
    def of(cls, overrides: Sequence[str]) -> "Added | None":
        """Return the arm that a command line adds, if it does.

        Raises:
            UserError: ``like`` without ``add``, a name that is none, or an arm with nothing new.
        """
        said = {key_of(item): item.partition("=")[2] for item in overrides}
        arm, like = said.get("add", "null"), said.get("like", "null")
        if arm == "null":
            if like != "null":
                raise UserError(f"like={like}: name the arm that is added, add=NAME")
            return None
        if not arm.isidentifier():
            raise UserError(f"add={arm}: an arm's name is letters, digits and _")
        own = tuple(item for item in overrides if _makes_another(key_of(item)))
        if not own:
            raise UserError(f"add={arm}: say what is new in it, for example attention=mine")
        return cls(arm, None if like == "null" else like, own)

    @property
    def folder_name(self) -> str:
        """Its name, and a hash of what it is."""
        text = json.dumps([self.like, sorted(self.own)])
        return f"add={self.arm}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def into(self, header: Mapping[str, Any]) -> dict[str, Any]:
        """Return an experiment's header with this arm, tuned as the arm that it is like.

        Raises:
            UserError: the experiment has an arm of this name, or none to be like.
        """
        arms = header["arms"]
        if self.arm in arms:
            raise UserError(f"add={self.arm}: experiment={header['slug']} has such an arm already")
        like = self.like or next(iter(arms))
        if like not in arms:
            raise UserError(
                f"like={like}: experiment={header['slug']} has no such arm{near(like, list(arms))}"
            )
        anew = {key_of(item) for item in self.own}
        kept = [item for item in arms[like] if not _replaced(key_of(item), anew)]
        changed = {**header, "arms": {**arms, self.arm: [*kept, *self.own]}}
        tune = header.get("tune")
        if tune and like in tune["grid"] and tune["parameter"] not in anew:
            both = {
                name: {**tune[name], self.arm: tune[name][like]}
                for name in ("grid", "points")
                if like in (tune.get(name) or {})
            }
            apart = [*tune["apart"], self.arm] if like in tune["apart"] else tune["apart"]
            changed["tune"] = {**tune, **both, "apart": apart}
        return changed


def recorded(slug: str) -> dict[str, dict[str, Any]]:
    """Return id -> entry of the runs that are recorded with the package."""
    path = experiments_dir() / slug / "results.json"
    try:
        runs = json.loads(path.read_bytes())["runs"]
        return {run["id"]: run for run in runs if run["status"] == "finished"}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _makes_another(key: str) -> bool:
    return key not in ("experiment", "seed", *EXPERIMENT_KEYS, *ARM_KEYS) and not volatile(key)


def _replaced(key: str, anew: set[str]) -> bool:
    """Tell whether a setting goes with an option that is chosen anew."""
    return bool({key, key.split(".")[0]} & anew)
