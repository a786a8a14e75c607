"""A wider model that computes the same function."""

import copy
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from suexp.model.mlp import MLP
from suexp.model.transformer import Transformer
from suexp.transform._widen import Widening
from suexp.transform.base import Transform


class EnlargeWidth(Transform):
    r"""$\tilde x = R(x) / \sqrt k$: every feature of the stream k times, side by side.

    The child is k times as wide (``model.dim``) and gives the same logits: with $\tilde W = R_{in}
    R_{out}(W) / k$ and $\tilde b = R(b) / \sqrt k$ every layer maps R(x)/sqrt k to R(y)/sqrt k.
    Queries and keys take $k^{1/4}$ more, for their scores are divided by the root of a larger head;
    activations that are not homogeneous (gelu, silu, tanh) see R(x) without the root; norms get
    $\epsilon / k$, which is kept with the weights. Repetition is local, so that it stays inside the
    heads. Heads grow where the child has as many as its parent, or are repeated whole where it has
    more. Numbers of layers, of words and of places stay; the feed-forward layer may grow by any
    amount.

    Rotary positions need whole pairs repeated, and are exact only with ``position.freq_repeat`` k
    times the parent's; ALiBi with repeated heads needs ``position.slope_repeat``. Attentions other
    than softmax and sinusoidal positions are refused.

    With equal shares the copies get identical gradients and stay equal for ever: the wide model
    learns no more than a narrow one with another learning rate. ``split=asymmetric`` lets each
    reader take unequal shares $a$ of the copies, $\sum_r a_r = k$: the function is the same, the
    gradients are not.

    Measured: ``transform/max_logit_difference``, in float64 on random inputs.

    References: https://kexue.fm/archives/8444; Chen et al., Net2Net, arXiv:1511.05641. Relative to
    the post: its output transform of BERT needs no further $1/\sqrt 2$, and the second bias of the
    feed-forward layer takes $1/\sqrt k$ like every other.

    Args:
        factor: k, at least 2; None: what the two models say.
        window: how many neighbouring features of a head are repeated together; None: 2 for
            interleaved rotary positions, else 1.
        split: symmetric, all copies alike, or asymmetric.
        spread: shares of an asymmetric split are 1 + u, u uniform within this bound, centred.
        noise: standard deviation of what is added to the child's weights at the end, in units of
            each matrix's root mean square. It breaks the symmetry too, but changes the function.
        rescale_eps: false leaves the norms their epsilon, as the post does.
        tolerance: largest difference of logits that passes.
        allow_loss: accept a larger one.

    Raises:
        ValueError: an argument outside its range, models that do not fit, a layer without a rule,
            or a child whose logits are not its parent's.
    """

    refuses: ClassVar[dict[str, str]] = {
        "attention=linear": "its feature map does not scale with the head; use attention=softmax",
        "attention=performer": "its random features belong to one size of head; use "
        "attention=softmax",
        "position=sinusoidal": "its vectors are others in another width; use position=learned or "
        "position=rope",
    }

    def __init__(
        self,
        factor: int | None = None,
        window: int | None = None,
        split: Literal["symmetric", "asymmetric"] = "symmetric",
        spread: float = 0.5,
        noise: float = 0.0,
        rescale_eps: bool = True,
        tolerance: float = 1e-4,
        allow_loss: bool = False,
    ) -> None:
        if factor is not None and factor < 2:
            raise ValueError(f"factor must be at least 2, not {factor}; use transform=copy")
        if window is not None and window < 1:
            raise ValueError(f"window must be at least 1, not {window}")
        if split not in ("symmetric", "asymmetric"):
            raise ValueError(f"split must be symmetric or asymmetric, not {split}")
        if not 0 < spread < 1:
            raise ValueError(f"spread must lie between 0 and 1, not {spread}")
        if noise < 0 or tolerance <= 0:
            raise ValueError(f"noise {noise} must be at least 0, tolerance {tolerance} above 0")
        self.factor, self.window, self.noise = factor, window, noise
        self.spread = spread if split == "asymmetric" else 0.0
        self.rescale_eps = rescale_eps
        self.tolerance, self.allow_loss = tolerance, allow_loss

    @torch.no_grad()
    def apply(self, parent: nn.Module, child: nn.Module) -> dict[str, float]:
        """Write the child's weights; return how far its logits are from its parent's.

        Raises:
            ValueError: the two do not fit, a layer has no rule, or the logits differ.
        """
        widening = Widening(self._factor(parent, child), self.window, self.spread, self.rescale_eps)
        widening(parent, child)
        widening.check_claims(child)
        difference = max_logit_difference(parent, child)
        if difference > self.tolerance and not self.allow_loss:
            raise ValueError(
                f"the enlarged model's logits differ by {difference:.2g} (transform.tolerance "
                f"{self.tolerance:g}): {_cause(parent, child)}, or accept it with "
                "transform.allow_loss=true"
            )
        if self.noise > 0:
            for parameter in child.parameters():
                if parameter.ndim > 1:
                    scale = self.noise * parameter.square().mean().sqrt()
                    parameter.add_(torch.randn_like(parameter) * scale)
            difference = max_logit_difference(parent, child)
        return {"transform/max_logit_difference": difference}

    def _factor(self, parent: nn.Module, child: nn.Module) -> int:
        narrow, wide = _width(parent), _width(child)
        if wide % narrow or wide < 2 * narrow:
            raise ValueError(
                f"model.dim is {wide} and the parent's {narrow}: the norms' mean and variance "
                "survive only repetition of every feature, so it must be 2, 3, ... times as wide"
            )
        if self.factor is not None and wide != self.factor * narrow:
            raise ValueError(
                f"transform.factor={self.factor} makes {self.factor * narrow} of the parent's "
                f"model.dim {narrow}, but the child's is {wide}"
            )
        return wide // narrow


def _width(model: nn.Module) -> int:
    if isinstance(model, Transformer):
        return int(model.blocks[0].attention.qkv.in_features)  # type: ignore[union-attr, arg-type]
    if isinstance(model, MLP) and len(model.hidden) > 0:
        if not isinstance(model.hidden[0], nn.Linear):
            raise ValueError(
                "no enlargement rule for norms on the input; set model.norm_position=post_linear"
            )
        return model.hidden[0].out_features
    raise ValueError(f"no enlargement rule for {type(model).__name__}; use model=transformer")


def max_logit_difference(parent: nn.Module, child: nn.Module) -> float:
    """Return the largest difference of two models' outputs in float64, on random inputs."""
    inputs = _inputs(parent)
    with torch.no_grad():
        one, other = (copy.deepcopy(model).double().eval()(inputs) for model in (parent, child))
    return float((one - other).abs().max())


def _inputs(model: Any) -> Tensor:
    """Return 4 random texts, sequences of vectors, or vectors."""
    generator = torch.Generator().manual_seed(0)
    if isinstance(model, MLP):
        size = model.hidden[0].in_features
        return torch.randn(4, size, generator=generator, dtype=torch.float64)  # type: ignore[call-overload]
    length = min(64, model.position.max_length or 64)
    if isinstance(model.embedding, nn.Embedding):
        words = model.embedding.num_embeddings
        return torch.randint(words, (4, length), generator=generator)
    size = model.embedding.in_features
    return torch.randn(4, length, size, generator=generator, dtype=torch.float64)


def _cause(parent: Any, child: Any) -> str:
    """Say what most likely keeps a child from computing what its parent does."""
    here = getattr(child, "position", None)
    for name, kind in (("freq_repeat", "rotations"), ("slope_repeat", "slopes")):
        if hasattr(here, name):
            size = "head_dim" if name == "freq_repeat" else "num_heads"
            ratio = _size(child, size) / _size(parent, size)
            wanted = round(getattr(parent.position, name) * ratio)
            if getattr(here, name) != wanted:
                return f"the wider model has other {kind}: set position.{name}={wanted}"
    return "the two models must differ in their width only"


def _size(model: Any, name: str) -> int:
    attention = model.blocks[0].attention
    heads = int(attention.num_heads)
    return heads if name == "num_heads" else attention.output.in_features // heads
