"""Initialisation by one standard deviation for all matrices."""

from typing import get_args

from torch import Tensor

from suexp.errors import one_of
from suexp.init.base import Init, Parametrization
from suexp.init.variance_scaling import Distribution, draw


class Normal(Init):
    r"""$\mathrm{Var}\, w = \sigma^2$ whatever a matrix's size: BERT's rule, with 0.02.

    It is right for one width only, and too small or too large for others: in a plain deep network
    the second moment is multiplied by $\sigma^2\,\mathrm{fan\_in}$ in every layer. Shapes: matrices
    (fan_out, fan_in).

    References: Devlin et al., BERT, arXiv:1810.04805; https://kexue.fm/archives/7180.

    Args:
        weight_std: $\sigma$.
        distribution: the entries' law, see `suexp.init.variance_scaling.VarianceScaling`; BERT's is
            truncated_normal.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$, see `Default`.
        parametrization: ``standard`` or ``ntk``, see `suexp.init.base.Init`.

    Raises:
        ValueError: an unknown name; a standard deviation that is not above 0.
    """

    def __init__(
        self,
        weight_std: float = 0.02,
        distribution: Distribution = "normal",
        embedding_std: float | None = None,
        parametrization: Parametrization = "standard",
    ) -> None:
        super().__init__(1.0, embedding_std, parametrization)
        if not weight_std > 0:
            raise ValueError(f"weight_std must be above 0, not {weight_std}")
        one_of(get_args(Distribution), distribution=distribution)
        self.weight_std, self.distribution = weight_std, distribution

    def std(self, fan_out: int, fan_in: int) -> float:
        """Return the standard deviation."""
        del fan_out, fan_in
        return self.weight_std

    def matrix(self, weight: Tensor) -> None:
        """Draw from the distribution."""
        draw(weight, self.weight_std, self.distribution)
