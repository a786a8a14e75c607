"""The contract of every initialisation."""

import torch
from torch import Tensor, nn

from suexp.component import Component
from suexp.nn.linear import FusedLinear, ResidualLinear


class Init(Component):
    r"""Draws a built model's weights anew, by the type of the module that holds them.

    Linear layers are drawn by `matrix`, block by block where several maps are fused in one; biases
    become 0, the gains of norms 1. Embeddings are normal with a standard deviation of their own,
    since rules for matrices do not suit them: their input is one-hot, and an output layer may share
    them. Other modules keep what their constructor gave them. All draws are those of torch's global
    generator.

    Args:
        gain: what the standard deviation of matrices is multiplied by.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$, see `Default`.

    Raises:
        ValueError: a gain or standard deviation that is not above 0.
    """

    def __init__(self, gain: float, embedding_std: float | None) -> None:
        if gain <= 0:
            raise ValueError(f"gain must be above 0, not {gain}")
        if embedding_std is not None and embedding_std <= 0:
            raise ValueError(f"embedding_std must be above 0, not {embedding_std}")
        self.gain = gain
        self.embedding_std = embedding_std

    def matrix(self, weight: Tensor) -> None:
        """Draw one matrix (fan_out, fan_in) in place."""
        raise NotImplementedError

    def residual_gain(self, branches: int) -> float:
        """Return what the last matrix of each residual branch is multiplied by."""
        del branches
        return 1.0

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Draw every weight of the model."""
        branches = sum(isinstance(module, ResidualLinear) for module in model.modules())
        for module in model.modules():
            if isinstance(module, nn.Linear):
                rows = module.blocks if isinstance(module, FusedLinear) else [len(module.weight)]
                for block in torch.split(module.weight, rows):
                    self.matrix(block)
                if isinstance(module, ResidualLinear):
                    module.weight.mul_(self.residual_gain(branches))
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                std = self.embedding_std or (3 * module.embedding_dim) ** -0.5
                module.weight.normal_(0.0, std)
            elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
                module.reset_parameters()
