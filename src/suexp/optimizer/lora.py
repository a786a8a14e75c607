"""Low-rank adaptation in the optimizer: the network knows nothing of it."""

import functools
import re
import zlib
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from suexp.component import Component
from suexp.errors import UserError, one_of
from suexp.nn.low_rank import Law, LowRank, Start, Variant, check_low_rank
from suexp.optimizer.adamw import AdamW
from suexp.optimizer.base import check, compute_dtype, evaluated
from suexp.optimizer.sgd import SGD

Projection = Literal["learned", "fresh"]


class LoRA(torch.optim.Optimizer, Component):
    r"""$(D', U') = \mathrm{base}(s U^\top G, s G D^\top)$, then $W \leftarrow W + s (U'D' - UD)$.

    G is the gradient of the whole matrix W (m, n); both factors step on gradients at the old ones.
    For any base it is the algorithm of `suexp.method.lora`, on a network that is left as it is.
    Decay and moments act on the factors, D (r, n) and U (m, r), never on W. G itself is computed:
    this saves optimizer state, neither gradients nor time. Gradients must not be clipped on their
    way here, for G's norm is not the factors'.

    ``projection=fresh`` draws new u (n, r), v (r, m) of N(0, 1) at each step and gives base

        $\frac1{2r} (v^\top v\,G + G\,u u^\top)$

    in the place of W's gradient, whose mean it is: full rank in the long run.

    Post: https://kexue.fm/archives/9590. Paper: Hu et al., LoRA, arXiv:2106.09685.

    Args:
        params: parameters, or groups as `suexp.nn.param_groups.param_groups` makes them; matrices
            (kind ``matrix``, or any of two axes where groups have no kind) get factors.
        lr: base's learning rate; factors need a larger one than W.
        base: makes an optimizer of the factors: a node with ``_target_`` and ``_partial_``; None:
            AdamW without decay, or with fresh projections SGD without momentum.
        rank: r.
        alpha: s = alpha / rank; None: s = 1.
        targets: regular expression; the matrices whose names it matches from their start; of a list
            without names all.
        init: which factor is 0 at the start, as in `suexp.method.lora`.
        init_law: of D's start.
        variant: ``product`` or ``additive``.
        projection: ``learned`` factors, or ``fresh`` ones.
        materialise: ``incremental`` adds differences to W; ``from_base`` keeps $W_0 - s U_0 D_0$
            and computes W anew at each step: no small difference is lost where W has few bits.
        rest: ``freeze`` or ``full``: what becomes of the other parameters.
        allow_stationary: let both factors be 0, which then never move.
        allow_momentum: let base remember gradients, though each is of another subspace.
        seed: of the draws.

    Raises:
        ValueError: a value out of range, a rank that does not fit, no matrix that matches.

    Example:
        >>> import torch
        >>> from suexp.optimizer.lora import LoRA
        >>> w = torch.nn.Parameter(torch.zeros(4, 4))
        >>> w.grad = torch.eye(4)
        >>> LoRA([w], lr=0.1, rank=1).step()
        >>> int(torch.linalg.matrix_rank(w.data))
        1
    """

    named: ClassVar[bool] = True  # it is given names with the parameters
    refuses: ClassVar[dict[str, str]] = {
        "trainer=fsdp": "a sharded matrix has no whole gradient to project; use trainer=ddp",
    }
    refuses_trainer: ClassVar[dict[str, str]] = {
        "gradient_clip_val": "it would see the gradient of the whole matrices, not of the factors",
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | int = 1e-2,
        base: "functools.partial[torch.optim.Optimizer] | None" = None,
        rank: int = 8,
        alpha: float | int | None = None,
        targets: str = "",
        init: Start = "b_zero",
        init_law: Law = "gaussian",
        variant: Variant = "product",
        projection: Projection = "learned",
        materialise: Literal["incremental", "from_base"] = "incremental",
        rest: Literal["freeze", "full"] = "freeze",
        allow_stationary: bool = False,
        allow_momentum: bool = False,
        seed: int = 0,
    ) -> None:
        check(lr, 0.0)
        fresh = projection == "fresh"
        check_low_rank(rank, init, init_law, variant, allow_stationary or fresh)
        one_of(get_args(Projection), projection=projection)
        one_of(("incremental", "from_base"), materialise=materialise)
        one_of(("freeze", "full"), rest=rest)
        self.rank, self.seed, self.fresh = rank, seed, fresh
        self.names: dict[Tensor, str] = {}
        self.factors: dict[Tensor, LowRank] = {}
        self.bases: dict[Tensor, Tensor] = {}
        self._frozen: list[Tensor] = []
        outer: list[dict[str, Any]] = []
        inner: list[dict[str, Any]] = []
        for group in _groups(params):
            pairs = group.pop("params")
            matrix = group.get("kind", "matrix") == "matrix"
            chosen = [
                (n, p)
                for n, p in pairs
                if matrix and p.ndim == 2 and p.numel() and re.match(targets, n)
            ]
            for name, p in chosen:
                name = name.removesuffix(".weight")
                self.names[p] = name
                if not fresh:
                    made = LowRank(p, rank, alpha, init, init_law, variant, seed, name)
                    self.factors[p] = made
                    if materialise == "from_base":
                        self.bases[p] = (p.detach() - made.delta().detach()).to(made.up.dtype)
            weights = [p for _, p in chosen]
            others = [p for _, p in pairs if p not in self.names]
            learned = (
                weights if fresh else [f for p in weights for f in self.factors[p].parameters()]
            )
            split = [(weights, learned)] + ([(others, others)] if rest == "full" else [])
            for mine, theirs in split:
                if mine:
                    outer.append({**group, "params": mine})
                    inner.append({**group, "params": theirs})
            if rest == "freeze":
                self._frozen += others
        if not self.names:
            raise ValueError(f"optimizer.targets={targets!r} matches no matrix; use '' for all")
        super().__init__(outer, {"lr": lr, "steps": 0})
        self.inner = _base(base, fresh)(inner, lr=lr)
        kind = self.inner
        plain = isinstance(kind, torch.optim.SGD) and not kind.defaults["momentum"]
        if fresh and not plain and not allow_momentum:
            raise ValueError(
                f"projection=fresh with {type(kind).__name__}: it remembers gradients of subspaces "
                "that are gone; use suexp.optimizer.sgd.SGD with momentum 0, or allow_momentum=true"
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Let the factors step, and the matrices follow them."""
        loss = evaluated(closure)
        before: dict[Tensor, Tensor] = {}
        for group, theirs in zip(self.param_groups, self.inner.param_groups, strict=True):
            theirs["lr"] = group["lr"]
            for p in (p for p in group["params"] if p in self.names):
                if p.grad is not None and p.grad.layout is not torch.strided:
                    raise UserError("optimizer=lora needs dense gradients")
                if self.fresh:
                    if p.grad is not None:
                        p.grad = self._fresh(p, p.grad, group["steps"])
                    continue
                factors = self.factors[p]
                factors.zero_grad()
                if p.grad is not None:
                    factors.project(p.grad)
                    before[p] = factors.delta()
            group["steps"] += 1
        self.inner.step()
        for p, old in before.items():
            new = self.factors[p].delta()
            if p in self.bases:
                p.copy_(self.bases[p] + new)
            else:
                p.add_(new - old)
        return loss

    def _fresh(self, p: Tensor, gradient: Tensor, step: int) -> Tensor:
        """Return the gradient, projected on subspaces of this step."""
        word = f"{self.seed}/{self.names[p]}/{step}"
        generator = torch.Generator().manual_seed(zlib.crc32(word.encode()))
        m, n = p.shape
        wide = compute_dtype(p)
        v = torch.randn(self.rank, m, generator=generator).to(p.device, wide)
        u = torch.randn(n, self.rank, generator=generator).to(p.device, wide)
        g = gradient.to(wide)
        projected = v.T @ (v @ g) + (g @ u) @ u.T
        return (projected / (2 * self.rank)).to(p.dtype)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, those of frozen parameters, too."""
        super().zero_grad(set_to_none)
        for p in self._frozen:
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the factors and the base's state beside torch's own entries."""
        return {
            **super().state_dict(),
            "inner": self.inner.state_dict(),
            "factors": {self.names[p]: made.state_dict() for p, made in self.factors.items()},
            "bases": {self.names[p]: base for p, base in self.bases.items()},
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it.

        Raises:
            ValueError: the state is another optimizer's, or of other matrices.
        """
        if missing := {"inner", "factors", "bases"} - state_dict.keys():
            raise ValueError(f"not the state of LoRA: it lacks {', '.join(sorted(missing))}")
        if state_dict["factors"].keys() != {self.names[p] for p in self.factors}:
            raise ValueError("the state has factors of other matrices")
        super().load_state_dict(state_dict)
        self.inner.load_state_dict(state_dict["inner"])
        for p, made in self.factors.items():
            made.load_state_dict(state_dict["factors"][self.names[p]])
        for p, base in self.bases.items():
            base.copy_(state_dict["bases"][self.names[p]])


def _groups(params: Iterable[Any]) -> list[dict[str, Any]]:
    """Return groups whose parameters are pairs of a name and a tensor."""
    listed = list(params)
    if not listed or not isinstance(listed[0], dict):
        listed = [{"params": listed}]
    found = []
    for group in listed:
        entries = group["params"]
        entries = [entries] if isinstance(entries, Tensor) else list(entries)
        pairs = [e if isinstance(e, tuple) else (str(i), e) for i, e in enumerate(entries)]
        found.append({**group, "params": pairs})
    return found


def _base(
    base: "functools.partial[torch.optim.Optimizer] | None", fresh: bool
) -> Callable[..., torch.optim.Optimizer]:
    if base is not None:
        return base
    return (
        functools.partial(SGD, momentum=0.0)
        if fresh
        else functools.partial(AdamW, weight_decay=0.0)
    )
