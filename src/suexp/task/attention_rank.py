"""How well heads of a given size can attend: the low-rank bottleneck, measured by fitting."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from suexp.errors import at_least, between, some
from suexp.task.estimation import EstimationTask

TARGETS = ("dirichlet", "gaussian", "permutation")
_TINY = 1e-30  # below it a target's entry counts as 0


class AttentionRank(EstimationTask):
    r"""Fit $\sum_a w_a \mathrm{softmax}(Q_a K_a^\top / \sqrt k)$ to a random stochastic matrix P.

    One head has scores of rank k at most; a mixture of h heads has more to choose from. Q, K
    (h, n, k) and the weights w are trained by Adam, whose rate falls linearly to 0, on
    $\mathrm{KL} = \frac1n \sum_{ij} P_{ij} \log(P_{ij} / A_{ij})$, in nats a row. Targets: rows of
    a Dirichlet distribution with parameter 0.1; softmax of 2 N(0, 1); a permutation.

    Logged: ``test/kl_TARGET_kK`` for one head of size K, ``test/kl_TARGET_mixH`` for H heads of
    size mixture_key_dim. The table ``fit`` has one row for each, with ``rank`` = H k.

    References: Bhojanapalli et al., Low-Rank Bottleneck in Multi-head Attention Models,
    arXiv:2002.07028; https://kexue.fm/archives/7325.

    Args:
        length: n.
        key_dims: the sizes k of single heads.
        mixtures: the numbers h of heads.
        mixture_key_dim: their size.
        targets: kinds of P.
        steps: of Adam.
        lr: its learning rate at the start.
        seed: of the draws.

    Raises:
        ValueError: a size below 1, an unknown target.
    """

    def __init__(
        self,
        length: int = 64,
        key_dims: Sequence[int] = (2, 4, 8, 16, 32, 64),
        mixtures: Sequence[int] = (2, 4, 8),
        mixture_key_dim: int = 4,
        targets: Sequence[str] = TARGETS,
        steps: int = 400,
        lr: float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        at_least(1, length=length, mixture_key_dim=mixture_key_dim, steps=steps)
        some(key_dims=key_dims, targets=targets)
        at_least(1, key_dims=key_dims, mixtures=mixtures)
        between("(0, inf)", lr=lr)
        for target in targets:
            if target not in TARGETS:
                raise ValueError(f"targets are {', '.join(TARGETS)}, not {target!r}")
        self.length, self.targets = length, list(targets)
        self.steps, self.lr = steps, lr
        one = {f"k{k}": (1, k) for k in key_dims}
        self.shapes = one | {f"mix{h}": (h, mixture_key_dim) for h in mixtures}
        for name in self.shapes:
            self.add_total(name, len(self.targets))

    def draw(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """Return the sums of the divergences that ``count`` targets of each kind are left with."""
        made = [_target(kind, count, self.length, generator) for kind in self.targets]
        target = torch.stack(made).to(self.real)
        with torch.inference_mode(False), torch.enable_grad():
            target = target.clone()  # no inference tensor may be saved for the backward pass
            return {
                name: fit(target, *shape, self.steps, self.lr, generator).sum(1)
                for name, shape in self.shapes.items()
            }

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return the mean divergences; record them."""
        metrics, rows = {}, []
        for name, (heads, size) in self.shapes.items():
            for target, total in zip(self.targets, totals[name].tolist(), strict=True):
                kl = total / int(totals["draws"])
                metrics[f"kl_{target}_{name}"] = kl
                row: dict[str, Any] = {"target": target, "heads": heads, "key_dim": size}
                rows.append(row | {"rank": heads * size, "kl": kl})
        self.record_rows("fit", rows)
        return metrics


def fit(
    target: Float[Tensor, "t c n n"],
    heads: int,
    key_dim: int,
    steps: int,
    lr: float,
    generator: Generator,
) -> Float[Tensor, "t c"]:
    """Return the divergence of each target from its fit, in nats a row."""
    shape = (*target.shape[:2], heads, target.shape[-1], key_dim)
    like: dict[str, Any] = {"dtype": target.dtype, "device": target.device}
    q, k = (torch.randn(shape, generator=generator, **like).requires_grad_() for _ in range(2))
    share = torch.zeros(*shape[:3], 1, 1, **like).requires_grad_()
    optimizer = torch.optim.Adam([q, k, share], lr=lr)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    entropy = -torch.special.entr(target).sum((-1, -2))

    def divergence() -> Tensor:
        scores = q @ k.mT * key_dim**-0.5
        log = (scores.log_softmax(-1) + share.log_softmax(2)).logsumexp(2)
        return (entropy - (target * log).sum((-1, -2))) / target.shape[-1]

    for _ in range(steps):
        optimizer.zero_grad()
        divergence().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        decay.step()
    with torch.no_grad():
        return divergence()


def _target(kind: str, count: int, n: int, generator: Generator) -> Float[Tensor, "c n n"]:
    """Draw stochastic matrices."""
    device = generator.device
    like: dict[str, Any] = {"dtype": torch.float32, "device": device}
    shape = (count, n, n)
    if kind == "gaussian":
        return (2 * torch.randn(shape, generator=generator, **like)).softmax(-1)
    if kind == "permutation":
        places = torch.rand(count, n, generator=generator, **like).argsort(-1)
        return torch.nn.functional.one_hot(places, n).float()
    # torch's sampler takes no generator: it gets a stream of its own.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator, device=device)))
        rows = torch.distributions.Dirichlet(torch.full((n,), 0.1, **like)).sample(shape[:2])
    return rows.where(rows > _TINY, 0.0)
