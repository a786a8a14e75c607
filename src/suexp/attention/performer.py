"""Attention by positive random features (https://kexue.fm/archives/7921, arXiv:2009.14794)."""

import torch
from jaxtyping import Float
from torch import Tensor

KERNELS = ("positive", "hyperbolic", "trigonometric", "relu")
RELU_EPS = 1e-3


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
    if num_features < 1 or head_dim < 1:
        raise ValueError(
            f"num_features and head_dim must be at least 1, not {num_features} and {head_dim}"
        )
    if scaling not in (0, 1):
        raise ValueError(f"scaling must be 0 (Gaussian norms) or 1 (all sqrt(d)), not {scaling}")
    size = (num_features, head_dim)
    if not orthogonal:
        return torch.randn(size, dtype=torch.float64, generator=generator).to(dtype)
    rows = orthogonal_gaussian(num_features, head_dim, generator)
    if scaling == 1:
        return (rows * head_dim**0.5).to(dtype)
    fresh = torch.randn(size, dtype=torch.float64, generator=generator)
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
