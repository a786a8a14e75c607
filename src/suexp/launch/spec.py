"""From overrides to a run that can be made."""

from collections.abc import Sequence

from suexp.config.compose import resolve
from suexp.contract.own import uphold
from suexp.store.spec import RunSpec


def spec_of(overrides: Sequence[str], config_dir: str | None = None) -> RunSpec:
    """Return the run of a list of overrides: resolved, checked and hashed once.

    Args:
        overrides: as on the command line.
        config_dir: a folder with options of your own, laid out like conf/.

    Raises:
        UserError: they cannot be composed, cannot work together, or name a class of one's own
            that breaks its contract.
    """
    found = resolve(tuple(overrides), config_dir)
    uphold(found.config, found.choices)
    return RunSpec.of(found.config, found.choices)
