"""A norm whose epsilon a transform may change, and which remembers it."""

from typing import Any

import torch
from torch import nn


class ScalableEps(nn.Module):
    r"""$\epsilon = \epsilon_0 f$: $\epsilon_0$ is the constructor's, f is part of the state.

    A norm of $x / \sqrt k$ equals that of x only with $\epsilon / k$
    (https://kexue.fm/archives/8444), so a network that was enlarged needs its own. The state holds
    ``eps_factor`` where it is not 1; a state without it means 1.
    """

    eps: Any
    eps_factor: float = 1.0

    def scale_eps(self, factor: float) -> None:
        r"""Set f; the norm computes with $\epsilon_0 f$ from now on."""
        given = getattr(self, "_given_eps", self.eps)
        self._given_eps, self.eps_factor, self.eps = given, factor, given * factor

    @property
    def given_eps(self) -> float:
        r"""Return $\epsilon_0$."""
        return getattr(self, "_given_eps", self.eps)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.eps_factor != 1:
            destination[f"{prefix}eps_factor"] = torch.tensor(self.eps_factor, dtype=torch.float64)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        name = f"{prefix}eps_factor"
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        self.scale_eps(float(state_dict.get(name, 1.0)))
        if name in unexpected_keys:
            unexpected_keys.remove(name)
