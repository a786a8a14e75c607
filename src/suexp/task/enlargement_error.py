"""How far enlarged networks are from their parents, by rule (https://kexue.fm/archives/8444)."""

import itertools
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Generator, Tensor, nn

from suexp.attention.softmax import Softmax
from suexp.errors import some
from suexp.init.default import Default
from suexp.mask.causal import Causal
from suexp.model.transformer import Transformer
from suexp.norm.layer import Layer
from suexp.norm.rms import RMS
from suexp.position.learned import Learned
from suexp.position.rope import Rope
from suexp.task.estimation import EstimationTask
from suexp.transform._widen import repeat
from suexp.transform.enlarge_width import EnlargeWidth, max_logit_difference

Activation = Literal["gelu", "gelu_tanh", "relu", "swiglu"]
ORDERS: tuple[Literal["pre", "post"], ...] = ("pre", "post")
NORMS: dict[str, type[nn.Module]] = {"layer": Layer, "rms": RMS}
LENGTH = 32  # tokens of the networks' texts
LENGTH_ROTATED = 64  # places of rotary scores
# Of rotary scores: window of repetition and repetition of frequencies;
# None: as often as the features are.
ROTATIONS = {"single features": (1, 1), "pairs": (2, 1), "pairs, same angles": (2, None)}


def without_score_factor(child: Any, k: int) -> None:
    r"""Forget $k^{1/4}$: divide queries and keys by it."""
    for block in child.blocks:
        attention = block.attention
        inner = attention.output.in_features
        for tensor in (attention.qkv.weight, attention.qkv.bias):
            tensor[: 2 * inner] *= k**-0.25


def tiled_heads(child: Any, k: int) -> None:
    """Repeat heads' features as a whole, [x, x] for [x1, x1, x2, x2]: heads get mixed."""
    for block in child.blocks:
        attention = block.attention
        inner = attention.output.in_features
        order = torch.arange(inner).view(-1, k).T.flatten()
        rows = torch.cat([order + i * inner for i in range(3)])
        for tensor in (attention.qkv.weight, attention.qkv.bias):
            tensor.copy_(tensor[rows].clone())
        attention.output.weight.copy_(attention.output.weight[:, order].clone())


def relu_rule(child: Any, k: int) -> None:
    r"""Give the activation $R(x)/\sqrt k$ and multiply after it, which suits only relu."""
    for block in child.blocks:
        layer = block.feed_forward
        layer.input.weight *= k**-0.5
        layer.input.bias *= k**-0.5
        layer.output.weight *= k**0.5


WRONG = {"no_root": without_score_factor, "tiled": tiled_heads, "relu_rule": relu_rule}
VARIANTS = {
    "right": "the rule",
    "same_epsilon": "old epsilon",
    "relu_rule": "relu's rule for gelu",
    "no_root": "no fourth root of k",
    "tiled": "tiled heads",
}


def network(dim: int, order: str, norm: str, activation: str) -> Transformer:
    """Draw a small decoder with random biases and gains; its logits have a deviation of about 1."""
    model = Transformer(
        vocab_size=96,
        attention=Softmax(),
        position=Learned(LENGTH, dim),
        norm=NORMS[norm](dim),
        mask=Causal(),
        init=Default(gain=1.5, embedding_std=dim**-0.5),
        dim=dim,
        num_layers=2,
        num_heads=4,
        ffn=activation,  # type: ignore[arg-type]
        norm_order=order,  # type: ignore[arg-type]
        bias=True,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.double().eval()


class EnlargementError(EstimationTask):
    r"""$\max |f_{wide}(x) - f(x)|$ over random networks f and texts x, in float64.

    A sample is a random network for each cell: norms before or after the branches, of two kinds,
    the activations, the factors k. Each is enlarged by transform=enlarge_width and compared with
    its parent: ``max_logit_difference`` is the largest difference over all cells and samples.
    ``difference_{order}_{variant}`` says the same of four ways to do it wrong (k = 2, layer norms,
    gelu): ``no_root``, queries and keys without $k^{1/4}$; ``tiled``, heads [x, x]; ``relu_rule``,
    relu's rule for gelu; ``same_epsilon``, norms with their old epsilon; and of ``right``.

    Rotary positions, of scores $q_i \cdot k_j$ with q and k (64, d) normal:
    ``rope_error_d{d}_{variant}`` is the relative root mean square error of scores whose features
    were repeated one by one (``single``), in pairs (``pairs``), and in pairs that turn by equal
    angles (``repeat``). Table ``rope``: the same by distance.

    Post: https://kexue.fm/archives/8444. Its predecessor: Chen et al., Net2Net,
    https://arxiv.org/abs/1511.05641.

    Args:
        dim: width of the narrow networks.
        factors: k.
        activations: of the feed-forward layers.
        head_dims: d of the rotary scores.
        pairs: draws of q and k in a sample.
        seed: of the draws.

    Raises:
        ValueError: a factor below 2, or a size that does not fit.
    """

    def __init__(
        self,
        dim: int = 32,
        factors: Sequence[int] = (2, 3, 4),
        activations: Sequence[Activation] = get_args(Activation),
        head_dims: Sequence[int] = (16, 32, 64),
        pairs: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        some(factors=factors, activations=activations, head_dims=head_dims)
        if min(factors) < 2 or dim < 4 or dim % 4:
            raise ValueError(
                f"factors must be at least 2, got {list(factors)}; dim a multiple of 4, got {dim}"
            )
        if min(head_dims) < 2 or any(d % 2 for d in head_dims) or pairs < 1:
            raise ValueError(
                f"head_dims must be even, got {list(head_dims)}; pairs at least 1, got {pairs}"
            )
        self.dim, self.pairs = dim, pairs
        self.factors, self.activations = list(factors), list(activations)
        self.head_dims = list(head_dims)
        self.cells = list(itertools.product(ORDERS, NORMS, self.activations, self.factors))
        self.add_total("cells", len(self.cells), join="max")
        self.add_total("variants", len(ORDERS), len(VARIANTS), join="max")
        rope = (len(self.head_dims), len(ROTATIONS), LENGTH_ROTATED)
        self.add_total("wrong", *rope)
        self.add_total("exact", *rope)

    def generator(self, batch_idx: int) -> Generator:
        """Return the batch's generator, on the CPU as networks are always drawn there."""
        return Generator().manual_seed(super().generator(batch_idx).initial_seed())

    @torch.no_grad()
    def draw(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """Compare ``count`` random networks of every cell with their enlarged children."""
        out = {name: torch.zeros_like(total).cpu() for name, total in self.totals.items()}
        del out["draws"]
        seeds = torch.randint(2**62, (count,), generator=generator).tolist()
        for seed in seeds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self._compare(out)
                self._rotate(out)
        return {name: total.to(self.device, self.real) for name, total in out.items()}

    def _compare(self, out: dict[str, Tensor]) -> None:
        for at, (order, norm, activation, k) in enumerate(self.cells):
            parent, child = (network(d, order, norm, activation) for d in (self.dim, k * self.dim))
            EnlargeWidth(allow_loss=True).apply(parent, child)
            difference = torch.tensor(max_logit_difference(parent, child), dtype=torch.float64)
            out["cells"][at] = torch.maximum(out["cells"][at], difference)
        for row, order in enumerate(ORDERS):
            parent = network(self.dim, order, "layer", "gelu")
            for column, variant in enumerate(VARIANTS):
                child = network(2 * self.dim, order, "layer", "gelu")
                rescale = variant != "same_epsilon"
                EnlargeWidth(rescale_eps=rescale, allow_loss=True).apply(parent, child)
                if variant in WRONG:
                    WRONG[variant](child, 2)
                difference = torch.tensor(max_logit_difference(parent, child), dtype=torch.float64)
                cell = out["variants"][row]
                cell[column] = torch.maximum(cell[column], difference)

    def _rotate(self, out: dict[str, Tensor]) -> None:
        places = torch.arange(LENGTH_ROTATED)
        distance = (places[:, None] - places).abs().flatten()
        for row, d in enumerate(self.head_dims):
            q, k = torch.randn(2, self.pairs, 1, LENGTH_ROTATED, d, dtype=torch.float64)
            narrow = Rope(d)
            exact = narrow.rotate(q, places) @ narrow.rotate(k, places).mT
            for column, (window, frequencies) in enumerate(ROTATIONS.values()):
                index, wide = repeat(d, 2, window), Rope(2 * d, freq_repeat=frequencies or 2)
                u, v = (wide.rotate(x[..., index] / 2**0.5, places) for x in (q, k))
                for name, value in (("wrong", u @ v.mT - exact), ("exact", exact)):
                    sums = value.square().sum((0, 1)).flatten()
                    out[name][row, column].index_add_(0, distance, sums)

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return the largest differences; record the rows of the figures."""
        metrics = {"max_logit_difference": float(totals["cells"].max())}
        for (order, norm, activation, k), value in zip(self.cells, totals["cells"], strict=True):
            cell = {"norms": f"{order}, {norm}", "activation": activation, "k": k}
            self.record_rows("cells", [{**cell, "difference": float(value)}])
        for row, order in enumerate(ORDERS):
            for column, (variant, name) in enumerate(VARIANTS.items()):
                value = float(totals["variants"][row, column])
                metrics[f"difference_{order}_{variant}"] = value
                rows = {"variant": name, "norm_order": order, "difference": value}
                self.record_rows("variants", [rows])
        for row, d in enumerate(self.head_dims):
            for column, name in enumerate(ROTATIONS):
                wrong, exact = totals["wrong"][row, column], totals["exact"][row, column]
                short = ("single", "pairs", "repeat")[column]
                metrics[f"rope_error_d{d}_{short}"] = float((wrong.sum() / exact.sum()).sqrt())
                for distance, error in enumerate((wrong / exact).sqrt().tolist()):
                    rows = {"d": d, "rotation": name, "distance": distance, "error": error}
                    self.record_rows("rope", [rows])
        return metrics
