"""The contract of every initialisation."""

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from suexp.component import Component
from suexp.nn.linear import Linear, ResidualLinear

Parametrization = Literal["standard", "ntk"]


class Init(Component):
    r"""Draws a built model's weights anew, by the type of the module that holds them.

    Linear layers are drawn by `matrix`, block by block where several maps are fused in one; biases
    become 0, the gains of norms 1. Embeddings are normal with a standard deviation of their own,
    since rules for matrices do not suit them: their input is one-hot, and an output layer may share
    them. Other modules keep what their constructor gave them. All draws are those of torch's global
    generator.

    With ``parametrization=ntk`` a linear layer holds W / c, whose entries have a size of 1, and
    multiplies by c, the standard deviation that the rule asks for: at the start the model computes
    what it does otherwise, but one learning rate suits all widths. SGD with rate $\eta$ moves W as
    the usual form does with $c^2 \eta$, Adam as with $c \eta$. Embeddings stay as they are.

    References: Jacot et al., Neural Tangent Kernel, arXiv:1806.07572;
    https://kexue.fm/archives/8620.

    Args:
        gain: what the standard deviation of matrices is multiplied by.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$, see `Default`.
        parametrization: ``standard`` or ``ntk``.

    Raises:
        ValueError: a gain or standard deviation that is not above 0, an unknown parametrization.
    """

    provides: ClassVar[set[str]] = {"scaled_weights if parametrization=ntk"}

    def __init__(
        self,
        gain: float,
        embedding_std: float | None,
        parametrization: Parametrization = "standard",
    ) -> None:
        if gain <= 0:
            raise ValueError(f"gain must be above 0, not {gain}")
        if embedding_std is not None and embedding_std <= 0:
            raise ValueError(f"embedding_std must be above 0, not {embedding_std}")
        if parametrization not in get_args(Parametrization):
            raise ValueError(f"parametrization must be standard or ntk, not {parametrization}")
        self.gain = gain
        self.embedding_std = embedding_std
        self.parametrization = parametrization

    def std(self, fan_out: int, fan_in: int) -> float:
        """Return the standard deviation of the entries of a matrix (fan_out, fan_in)."""
        raise NotImplementedError

    def matrix(self, weight: Tensor) -> None:
        """Draw one matrix (fan_out, fan_in) in place, from the normal distribution by default."""
        weight.normal_(0.0, self.std(*weight.shape))

    def residual_gain(self, branches: int) -> float:
        """Return what the last matrix of each residual branch is multiplied by."""
        del branches
        return 1.0

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Draw every weight of the model.

        Raises:
            ValueError: ``parametrization=ntk`` and a layer that cannot multiply by c.
        """
        branches = sum(isinstance(module, ResidualLinear) for module in model.modules())
        for module in model.modules():
            if isinstance(module, nn.Linear):
                shrink = isinstance(module, ResidualLinear)
                self._linear(module, self.residual_gain(branches) if shrink else 1.0)
            elif isinstance(module, nn.Embedding):
                std = self.embedding_std or (3 * module.embedding_dim) ** -0.5
                module.weight.normal_(0.0, std)
            elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
                module.reset_parameters()

    def _linear(self, layer: nn.Linear, gain: float) -> None:
        scaled = self.parametrization == "ntk"
        if scaled and not isinstance(layer, Linear):
            raise ValueError(
                f"init.parametrization=ntk: {type(layer).__name__} multiplies by its weights as "
                "they are; make it a suexp.nn.linear.Linear"
            )
        rows = layer.blocks if isinstance(layer, Linear) else [len(layer.weight)]
        blocks = torch.split(layer.weight, rows)
        for block in blocks:
            self.matrix(block)
        if isinstance(layer, Linear):
            sizes = [self.std(*block.shape) if scaled else 1.0 for block in blocks]
            layer.scales = tuple(size * (gain if scaled else 1.0) for size in sizes)
        if scaled:
            for block, size in zip(blocks, sizes, strict=True):
                block.div_(size)
        elif gain != 1:
            layer.weight.mul_(gain)
        if layer.bias is not None:
            layer.bias.zero_()
