"""Multi-layer perceptron."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import MOST_LAYERS, at_least, between, one_of
from suexp.init.base import Init
from suexp.nn.activation import Activation
from suexp.nn.activation import activation as make
from suexp.nn.clone import clone
from suexp.nn.linear import Linear


class MLP(nn.Module, Component):
    r"""$h_l = f(\mathrm{norm}(W_l h_{l-1} + b_l))$, then $\mathrm{logits} = W h + b$.

    With ``norm_position=pre_linear`` the norm stands in front of each linear layer, the input's and
    the last one's included: $h_l = f(W_l\,\mathrm{norm}(h_{l-1}) + b_l)$, where
    https://kexue.fm/archives/6992 wants it.

    Shapes: input (b, input_dim), hidden h (b, dim), logits (b, num_outputs).

    References: Rumelhart et al., Learning representations by back-propagating errors,
    https://doi.org/10.1038/323533a0; initialised as in https://kexue.fm/archives/7180.

    Args:
        input_dim: size of the input vectors.
        num_outputs: number of classes.
        init: draws the weights.
        norm: prototype of the hidden layers' norms; None: no norms.
        dim: size of the hidden layers.
        num_layers: how many there are; 0: a linear model.
        activation: f: relu, gelu, silu, tanh, sigmoid, softplus, elu, selu, leaky_relu (by 0.01),
            squared_relu; or scaled_relu and so on, $f(z)/\sqrt{E f^2}$, see `suexp.nn.activation`.
        dropout: share of each hidden layer set to 0 in training.
        norm_position: ``post_linear`` or ``pre_linear``.

    Raises:
        ValueError: a size that is too small, or an unknown activation.
    """

    needs = {"vectors": "it reads vectors; use data=digits, or model=transformer for text"}
    refuses = {
        "text": "it reads vectors; use data=digits with task=classification, or model=transformer",
        # A mask that restricts nothing is what task=classification chooses for texts.
    }

    def __init__(
        self,
        input_dim: int,
        num_outputs: int,
        init: Init,
        norm: nn.Module | None = None,
        dim: int = 128,
        num_layers: int = 2,
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm_position: Literal["post_linear", "pre_linear"] = "post_linear",
    ) -> None:
        super().__init__()
        at_least(1, input_dim=input_dim, num_outputs=num_outputs, dim=dim)
        at_least(0, most=MOST_LAYERS, num_layers=num_layers)
        between("[0, 1)", dropout=dropout)
        self.activation = activation
        one_of(("post_linear", "pre_linear"), norm_position=norm_position)
        before = norm is not None and norm_position == "pre_linear"
        layers: list[nn.Module] = []
        size = input_dim
        for _ in range(num_layers):
            if norm is not None and before:
                layers.append(norm.sized(size))  # type: ignore[operator]
            layers.append(Linear(size, dim))
            if norm is not None and not before:
                layers.append(clone(norm))
            layers += [make(activation), nn.Dropout(dropout)]
            size = dim
        if norm is not None and before:
            layers.append(norm.sized(size))  # type: ignore[operator]
        self.hidden = nn.Sequential(*layers)
        self.classifier = Linear(size, num_outputs)
        init.apply(self)

    def forward(self, x: Float[Tensor, "b i"]) -> Float[Tensor, "b c"]:
        """Return the logits."""
        return self.classifier(self.hidden(x))
