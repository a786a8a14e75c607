"""What the optimizers share: refusals, momentum, and steps in few passes over memory."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from suexp.component import Component
from suexp.errors import UserError

# Elements of a block: with its gradient, momentum and one temporary it stays within a core's cache.
_BLOCK = 256 * 1024
_SMALL = 16 * 1024  # elements below which a pass over memory costs less than a call

PLAIN = (Tensor, torch.nn.Parameter)  # and no subclass, such as the share of a larger tensor


def check(lr: float, weight_decay: float, *betas: float) -> None:
    """Refuse settings with which no optimizer here can work.

    Raises:
        ValueError: lr not above 0, weight_decay below 0, or a beta outside [0, 1).
    """
    if not lr > 0:
        raise ValueError(f"lr={lr}: the learning rate must be above 0")
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay={weight_decay} must not be negative")
    check_decays(*betas)


def check_decays(*betas: float) -> None:
    """Refuse decays of a momentum outside [0, 1).

    Raises:
        ValueError: the first one outside.
    """
    for beta in betas:
        if not 0 <= beta < 1:
            raise ValueError(f"beta={beta}: the decay of a momentum must lie in [0, 1)")


def pair(betas: Sequence[float | int]) -> tuple[float, float]:
    """Return the decays of two momenta.

    Raises:
        ValueError: they are not two, or outside [0, 1).
    """
    if len(betas) != 2:
        raise ValueError(f"betas must be two numbers, not {list(betas)}")
    check_decays(*betas)
    return float(betas[0]), float(betas[1])


def groups(params: Iterable[Any], decay_embeddings: bool) -> list[Any]:
    """Return the parameters or groups as a list; embeddings lose their decay if so wished."""
    listed = list(params)
    if not decay_embeddings:
        for group in listed:
            if isinstance(group, dict) and group.get("kind") == "embedding":
                group.setdefault("weight_decay", 0.0)
    return listed


def scale_add_(x: Tensor, y: Tensor, a: float, b: float) -> None:
    """Let x become a x + b y; on the CPU in one pass over memory where the layout allows."""
    if a == 1:
        x.add_(y, alpha=b)
    elif x.numel() > _SMALL and is_plain(x) and x.is_contiguous() and y.is_contiguous():
        # x as a column plus the outer product of y and (1): torch's only kernel that scales both.
        x.view(-1, 1).addr_(y.view(-1), _one(y.dtype), beta=a, alpha=b)
    else:
        x.mul_(a).add_(y, alpha=b)


@functools.cache
def _one(dtype: torch.dtype) -> Tensor:
    return torch.ones(1, dtype=dtype, device="cpu")


def is_plain(x: Tensor) -> bool:
    """Tell whether x lies whole in this machine's memory."""
    return x.is_cpu and type(x) in PLAIN


def blocks(p: Tensor, *others: Tensor) -> Iterable[Sequence[Tensor]]:
    """Cut tensors of p's shape into the same rows, each piece small enough to stay in cache.

    Pieces of fewer than 32 bits are handed out as float32 copies and written back afterwards, all
    but those of the gradient, which is the first of ``others``.
    """
    tensors = (p, *others)
    pieces: Iterable[Sequence[Tensor]] = (tensors,)
    if p.numel() > _BLOCK and is_plain(p):
        count = -(-p.numel() // _BLOCK)
        rows = -(-len(p) // count)
        pieces = zip(*(t.split(rows) for t in tensors), strict=True)  # type: ignore[no-untyped-call]
    dtype = compute_dtype(p)
    return pieces if all(t.dtype is dtype for t in tensors) else _widened(pieces, dtype)


def _widened(pieces: Iterable[Sequence[Tensor]], dtype: torch.dtype) -> Iterator[Sequence[Tensor]]:
    for piece in pieces:
        wide = [t.to(dtype) for t in piece]
        yield wide
        for i, (narrow, value) in enumerate(zip(piece, wide, strict=True)):
            if i != 1 and narrow is not value:
                narrow.copy_(value)


@functools.cache
def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def compute_dtype(p: Tensor) -> torch.dtype:
    """Return the type to compute in: the parameter's, at least float32."""
    return _at_least_float32(p.dtype)


@contextmanager
def wide(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Give tensors in at least float32; narrower ones are written back, rounded once."""
    computed = [t.to(compute_dtype(t)) for t in tensors]
    yield computed
    for kept, value in zip(tensors, computed, strict=True):
        if kept is not value:
            kept.copy_(value)


def evaluated(closure: Callable[[], Any] | None) -> Any:
    """Return the loss that a step's closure computes anew, with gradients on; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


class Buffered(torch.optim.Optimizer, Component):
    """An optimizer with state of its own, whose tensors keep the type that they were saved in.

    Attributes:
        takes: what of the parameters it reads, in the words of a refusal.
    """

    takes: ClassVar[str] = "real numbers"

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take a group.

        Raises:
            ValueError: a complex parameter.
        """
        super().add_param_group(param_group)
        if any(p.is_complex() for p in self.param_groups[-1]["params"]):
            self.param_groups.pop()
            raise ValueError(
                f"{type(self).__name__} takes {self.takes}: view a complex parameter by "
                "torch.view_as_real"
            )

    def of(self, name: str, params: Sequence[Tensor]) -> list[Tensor]:
        """Return one of the state's tensors for each of the parameters."""
        return [self.state[p][name] for p in params]

    def gradient(self, p: Tensor) -> Tensor:
        """Return the gradient of a parameter that has one.

        Raises:
            UserError: it is sparse.
        """
        g = p.grad
        assert g is not None
        if g.layout is not torch.strided:
            raise UserError(
                f"{type(self).__name__} needs dense gradients: set sparse=false in the embedding"
            )
        return g

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state.

        Raises:
            ValueError: the state is another optimizer's, or of other parameters.
        """
        for group in state_dict["param_groups"]:
            if missing := self.defaults.keys() - group.keys():
                raise ValueError(
                    f"not the state of {type(self).__name__}: it lacks {', '.join(sorted(missing))}"
                )
        super().load_state_dict(state_dict)
        # torch casts state to the parameter's type, which would round a float32 momentum of a
        # bfloat16 parameter and widen a bfloat16 momentum of a float32 one.
        saved = [i for group in state_dict["param_groups"] for i in group["params"]]
        ours = [p for group in self.param_groups for p in group["params"]]
        for i, p in zip(saved, ours, strict=True):
            for name, value in state_dict["state"].get(i, {}).items():
                if isinstance(value, Tensor):
                    self.state[p][name] = value.to(p.device, copy=True)


class MomentumOptimizer(Buffered):
    r"""An optimizer whose only state tensor is a momentum $m$ of the parameter's shape.

    $m_0 = 0$ is made at the first gradient, in the group's ``momentum_dtype``: the name of a
    floating-point type, or None for the parameter's own, at least float32.
    """

    takes: ClassVar[str] = "the sign of real numbers"

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take a group after a look at its settings.

        Raises:
            ValueError: a setting outside its range, a complex parameter, an unknown type.
        """
        settings = {**self.defaults, **param_group}
        betas = settings["betas"] if "betas" in settings else [settings["beta"]]
        check(settings["lr"], settings["weight_decay"], *betas)
        _momentum_dtype(settings["momentum_dtype"])
        super().add_param_group(param_group)

    def momentum(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        """Return the momentum of a parameter, zeros at first."""
        state = self.state[p]
        if "momentum" not in state:
            dtype = _momentum_dtype(group["momentum_dtype"]) or compute_dtype(p)
            state["momentum"] = torch.zeros_like(p, dtype=dtype)
        return state["momentum"]


def _momentum_dtype(name: str | None) -> torch.dtype | None:
    if name is None:
        return None
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(
            f"momentum_dtype={name!r} is no floating-point type; use bfloat16, float32 or null"
        )
    return dtype
