"""Attention by positive random features (https://kexue.fm/archives/7921, arXiv:2009.14794)."""

import hashlib
import math
import warnings
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from suexp.attention._core import FeatureAttention
from suexp.attention._feature_map import FeatureMap
from suexp.attention._random_features import RELU_EPS, PeerFeatures, RandomFeatures
from suexp.errors import at_least, one_of
from suexp.mask.base import Mask

KERNELS = ("positive", "hyperbolic", "trigonometric", "relu")
STABILIZERS = ("exact", "peer")


def orthogonal_gaussian(
    num_features: int, head_dim: int, generator: torch.Generator | None = None
) -> Float[Tensor, "m d"]:
    r"""Draw rows of length one that are orthogonal within each block of ``head_dim`` rows.

    A block is $Q^\top$ of the QR decomposition of a Gaussian matrix, its signs fixed by the
    diagonal of $R$, which makes it uniform (Haar) over the orthogonal matrices (Mezzadri,
    arXiv:math-ph/0609050); the last block is cut.

    Args:
        num_features: number of rows, m.
        head_dim: their length, d.
        generator: where the randomness comes from; None: torch's global generator.
    """
    blocks = -(-num_features // head_dim)
    gaussian = torch.randn(
        blocks, head_dim, head_dim, dtype=torch.float64, generator=generator, device="cpu"
    )
    q, r = torch.linalg.qr(gaussian)
    q = q * torch.sign(torch.diagonal(r, dim1=-2, dim2=-1))[:, None, :]
    return q.mT.reshape(blocks * head_dim, head_dim)[:num_features]


def projection(
    num_features: int,
    head_dim: int,
    orthogonal: bool = True,
    scaling: int = 0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "m d"]:
    r"""Draw the random directions $W$ with rows $w_j \sim N(0, I_d)$.

    Args:
        num_features: number of rows, m.
        head_dim: their length, d.
        orthogonal: rows orthogonal within blocks of d rows (lower variance); False: independent.
        scaling: norms of orthogonal rows. 0: those of fresh Gaussian vectors, so that each row is
            Gaussian and the estimate unbiased; 1: all $\sqrt d$ ("regularised", biased low).
        generator: where the randomness comes from; None: torch's global generator.
        dtype: of the result; the draw itself is always in float64.

    Raises:
        ValueError: a size below one, or a scaling other than 0 and 1.
    """
    at_least(1, num_features=num_features, head_dim=head_dim)
    if scaling not in (0, 1):
        raise ValueError(f"scaling must be 0 (Gaussian norms) or 1 (all sqrt(d)), not {scaling}")
    size = (num_features, head_dim)
    if not orthogonal:
        rows = torch.randn(size, dtype=torch.float64, generator=generator, device="cpu")
        return rows.to(dtype)
    rows = orthogonal_gaussian(num_features, head_dim, generator)
    if scaling == 1:
        return (rows * head_dim**0.5).to(dtype)
    fresh = torch.randn(size, dtype=torch.float64, generator=generator, device="cpu")
    return (rows * fresh.norm(dim=-1, keepdim=True)).to(dtype)


def features(
    x: Float[Tensor, "*b n d"], projection: Float[Tensor, "m d"], kernel: str = "positive"
) -> Float[Tensor, "*b n f"]:
    r"""Map vectors so that $\phi(x)\cdot\phi(y)$ estimates $e^{x\cdot y}$; nothing is stabilised.

    | kernel        | $\phi(x)$                                            | f  |
    |---------------|------------------------------------------------------|----|
    | positive      | $m^{-1/2} e^{Wx - |x|^2/2}$                          | m  |
    | hyperbolic    | $(2m)^{-1/2} [e^{Wx - |x|^2/2}, e^{-Wx - |x|^2/2}]$  | 2m |
    | trigonometric | $m^{-1/2} e^{|x|^2/2} [\cos Wx, \sin Wx]$            | 2m |
    | relu          | $\max(Wx, 0) + 10^{-3}$ (another kernel, not exp)    | m  |

    With $K = e^{x\cdot y}$, $s = |x+y|^2$, $t = |x-y|^2$ and independent rows the variances are
    $K^2 e^s (1 - e^{-s})/m$, half of that times $(1 - e^{-s})$, and
    $e^s K^{-2} (1 - e^{-t})^2/(2m)$.

    Args:
        x: queries or keys, for attention already multiplied by $d^{-1/4}$.
        projection: the directions W.
        kernel: one of the table's.

    Raises:
        ValueError: an unknown kernel.
    """
    m = projection.shape[0]
    u = x @ projection.mT
    half = x.square().sum(-1, keepdim=True) / 2
    if kernel == "positive":
        return torch.exp(u - half) * m**-0.5
    if kernel == "hyperbolic":
        return torch.exp(torch.cat([u, -u], -1) - half) * (2 * m) ** -0.5
    if kernel == "trigonometric":
        return torch.exp(half) * torch.cat([u.cos(), u.sin()], -1) * m**-0.5
    if kernel == "relu":
        return u.relu() + RELU_EPS
    raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, not {kernel!r}")


def _seed(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"/".join(parts)).digest()[:8], "little") >> 1


class Performer(FeatureAttention):
    r"""Softmax attention estimated in linear time: $e^{qk/\sqrt d} \approx \phi(q)\cdot\phi(k)$.

    $o_i = \phi(q_i)^\top S_i / \phi(q_i)^\top z_i$ with $S_i = \sum_j \phi(k_j) v_j^\top$ and
    $z_i = \sum_j \phi(k_j)$, j over all keys or, if causal, those up to i; $\phi$ as in `features`
    at $d^{-1/4} q$ and $d^{-1/4} k$. Shapes: q (b, h, n, d), k (b, h, m, d), v (b, h, m, e),
    projection (num_features, d), output (b, h, n, e). Time O(n f (d + e)) with f features.

    In float32 a query finds a denominator of 0 once its features and those of its keys lie
    $e^{73}$ apart, and its row is zeros: at d = 64 half a percent of the rows where scores have a
    standard deviation of 144, a fifth where it is 400. A warning says so once.

    Relative to the paper's code: no exponential can overflow and no constant is added to the
    features. Each row is divided by its own largest feature; the keys' divisors are put back
    relative to their running maximum, so that a causal output does not depend on later keys at all.

    The projection is saved with the weights. It is drawn from a generator of its own, seeded by the
    state of torch's global one, which it leaves as it is; processes that build the model from one
    seed draw the same, now and whenever it is drawn anew.

    Reference: Choromanski et al., Rethinking Attention with Performers, arXiv:2009.14794;
    https://kexue.fm/archives/7921.

    Args:
        head_dim: d, the size of a head.
        num_features: m, the number of random directions; None: ``int(d ln d)`` as in the paper.
            The kernels hyperbolic and trigonometric make two features of each.
        kernel: positive; hyperbolic (half its variance or less); trigonometric (better for small
            scores, useless for large ones, may give negative weights); relu (another kernel).
        orthogonal: directions orthogonal within blocks of d; False: independent.
        scaling: their norms; 0: Gaussian (unbiased), 1: all sqrt(d).
        redraw_interval: training forward passes after which the directions are drawn anew, 1000 as
            in the paper's code; None: never, and torch.compile then sees one graph in training too.
        chunk_size: tokens that are processed at once; it changes speed, not results.
        stabilizer: exact (above), or peer: as other implementations do, where later keys leak.
        eps: added to the features after exp and division by the largest; 0. For parity with
            others: stabilizer=peer, eps=1e-4.

    Raises:
        ValueError: a size below 1, an unknown kernel, scaling or stabilizer, eps below 0, or above
            0 with kernel=relu, stabilizer=peer with another kernel than positive, a bias, or a mask
            other than causal, bidirectional and exclude_self.

    Example:
        >>> import torch
        >>> from suexp.attention import Performer
        >>> from suexp.mask import Causal
        >>> q = k = torch.zeros(1, 1, 3, 2)  # equal scores: means of the values so far
        >>> v = torch.tensor([1.0, 2.0, 6.0]).view(1, 1, 3, 1)
        >>> Performer(head_dim=2, num_features=4)(q, k, v, Causal()).flatten()
        tensor([1.0000, 1.5000, 3.0000])
    """

    directions: ClassVar[str] = "num_features or max(1, int(d * log(d)))"
    features: ClassVar[str] = "directions * (2 if kernel in ('hyperbolic', 'trigonometric') else 1)"
    mapping: ClassVar[str] = "h * (seeing + m) * d * directions"
    fused: ClassVar[str] = "stabilizer == 'exact' and not eps > 0"
    scaled: ClassVar[str] = "stabilizer == 'exact' and kernel != 'relu'"
    mapped: ClassVar[str] = (
        "0 if fused else"
        " directions * d + h * (n + m) * (directions if kernel == 'trigonometric' else f)"
        " + (h * (n + m) * (f + 1) if eps > 0 and scaled and kernel != 'trigonometric' else 0)"
    )

    projection: Tensor

    def __init__(
        self,
        head_dim: int,
        num_features: int | None = None,
        kernel: str = "positive",
        orthogonal: bool = True,
        scaling: int = 0,
        redraw_interval: int | None = 1000,
        chunk_size: int = 32,
        stabilizer: str = "exact",
        eps: float = 0.0,
    ) -> None:
        super().__init__(chunk_size)
        at_least(1, head_dim=head_dim)
        one_of((0, 1), scaling=scaling)
        if num_features is None:
            num_features = max(1, int(head_dim * math.log(head_dim)))
        at_least(1, num_features=num_features)
        if kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, not {kernel!r}")
        if redraw_interval is not None and redraw_interval < 1:
            raise ValueError(
                f"redraw_interval must be at least 1, or null for never, not {redraw_interval}"
            )
        if stabilizer not in STABILIZERS:
            raise ValueError(
                f"stabilizer must be one of {', '.join(STABILIZERS)}, not {stabilizer!r}"
            )
        if stabilizer == "peer" and kernel != "positive":
            raise ValueError(f"stabilizer=peer exists for kernel=positive only, not {kernel}")
        at_least(0, eps=eps)
        if eps and kernel == "relu":
            raise ValueError(f"eps={eps} is added after exp, and kernel=relu has none; set eps=0")
        self.kernel, self.stabilizer, self.eps = kernel, stabilizer, eps
        self.orthogonal, self.scaling = orthogonal, scaling
        self.num_features, self.redraw_interval = num_features, redraw_interval
        self.watches = True
        self.register_buffer("projection", torch.empty(num_features, head_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Take a new seed from the state of torch's generator, and draw the projection."""
        self.seed, self.calls = _seed(torch.get_rng_state().numpy().tobytes()), 0
        self.redraw()

    def redraw(self) -> None:
        """Draw the projection that belongs to this seed and this number of training passes."""
        generator = torch.Generator().manual_seed(_seed(b"%d" % self.seed, b"%d" % self.calls))
        m, d = self.projection.shape
        with torch.no_grad():
            self.projection.copy_(projection(m, d, self.orthogonal, self.scaling, generator))

    def get_extra_state(self) -> Tensor:
        """Return the seed and the number of training passes, for the checkpoint."""
        return torch.tensor([self.seed, self.calls])

    def set_extra_state(self, state: Tensor) -> None:
        """Go on counting where the checkpoint stopped."""
        self.seed, self.calls = state.tolist()

    def train(self, mode: bool = True) -> "Performer":
        """Set the mode; warn where training will be unstable."""
        if mode and self.kernel == "trigonometric":
            warnings.warn(
                "trigonometric features may sum to a denominator near zero or below: they are for "
                "comparison; train with kernel=positive or hyperbolic",
                stacklevel=2,
            )
        return super().train(mode)

    def maps(self, dtype: torch.dtype) -> tuple[FeatureMap, FeatureMap]:
        """Return the maps of queries and of keys for the present projection."""
        if self.training and self.redraw_interval is not None and torch.is_grad_enabled():
            self._count(self.redraw_interval)
        # A product of its own: drawing anew before backward must not change what backward reads.
        scaled = self.projection.to(dtype) * self.projection.shape[1] ** -0.25
        if self.stabilizer == "peer":
            return PeerFeatures(scaled, False, self.eps), PeerFeatures(scaled, True, self.eps)
        return (
            RandomFeatures(scaled, self.kernel, False, self.eps),
            RandomFeatures(scaled, self.kernel, True, self.eps),
        )

    def look(self, out: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Mask) -> None:
        """Warn once of denominators that vanish."""
        # To look at a number while it trains, an accelerator would have to be waited for.
        # A subclass may be without numbers, as where costs are counted.
        looks = self.watches and type(out) is Tensor and (q.is_cpu or not self.training)
        if looks and not torch.compiler.is_compiling() and out.numel() and k.numel():
            self._watch(out, v, self.sees(mask, q.shape[-2], k.shape[-2]))

    def _watch(self, out: Tensor, v: Tensor, sees: Bool[Tensor, "#b n"] | None) -> None:
        """Warn once where queries that see keys get zeros, though no value is zeros."""
        empty = (out == 0).all(-1)
        if sees is not None:
            empty &= sees[:, None].to(out.device)
        if empty.any() and (v != 0).any(-1).all():
            self.watches = False
            warnings.warn(
                "attention=performer: denominators vanish, and rows of zeros come out: the scores "
                "are too large for its features; make queries and keys smaller (a smaller "
                "learning rate or init), or use attention=softmax",
                stacklevel=4,
            )

    @torch.compiler.disable
    def _count(self, interval: int) -> None:
        if self.calls > 0 and self.calls % interval == 0:
            self.redraw()
        self.calls += 1

    def extra_repr(self) -> str:
        """Return what the constructor was given."""
        m, d = self.projection.shape
        return (
            f"head_dim={d}, num_features={m}, kernel={self.kernel}, "
            f"redraw_interval={self.redraw_interval}, {super().extra_repr()}"
        )
