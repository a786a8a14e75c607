"""Torch's one-kernel steps, where they are right."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from suexp.component import Component
from suexp.optimizer.base import PLAIN


class OneKernel(torch.optim.Optimizer, Component):
    """One of torch's optimizers; each group steps in one kernel where that is right.

    ``fused`` None chooses. What a checkpoint says of it was true of another device, maybe.

    Attributes:
        torch_class: the class whose kernel it is.
    """

    torch_class: ClassVar[type[Any]]

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        # The scaler unscales, not the kernel: else Lightning refuses to clip in mixed precision.
        self._step_supports_amp_scaling = False

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take a group and choose its form.

        Raises:
            ValueError: fused=true where the kernel would leave the parameters wrong.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        kind = self.torch_class
        wrong = {p.dtype for p in group["params"] if not _is_right(kind, p)}
        if group["fused"] is None:
            group["fused"] = not wrong and all(_is_plain(p) for p in group["params"])
        elif group["fused"] and wrong:
            self.param_groups.pop()
            raise ValueError(
                f"fused=true: torch's {kind.__name__} in one kernel misreads these parameters "
                f"({', '.join(map(str, wrong))}); set fused=null"
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, but not how its steps were computed."""
        groups = [dict(group) for group in state_dict["param_groups"]]
        for saved, own in zip(groups, self.param_groups, strict=False):
            saved["fused"] = own["fused"]
        super().load_state_dict({**state_dict, "param_groups": groups})


def _is_plain(p: Tensor) -> bool:
    return type(p) in PLAIN and p.is_floating_point() and p.device.type in ("cpu", "cuda")


def _is_right(kind: Callable[..., Any], p: Tensor) -> bool:
    if not _is_plain(p):
        return True  # torch decides
    # The kernels read a gradient as if it were laid out like p.
    return p.is_contiguous() and _moves(kind, p.dtype, p.device.type)


@functools.cache
def _moves(kind: Callable[..., Any], dtype: torch.dtype, device: str) -> bool:
    """Tell whether two fused steps of a small parameter end where two plain ones do.

    Torch 2.13's SGD on a CPU leaves half precision where it is, but for what fills no register.
    """
    ends = []
    with torch.inference_mode(False):
        for fused in (False, True):
            p = torch.nn.Parameter(torch.linspace(-1, 1, 67, dtype=dtype, device=device))
            optimizer = kind([p], lr=0.25, fused=fused)
            for _ in range(2):
                p.grad = p.detach().cos()
                optimizer.step()
            ends.append(p.detach())
    return torch.allclose(ends[0], ends[1], rtol=0, atol=0.05)
