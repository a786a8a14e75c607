"""Xavier's (Glorot's) initialisation."""

from suexp.init.variance_scaling import Preset


class Xavier(Preset):
    r"""$\mathrm{Var}\, w = 2 g^2 / (\mathrm{fan\_in} + \mathrm{fan\_out})$, between both passes.

    Keeping the variance of activations asks for 1/fan_in, that of gradients for 1/fan_out. Shapes:
    matrices (fan_out, fan_in).

    References: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural
    networks, https://proceedings.mlr.press/v9/glorot10a.html; https://kexue.fm/archives/7180.

    Args:
        gain: g, a number, the name of an activation, or ``auto``; see `VarianceScaling`.
        distribution: the entries' law; see `VarianceScaling`.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$, see `Default`.
        parametrization: ``standard`` or ``ntk``, see `suexp.init.base.Init`.

    Raises:
        ValueError: an unknown name; a gain or standard deviation that is not above 0.
    """

    preset = ("fan_avg", 1.0)
