"""The initialisation that is used unless another is chosen."""

from suexp.init.base import Init, Parametrization


class Default(Init):
    r"""$w \sim N(0, g^2 / \mathrm{fan\_in})$, embeddings $N(0, 1/(3\,dim))$.

    As in GPT-2, the last matrix of each of the 2L residual branches is smaller by $(2L)^{-1/2}$, so
    that their sum does not grow with depth. Shapes: matrices (fan_out, fan_in), embeddings
    (vocab_size, dim).

    With $g = 3^{-1/2}$ this is the size of torch's own linear layers, and at a width of 768 it is
    GPT-2's 0.02, for embeddings too. The number 0.02 itself does not carry over to other widths: a
    decoder of 2 layers and dim 128 ends 250 steps on bytes at 1.86 nats with 0.02 everywhere, 1.99
    with 0.02 for the embeddings only, 1.68 with this rule (means of 2 seeds, at most 0.04 apart).

    References: Radford et al., Language Models are Unsupervised Multitask Learners, section 2.3;
    https://kexue.fm/archives/8620 on the variances of a Transformer.

    Args:
        gain: g; $3^{-1/2}$.
        embedding_std: standard deviation of embeddings; None: $(3\,dim)^{-1/2}$.
        parametrization: ``standard`` or ``ntk``, see `suexp.init.base.Init`.

    Raises:
        ValueError: an unknown parametrization; a gain or standard deviation not above 0.
    """

    def __init__(
        self,
        gain: float = 0.577,
        embedding_std: float | None = None,
        parametrization: Parametrization = "standard",
    ) -> None:
        super().__init__(gain, embedding_std, parametrization)

    def std(self, fan_out: int, fan_in: int) -> float:
        """Return the standard deviation."""
        del fan_out
        return self.gain * fan_in**-0.5

    def residual_gain(self, branches: int) -> float:
        """Return $(2L)^{-1/2}$: a layer has two branches."""
        return branches**-0.5
