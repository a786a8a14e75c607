"""He's initialisation."""

from suexp.init.variance_scaling import Preset


class He(Preset):
    r"""$\mathrm{Var}\, w = 2 g^2 / \mathrm{fan\_in}$: keeps the second moment through relu.

    Relu sets half of a symmetric input to 0, hence the 2. Shapes: matrices (fan_out, fan_in).

    References: He et al., Delving Deep into Rectifiers, arXiv:1502.01852;
    https://kexue.fm/archives/7180.

    Args:
        gain: g, a number, the name of an activation, or ``auto``; see `VarianceScaling`.
        distribution: the entries' law; see `VarianceScaling`.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$, see `Default`.
        parametrization: ``standard`` or ``ntk``, see `suexp.init.base.Init`.

    Raises:
        ValueError: an unknown name; a gain or standard deviation that is not above 0.
    """

    preset = ("fan_in", 2.0)
