"""A trained network beside the one in training."""

import torch
from torch import nn


class Frozen:
    """A network that gives gradients but takes none, and that no checkpoint holds.

    Its parameters are frozen, not its graph: gradients pass through to what fed it. It is no
    submodule of anything, so it follows the trained model's device and type only when asked.

    Args:
        network: what is frozen, in place.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network.requires_grad_(False)

    def beside(self, model: nn.Module) -> nn.Module:
        """Return the network on the device and in the type of another."""
        ours, theirs = next(self.network.parameters()), next(model.parameters())
        if (ours.device, ours.dtype) != (theirs.device, theirs.dtype):
            with torch.inference_mode(False):
                self.network.to(theirs.device, theirs.dtype)
        return self.network
