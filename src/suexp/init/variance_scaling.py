"""Initialisation by one rule with all its presets."""

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from suexp.errors import one_of
from suexp.init.base import Init, Parametrization
from suexp.nn.activation import gain as gain_of

Mode = Literal["fan_in", "fan_out", "fan_avg"]
Distribution = Literal["normal", "uniform", "truncated_normal", "rademacher", "laplace"]
# Standard deviation of a standard normal number within two of them.
TRUNCATED = 0.7737413035760172**0.5


def draw(
    weight: Tensor,
    std: float,
    distribution: Distribution,
    generator: torch.Generator | None = None,
) -> None:
    r"""Fill a tensor with numbers of mean 0 and this standard deviation, in place.

    normal; uniform on $\pm\sqrt 3\sigma$; truncated_normal, a normal number cut at two of its own
    deviations, which is $\sigma/0.8796$ so that what is left has $\sigma$ (torch's function and
    many others leave that out); rademacher, $\pm\sigma$; laplace. Kurtosis: 3, 9/5, 2.366, 1, 6.
    Without a generator torch's global one is used.
    """
    if distribution == "normal":
        weight.normal_(0.0, std, generator=generator)
    elif distribution == "uniform":
        weight.uniform_(-(3**0.5) * std, 3**0.5 * std, generator=generator)
    elif distribution == "truncated_normal":
        whole = std / TRUNCATED
        nn.init.trunc_normal_(weight, 0.0, whole, -2 * whole, 2 * whole, generator=generator)
    elif distribution == "rademacher":
        weight.bernoulli_(0.5, generator=generator).mul_(2 * std).sub_(std)
    else:
        # The difference of two exponential numbers; one uniform number would meet log 0.
        weight.exponential_(1.0, generator=generator)
        other = torch.empty_like(weight).exponential_(1.0, generator=generator)
        weight.sub_(other).mul_(std * 0.5**0.5)


class VarianceScaling(Init):
    r"""$\mathrm{Var}\, w = g^2 s / n$ with n the input's size, the output's, or their mean.

    With s = 1: LeCun's rule (fan_in) keeps the second moment of a component, fan_out the length of
    a vector that grows longer, Glorot's (fan_avg) is between the two; He's is fan_in with s = 2.
    Entries of any law with mean 0 make a matrix nearly orthogonal. Shapes: matrices (fan_out,
    fan_in), in a fused layer each block by itself.

    References: https://kexue.fm/archives/7180; LeCun et al., Efficient BackProp, section 4.6,
    https://doi.org/10.1007/3-540-49430-8_2; Glorot & Bengio,
    https://proceedings.mlr.press/v9/glorot10a.html; He et al., arXiv:1502.01852.

    Args:
        mode: n: ``fan_in``, ``fan_out`` or ``fan_avg``.
        scale: s.
        distribution: ``normal``, ``uniform``, ``truncated_normal`` (at two deviations, corrected),
            ``rademacher`` or ``laplace``.
        gain: g, a number; the name of an activation: $(E f^2)^{-1/2}$ under a normal input, see
            `suexp.nn.activation`; ``auto``: that of the model's own activation.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$, see `Default`.
        parametrization: ``standard`` or ``ntk``, see `suexp.init.base.Init`.

    Raises:
        ValueError: an unknown name; a scale, gain or standard deviation that is not above 0; when
            applied, ``auto`` and a model that does not tell its activation.
    """

    def __init__(
        self,
        mode: Mode = "fan_in",
        scale: float = 1.0,
        distribution: Distribution = "normal",
        gain: float | str = 1.0,
        embedding_std: float | None = None,
        parametrization: Parametrization = "standard",
    ) -> None:
        self.of_model = gain == "auto"
        number = 1.0 if self.of_model else gain_of(gain) if isinstance(gain, str) else gain
        super().__init__(number, embedding_std, parametrization)
        one_of(get_args(Mode), mode=mode)
        one_of(get_args(Distribution), distribution=distribution)
        if not scale > 0:
            raise ValueError(f"scale must be above 0, not {scale}")
        self.mode, self.scale, self.distribution = mode, scale, distribution

    def std(self, fan_out: int, fan_in: int) -> float:
        """Return the standard deviation."""
        sizes = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        return self.gain * (self.scale / sizes[self.mode]) ** 0.5

    def matrix(self, weight: Tensor) -> None:
        """Draw from the distribution."""
        draw(weight, self.std(*weight.shape), self.distribution)

    def apply(self, model: nn.Module) -> None:
        """Draw every weight of the model.

        Raises:
            ValueError: the model does not tell its activation, and ``gain=auto`` needs it.
        """
        if self.of_model:
            name = getattr(model, "activation", None)
            if not isinstance(name, str):
                raise ValueError(
                    f"init.gain=auto: {type(model).__name__} does not tell its activation; name "
                    "it, init.gain=relu"
                )
            self.gain = gain_of(name)
        super().apply(model)


class Preset(VarianceScaling):
    r"""The rule at a mode and a scale of which a name is made.

    Args:
        gain: g, a number, the name of an activation, or ``auto``; see `VarianceScaling`.
        distribution: the entries' law; see `VarianceScaling`.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$, see `Default`.
        parametrization: ``standard`` or ``ntk``, see `suexp.init.base.Init`.
    """

    preset: ClassVar[tuple[Mode, float]]

    def __init__(
        self,
        gain: float | str = 1.0,
        distribution: Distribution = "normal",
        embedding_std: float | None = None,
        parametrization: Parametrization = "standard",
    ) -> None:
        mode, scale = self.preset
        super().__init__(mode, scale, distribution, gain, embedding_std, parametrization)
