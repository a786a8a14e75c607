"""Rotary position embedding."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from suexp.position._angles import angles
from suexp.position.base import Position

_Turn = tuple[Tensor, Tensor]  # cosines and sines


def rotate_neighbours(
    x: Float[Tensor, "b h n d"], cos: Float[Tensor, "*b n half"], sin: Float[Tensor, "*b n half"]
) -> Float[Tensor, "b h n d"]:
    """Rotate the pairs $(x_{2i}, x_{2i+1})$, the paper's convention."""
    pairs = x.view(*x.shape[:-1], x.shape[-1] // 2, 2)
    if torch.compiler.is_compiling() or not _is_complex(pairs):
        a, b = pairs.unbind(-1)
        return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)
    # One complex product instead of six strided passes: five times as fast outside a compiler.
    return torch.view_as_real(torch.view_as_complex(pairs) * torch.complex(cos, sin)).flatten(-2)


def _is_complex(pairs: Tensor) -> bool:
    """Tell whether complex numbers could lie in memory as these pairs do."""
    *outer, inner = pairs.stride()
    return inner == 1 and not any(s % 2 for s in (*outer, pairs.storage_offset()))


def rotate_halves(
    x: Float[Tensor, "b h n d"], cos: Float[Tensor, "*b n half"], sin: Float[Tensor, "*b n half"]
) -> Float[Tensor, "b h n d"]:
    """Rotate the pairs $(x_i, x_{i+d/2})$, the convention of GPT-NeoX and LLaMA checkpoints."""
    swapped = x.roll(x.shape[-1] // 2, dims=-1)
    return torch.addcmul(x * torch.cat((cos, cos), -1), swapped, torch.cat((-sin, sin), -1))


class Rope(Position):
    r"""Rotary positions: $(q_{2i}, q_{2i+1})$ of place t turns by the angle $t\,base^{-2i/d}$.

    As complex numbers, $q_t^{(i)} \mapsto q_t^{(i)} e^{\mathrm{i} t \theta_i}$ and likewise k, so
    $\langle q_m, k_n \rangle = \mathrm{Re} \sum_i q^{(i)} \bar k^{(i)} e^{\mathrm{i}(m-n)\theta_i}$
    depends on the distance m - n only. Shapes: q and k (b, h, n, d). Lengths are kept, there is
    nothing to train, and no longest text. Cosines and sines are in float32 at least;
    those of the last positions tensor are kept, so that all layers share them.

    References: Su et al., RoFormer, arXiv:2104.09864; https://kexue.fm/archives/8265.

    Args:
        head_dim: d, even.
        base: 10000 in the paper.
        interleaved: neighbours make a pair, as in the paper; false: feature i and i + d/2 do, as in
            GPT-NeoX and LLaMA. The two differ by a permutation of the features.
        freq_repeat: r, how many neighbouring pairs turn by one angle, $t\,base^{-2\lfloor i/r
            \rfloor r/d}$; 1 in the paper. A head whose pairs were repeated r times scores exactly
            as the narrow one did (https://kexue.fm/archives/8444, transform=enlarge_width).

    Raises:
        ValueError: an odd head_dim, a base not above 0, or a freq_repeat that does not divide
            head_dim / 2.
    """

    def __init__(
        self,
        head_dim: int,
        base: float = 10000.0,
        interleaved: bool = True,
        freq_repeat: int = 1,
    ) -> None:
        super().__init__()
        if head_dim < 2 or head_dim % 2:
            raise ValueError(
                f"rotations take pairs of features: head_dim must be even, not {head_dim} "
                "(model.dim / model.num_heads)"
            )
        if base <= 0:
            raise ValueError(f"base must be above 0, not {base}")
        if freq_repeat < 1 or head_dim % (2 * freq_repeat):
            raise ValueError(
                f"freq_repeat {freq_repeat} must divide the {head_dim // 2} pairs of head_dim "
                f"{head_dim}"
            )
        self.head_dim = head_dim
        self.base = base
        self.interleaved = interleaved
        self.freq_repeat = freq_repeat
        self._table: tuple[Tensor, _Turn, _Turn] | None = None

    def _cos_sin(self, positions: Tensor, is_key: bool, real: torch.dtype) -> _Turn:
        if (
            self._table is None
            or self._table[0] is not positions
            or self._table[1][0].dtype != real
        ):
            # A table first made in a validation step (inference mode) must serve training too.
            with torch.inference_mode(False), torch.no_grad():
                self._table = (positions, *self._turns(positions, real))
        _, query, key = self._table
        return key if is_key else query

    def _turns(self, positions: Tensor, real: torch.dtype) -> tuple[_Turn, _Turn]:
        """Return cosines and sines for queries, and for keys."""
        angle = angles(positions, self.head_dim // self.freq_repeat, self.base)
        if self.freq_repeat > 1:
            angle = angle.repeat_interleave(self.freq_repeat, dim=-1)
        if positions.ndim > 1:
            angle = angle.unsqueeze(-3)  # the same for every head
        turn = (angle.cos().to(real), angle.sin().to(real))
        return turn, turn

    def rotate(
        self, x: Float[Tensor, "b h n d"], positions: Int[Tensor, "*b n"], is_key: bool = False
    ) -> Float[Tensor, "b h n d"]:
        """Turn each pair of features by its place's angle."""
        # Half precision has no complex numbers, and too few digits for the angles' cosines.
        real = torch.promote_types(x.dtype, torch.float32)
        cos, sin = self._cos_sin(positions, is_key, real)
        turn = rotate_neighbours if self.interleaved else rotate_halves
        return turn(x.to(real), cos, sin).to(x.dtype)
