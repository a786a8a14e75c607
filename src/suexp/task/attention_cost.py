"""What an attention costs in time and memory as the text grows (https://kexue.fm/archives/7921)."""

import functools
import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Generator, Tensor

from suexp.attention.base import Attention
from suexp.errors import at_least
from suexp.mask.base import Mask
from suexp.task._clock import shortest_seconds
from suexp.task._peak import peak_bytes
from suexp.task.estimation import EstimationTask


class AttentionCost(EstimationTask):
    r"""Seconds and bytes of one attention on (1, num_heads, n, head_dim) for a row of lengths n.

    A batch of the counter is one round over all lengths; the shortest time of all rounds counts,
    since on a shared machine noise only ever adds. Short calls are repeated within a round until
    10 ms have gone by. On a CPU it is the processor's time, of all threads together, which does not
    run on while other processes have their turn; with one thread on an idle machine it is the
    clock's. Bytes are the allocator's peak beyond queries, keys and values. Both are taken without
    gradients, and again with a backward pass if ``backward``.

    Metrics: ``seconds_n{n}`` and ``bytes_n{n}``; ``time_slope`` and ``memory_slope``, the exponents
    $p$ of $n^p$ by least squares on logarithms over the lengths from ``slope_from`` on; the same
    with ``backward_`` in front.

    Post: https://kexue.fm/archives/7921. Paper: Choromanski et al., Rethinking Attention with
    Performers, https://arxiv.org/abs/2009.14794.

    Args:
        attention: what is measured.
        mask: what queries may look at; a form that the attention can use fast.
        num_heads: heads.
        head_dim: size of a head.
        lengths: the lengths n.
        slope_from: the shortest length that counts for the slopes.
        backward: also measure forward and backward together.
        seed: of queries, keys and values.

    Raises:
        ValueError: a size that is not positive, or fewer than two lengths for the slopes.
    """

    # The model is there for its sizes only, and is never built: what it would read is no matter.
    provides: ClassVar[set[str]] = {"text"}
    needs: ClassVar[dict[str, str]] = {
        "counter": "it makes its own queries and keys and only counts rounds; use data=counter",
        "attention": "that is what it measures; use attention=softmax",
        "mask": "use mask=causal or mask=bidirectional",
        "model=transformer": "its dim and num_heads are the sizes that are measured",
    }
    refuses: ClassVar[dict[str, str]] = {
        "score_bias": "it measures an attention without positions; use position=none",
        "transform": "nothing is trained, it has no weights to transform; leave that choice out",
    }

    def __init__(
        self,
        attention: Attention,
        mask: Mask,
        num_heads: int = 4,
        head_dim: int = 64,
        lengths: Sequence[int] = (256, 512, 1024, 2048, 4096),
        slope_from: int = 1024,
        backward: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        at_least(1, lengths=lengths, num_heads=num_heads, head_dim=head_dim)
        if len({n for n in lengths if n >= slope_from}) < 2:
            raise ValueError(
                f"the slopes need two lengths from slope_from={slope_from} on, got {list(lengths)}"
            )
        self.attention, self.mask = attention, mask
        self.num_heads, self.head_dim, self.backward_too = num_heads, head_dim, backward
        self.lengths, self.slope_from = sorted(set(lengths)), slope_from
        self.passes = ("", "backward_") if backward else ("",)
        for name in self.passes:
            self.add_total(f"{name}seconds", len(self.lengths), join="min")
            self.add_total(f"{name}bytes", len(self.lengths), join="max")

    @torch.inference_mode(False)  # which Trainer.test is in, and where nothing has a gradient
    def draw(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """Time every length once; how many rows the batch has plays no part."""
        del count
        out = {name: torch.zeros_like(self.totals[name]) for name in self.totals if name != "draws"}
        for column, n in enumerate(self.lengths):
            shape = (3, 1, self.num_heads, n, self.head_dim)
            inputs = torch.randn(shape, device=self.device, generator=generator).unbind()
            for name in self.passes:
                call = functools.partial(self._backward if name else self._forward, *inputs)
                out[f"{name}bytes"][column] = -math.inf
                if self.batches_done == 0:  # allocations do not vary from round to round
                    out[f"{name}bytes"][column] = peak_bytes(call, self.device)
                out[f"{name}seconds"][column] = shortest_seconds(call, self.device)
        return out

    @torch.no_grad()
    def _forward(self, q: Tensor, k: Tensor, v: Tensor) -> None:
        self.attention(q, k, v, self.mask)

    @torch.enable_grad()
    def _backward(self, *inputs: Tensor) -> None:
        inputs = q, k, v = tuple(x.detach().requires_grad_() for x in inputs)
        out = self.attention(q, k, v, self.mask)
        torch.autograd.grad(out, inputs, torch.ones_like(out))

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return times, bytes and their slopes; record a row for each length."""
        metrics = {}
        for name in self.passes:
            seconds, size = totals[f"{name}seconds"].tolist(), totals[f"{name}bytes"].tolist()
            for n, s, b in zip(self.lengths, seconds, size, strict=True):
                metrics[f"{name}seconds_n{n}"], metrics[f"{name}bytes_n{n}"] = s, b
                which = "forward and backward" if name else "forward"
                self.record_rows("cost", [{"pass": which, "n": n, "seconds": s, "bytes": b}])
            metrics[f"{name}time_slope"] = self._slope(seconds)
            metrics[f"{name}memory_slope"] = self._slope(size)
        return metrics

    def _slope(self, values: list[float]) -> float:
        points = [
            (math.log(n), math.log(value))
            for n, value in zip(self.lengths, values, strict=True)
            if n >= self.slope_from
        ]
        x = sum(a for a, _ in points) / len(points)
        return sum((a - x) * b for a, b in points) / sum((a - x) ** 2 for a, _ in points)
