"""Initialisation by the output's size."""

from suexp.init.variance_scaling import Preset


class FanOut(Preset):
    r"""$\mathrm{Var}\, w = g^2 / \mathrm{fan\_out}$: a vector keeps its length, $|Wx| \approx |x|$.

    $W^\top W \approx I$ where the output is not smaller than the input. Shapes: matrices (fan_out,
    fan_in).

    Reference: https://kexue.fm/archives/7180.

    Args:
        gain: g, a number, the name of an activation, or ``auto``; see `VarianceScaling`.
        distribution: the entries' law; see `VarianceScaling`.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$, see `Default`.
        parametrization: ``standard`` or ``ntk``, see `suexp.init.base.Init`.

    Raises:
        ValueError: an unknown name; a gain or standard deviation that is not above 0.
    """

    preset = ("fan_out", 1.0)
