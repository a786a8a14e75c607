"""LeCun's initialisation."""

from suexp.init.variance_scaling import Preset


class Lecun(Preset):
    r"""$\mathrm{Var}\, w = g^2 / \mathrm{fan\_in}$: keeps a component's second moment.

    Shapes: matrices (fan_out, fan_in).

    References: LeCun et al., Efficient BackProp, section 4.6,
    https://doi.org/10.1007/3-540-49430-8_2; https://kexue.fm/archives/7180.

    Args:
        gain: g, a number, the name of an activation, or ``auto``; see `VarianceScaling`.
        distribution: the entries' law; see `VarianceScaling`.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$, see `Default`.
        parametrization: ``standard`` or ``ntk``, see `suexp.init.base.Init`.

    Raises:
        ValueError: an unknown name; a gain or standard deviation that is not above 0.
    """

    preset = ("fan_in", 1.0)
