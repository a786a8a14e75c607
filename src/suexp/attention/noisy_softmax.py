"""Softmax attention with noise on its scores."""

import math
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from suexp.attention.softmax import Softmax, gather
from suexp.mask.base import Mask

Law = Literal["normal", "uniform", "laplace", "cauchy", "constant", "proportional"]
When = Literal["test", "train", "always"]
Denominator = Literal["noisy", "clean"]


def check_noise(noise_std: float, law: str, denominator: str) -> None:
    """Refuse arguments that describe no noise.

    Raises:
        ValueError: a negative or infinite noise_std, an unknown law or denominator, or Cauchy noise
            over a clean denominator.
    """
    if not 0 <= noise_std < math.inf:
        raise ValueError(f"noise_std must be at least 0 and finite, not {noise_std}")
    for name, value, known in (("law", law, Law), ("denominator", denominator, Denominator)):
        if value not in get_args(known):
            raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, not {value!r}")
    if law == "cauchy" and denominator == "clean":
        raise ValueError(
            "law=cauchy has no finite mean of exp, which a clean denominator leaves alone; "
            "use denominator=noisy, or another law"
        )


def draw_noise(
    law: Law, std: float, scores: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    r"""Draw noise of the scores' shape: one number for each query and key, of each head and text.

    Args:
        law: normal; uniform on $\pm \sqrt 3\,std$; laplace with $b = std / \sqrt 2$; cauchy, whose
            scale is ``std``; constant, ``std`` everywhere; proportional, ``std`` times the score.
        std: standard deviation, where the law has one.
        scores: what it is to be added to.
        generator: None: torch's global one.
    """
    if law == "constant":
        return torch.full_like(scores, std)
    if law == "proportional":
        return scores * std
    shape = scores.shape
    kind: Any = {"dtype": scores.dtype, "device": scores.device}
    if law == "normal":
        return torch.randn(shape, generator=generator, **kind) * std
    if law == "cauchy":
        return torch.empty(shape, **kind).cauchy_(0.0, 1.0, generator=generator) * std
    if law == "uniform":
        return (torch.rand(shape, generator=generator, **kind) * 2 - 1) * (math.sqrt(3) * std)
    size = torch.empty(shape, **kind).exponential_(generator=generator)
    sign = torch.empty(shape, **kind).bernoulli_(0.5, generator=generator) * 2 - 1
    return size * sign * (std / math.sqrt(2))


def exp_moment(law: Law, std: float, t: float = 1.0) -> float:
    r"""Return $\mathrm{E}[e^{t\epsilon}]$; infinite where it is; NaN where noise is no noise."""
    if law == "proportional":
        return math.nan
    if law == "constant":
        return math.exp(t * std)
    if law == "normal":
        return math.exp((t * std) ** 2 / 2)
    if law == "uniform":
        half = math.sqrt(3) * std * t
        return math.sinh(half) / half if half else 1.0
    if law == "cauchy":
        return 1.0 if std * t == 0 else math.inf
    square = (std * t) ** 2 / 2
    return 1 / (1 - square) if square < 1 else math.inf


class NoiseSource:
    """One stream of noise for all layers of a model, begun anew whenever it is to be tested.

    In training the stream is torch's global one, which a checkpoint holds. Copies of a module share
    its source: each layer draws noise of its own, and the next test draws the same again.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def __deepcopy__(self, memo: Any) -> "NoiseSource":
        return self

    def restart(self) -> None:
        """Start the generator again from its seed."""
        self._generators.clear()

    def generator(self, device: torch.device) -> torch.Generator:
        """Return the stream of tests on a device."""
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]


class NoisySoftmax(Softmax):
    r"""$o_i = \sum_j e^{s_{ij} + \epsilon_{ij}} v_j \big/ \sum_j e^{s_{ij} + \epsilon_{ij}}$.

    Noise $\epsilon$ that depends neither on the scores nor on the values multiplies numerator and
    denominator alike by $\mathrm{E}[e^\epsilon]$, so that it averages out over many keys: the
    squared error is about $(\mathrm{E}[e^{2\epsilon}] / \mathrm{E}[e^\epsilon]^2 - 1) \sum_j p_j^2
    |v_j - o|^2$. With the noise-free denominator $\sum_j e^{s_{ij}}$ it does not. Noise is
    drawn anew in each forward pass, a number for every query and key of every head, layer and text;
    hidden keys stay hidden. Shapes as in `Softmax`; scores are formed, in at least float32; without
    noise it is `Softmax` itself.

    Reference: https://kexue.fm/archives/9593.

    Args:
        noise_std: standard deviation of $\epsilon$ (scale of the Cauchy law, which has none).
        law: normal, uniform, laplace, cauchy; constant and proportional (to the score) are no
            noise: the one changes nothing, the other the temperature.
        when: train; test: wherever the model does not train; always.
        denominator: noisy, or clean: that of the weights without noise.
        seed: of the noise outside training; each test begins with it. In training noise is drawn by
            torch's global generator, as dropout is.
        dropout: probability of dropping an attention weight in training; 0.
        scale: $\tau$ of the scores; None: $d^{-1/2}$.

    Raises:
        ValueError: a negative noise_std, a dropout outside [0, 1), an unknown law, when or
            denominator, or Cauchy noise over a clean denominator.

    Example:
        >>> import torch
        >>> from suexp.attention import NoisySoftmax
        >>> from suexp.mask import Causal
        >>> q = k = torch.zeros(1, 1, 3, 2)  # equal scores: means of the values so far
        >>> v = torch.tensor([1.0, 2.0, 6.0]).view(1, 1, 3, 1)
        >>> NoisySoftmax(noise_std=0.0)(q, k, v, Causal()).flatten()
        tensor([1.0000, 1.5000, 3.0000])
    """

    products: ClassVar[str] = "pairs if not shaken and not dropout > 0 else n * m"
    saved: ClassVar[str] = (
        "kept if not shaken else h * n * d + (formed if denominator == 'noisy' else"
        " h * n * (1 + m * (4 if dropout > 0 else 3 if causal else 2))"
        " + (3 / 4 * n * m if causal else 0))"
    )
    shaken: ClassVar[str] = "when != 'test' and noise_std > 0"

    def __init__(
        self,
        noise_std: float = 0.5,
        law: Law = "normal",
        when: When = "train",
        denominator: Denominator = "noisy",
        seed: int = 0,
        dropout: float = 0.0,
        scale: float | None = None,
    ) -> None:
        super().__init__(dropout, scale)
        check_noise(noise_std, law, denominator)
        if when not in get_args(When):
            raise ValueError(f"when must be one of {', '.join(get_args(When))}, not {when!r}")
        self.noise_std, self.law, self.when = noise_std, law, when
        self.denominator = denominator
        self.source = NoiseSource(seed)

    @property
    def noisy(self) -> bool:
        """Whether noise is added as things stand."""
        now = self.when == "always" or (self.when == "train") == self.training
        return now and self.noise_std > 0

    def train(self, mode: bool = True) -> "NoisySoftmax":
        """Change the mode; a test begins with its first noise."""
        if not mode:
            self.source.restart()
        return super().train(mode)

    def forward(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        v: Float[Tensor, "b h m e"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n e"]:
        """Return the attended values; zeros for a query that may look at nothing."""
        if not self.noisy:
            return super().forward(q, k, v, mask, bias)
        with torch.autocast(q.device.type, enabled=False):
            if self.denominator == "noisy":
                scores = self.scores(q, k, mask, bias)
                allowed = mask.dense(q.shape[-2], k.shape[-2], q.device)
                return gather(scores + self._noise(scores), v, allowed, self.dropping)
            weights = F.dropout(self.weights(q, k, mask, bias), self.dropping)
            return (weights @ v.to(weights.dtype)).to(v.dtype)

    def weights(
        self,
        q: Float[Tensor, "b h n d"],
        k: Float[Tensor, "b h m d"],
        mask: Mask,
        bias: Float[Tensor, "*b h n m"] | None = None,
    ) -> Float[Tensor, "b h n m"]:
        """Return what the values are multiplied by without dropout; it draws new noise."""
        if not self.noisy:
            return super().weights(q, k, mask, bias)
        scores = self.scores(q, k, mask, bias)
        allowed = mask.dense(q.shape[-2], k.shape[-2], q.device)
        return noisy_weights(scores, self._noise(scores), allowed, self.denominator)

    def _noise(self, scores: Tensor) -> Tensor:
        generator = None if self.training else self.source.generator(scores.device)
        return draw_noise(self.law, self.noise_std, scores, generator)

    def extra_repr(self) -> str:
        """Return what the constructor was given."""
        return (
            f"noise_std={self.noise_std}, law={self.law}, when={self.when}, "
            f"denominator={self.denominator}, seed={self.source.seed}, dropout={self.dropout}, "
            f"scale={self.scale}"
        )


def noisy_weights(
    scores: Float[Tensor, "*b n m"],
    noise: Float[Tensor, "*b n m"],
    allowed: Tensor | None = None,
    denominator: Denominator = "noisy",
) -> Float[Tensor, "*b n m"]:
    """Return the weights of noisy scores; hidden keys get 0, and rows that see nothing zeros."""
    lowest = torch.finfo(scores.dtype).min
    shaken = scores + noise
    if allowed is not None:
        scores, shaken = (x.masked_fill(~allowed, lowest) for x in (scores, shaken))
    if denominator == "noisy":
        weights = shaken.softmax(-1)
    else:
        weights = (shaken - scores.logsumexp(-1, keepdim=True)).exp()
    return weights if allowed is None else weights.masked_fill(~allowed, 0)
