"""Logistic regression."""

from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import at_least
from suexp.nn.linear import Linear as Dense


class Linear(nn.Module, Component):
    r"""$\mathrm{logits} = W x + b$, from zero: the loss is convex, so the start decides nothing.

    Shapes: x (b, input_dim), logits (b, num_outputs).

    References: Cox, The Regression Analysis of Binary Sequences,
    https://doi.org/10.1111/j.2517-6161.1958.tb00292.x; with task=analytic_classification
    https://kexue.fm/archives/8578.

    Args:
        input_dim: size of the input vectors.
        num_outputs: number of classes.
        bias: b, which says how frequent a class is.

    Raises:
        ValueError: a size below 1.
    """

    needs = {"vectors": "it reads vectors; use data=sklearn, or model=transformer for text"}
    refuses = {
        "text": "it reads vectors; use data=sklearn with task=classification, or model=transformer",
        # A mask that restricts nothing is what task=classification chooses for texts.
    }

    def __init__(self, input_dim: int, num_outputs: int, bias: bool = True) -> None:
        super().__init__()
        at_least(1, input_dim=input_dim, num_outputs=num_outputs)
        self.classifier = Dense(input_dim, num_outputs, bias)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "b i"]) -> Float[Tensor, "b c"]:
        """Return the logits."""
        return self.classifier(x)
