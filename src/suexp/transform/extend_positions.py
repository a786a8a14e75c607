"""Give a trained model with learned positions more of them."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from suexp.position.hierarchical import Hierarchical, check_alpha
from suexp.position.learned import Learned
from suexp.transform.copy import Copy

Table = Float[Tensor, "n c"]
Longer = Float[Tensor, "m c"]
Kind = Literal["hierarchical", "random", "tile", "interpolate", "repeat_last", "fresh"]


def hierarchical(table: Table, length: int, alpha: float) -> Longer:
    r"""Return $q_{in+j} = p_j + \frac{\alpha}{1-\alpha} (p_i - p_0)$, see `Hierarchical`."""
    places = torch.arange(length, device=table.device)
    block, place = places // len(table), places % len(table)
    return table[place] + alpha / (1 - alpha) * (table[block] - table[0])


def random(table: Table, length: int, alpha: float) -> Longer:
    """Return the table, and after it normal rows with its standard deviation."""
    del alpha
    new = torch.randn(length - len(table), table.shape[1], dtype=table.dtype, device=table.device)
    return torch.cat((table, new * table.std()))


def tile(table: Table, length: int, alpha: float) -> Longer:
    """Return the table, again and again."""
    del alpha
    return table[torch.arange(length, device=table.device) % len(table)]


def interpolate(table: Table, length: int, alpha: float) -> Longer:
    """Return the table, stretched: its first and last rows stay at the ends, all others move."""
    del alpha
    stretched = F.interpolate(table.T[None].float(), length, mode="linear", align_corners=True)
    return stretched[0].T.to(table.dtype)


def repeat_last(table: Table, length: int, alpha: float) -> Longer:
    """Return the table, and its last row for all other places."""
    del alpha
    return table[torch.arange(length, device=table.device).clamp(max=len(table) - 1)]


def fresh(table: Table, length: int, alpha: float) -> Longer:
    """Return normal rows with the table's standard deviation, at every place."""
    del alpha
    return torch.randn(length, table.shape[1], dtype=table.dtype, device=table.device) * table.std()


KINDS: dict[str, Callable[[Tensor, int, float], Tensor]] = {
    function.__name__: function
    for function in (hierarchical, random, tile, interpolate, repeat_last, fresh)
}


class ExtendPositions(Copy):
    r"""$\theta_{child} = \theta_{parent}$, but for a table of $N \ge n$ positions made of n.

    The child reads longer texts (``position.max_length`` N) than its parent, whose n learned
    positions become the child's N by ``kind``:

    - ``hierarchical``: $q_{in+j} = p_j + \frac{\alpha}{1-\alpha} (p_i - p_0)$, N up to $n^2$;
    - ``random``: the n, then normal rows of the table's standard deviation;
    - ``tile``: the n, over and over;
    - ``interpolate``: the n, linearly stretched over all places;
    - ``repeat_last``: the n, then the last of them;
    - ``fresh``: normal rows everywhere.

    All but interpolate and fresh leave the first n as they were, and with them what the model makes
    of a short text. With ``position=learned`` the N rows are the child's own to train; with
    ``position=hierarchical`` (of ``base_length`` n) the n stay the parameters and keep the rest in
    line.

    Reference: https://kexue.fm/archives/7947; interpolation as in Dosovitskiy et al.,
    arXiv:2010.11929.

    Args:
        kind: see above.
        alpha: weight of the block in a hierarchical code, in (0, 1) but not 1/2.
        leave_out: names of parts (``classifier``) that stay as the child drew them, see `Copy`.

    Raises:
        ValueError: an unknown kind, an alpha that codes no places, a parent without a table of
            positions, or one that does not fit.
    """

    needs: ClassVar[dict[str, str]] = {
        "parent": "it lengthens another run's table of positions; name it, parent=['seed=1'] say",
        "position=learned or position=hierarchical": "the longer table must go somewhere; use "
        "position=learned or position=hierarchical",
    }

    def __init__(
        self, kind: Kind = "hierarchical", alpha: float = 0.4, leave_out: Sequence[str] = ()
    ) -> None:
        super().__init__(leave_out)
        if kind not in KINDS:
            raise ValueError(f"transform.kind must be one of {', '.join(KINDS)}, not {kind}")
        check_alpha(alpha)
        self.kind, self.alpha = kind, alpha

    @torch.no_grad()
    def apply(self, parent: nn.Module, child: nn.Module) -> None:
        """Copy, with the longer table.

        Raises:
            ValueError: no learned positions on one side, too many asked for, or models that differ.
        """
        table, position = self._table(parent), getattr(child, "position", None)
        if isinstance(position, Hierarchical):
            self._check_shared(position, table)
        elif isinstance(position, Learned):
            table = self._longer(table, len(position.embedding.weight))
        else:
            raise ValueError("the child has no table of positions: use position=learned")
        state = parent.state_dict()
        self.write({**state, "position.embedding.weight": table}, child)

    @staticmethod
    def _table(parent: Any) -> Table:
        position = getattr(parent, "position", None)
        if isinstance(position, Hierarchical):
            raise ValueError(
                "the parent's positions are hierarchical already: set position.max_length up to "
                f"{position.base_length**2} and leave transform=extend_positions out"
            )
        if not isinstance(position, Learned):
            name = type(position).__name__.lower()
            raise ValueError(
                f"no learned position table to extend: the parent has position={name}; "
                "give it position=learned"
            )
        return position.embedding.weight

    def _longer(self, table: Table, length: int) -> Longer:
        reach = len(table)
        if length < reach:
            raise ValueError(
                f"the parent has {reach} positions, the child {length}: set position.max_length to "
                f"{reach} or more"
            )
        if self.kind == "hierarchical" and length > reach**2:
            raise ValueError(
                f"hierarchical positions reach n*n = {reach**2}; asked for position.max_length "
                f"{length}"
            )
        return KINDS[self.kind](table, length, self.alpha)

    def _check_shared(self, position: Hierarchical, table: Table) -> None:
        if self.kind != "hierarchical":
            raise ValueError(
                f"transform.kind={self.kind} makes rows of its own: use position=learned"
            )
        if position.base_length != len(table):
            raise ValueError(
                f"position.base_length is {position.base_length}, the parent has {len(table)} "
                f"positions: set position.base_length={len(table)}"
            )
        if position.alpha != self.alpha:
            raise ValueError(
                f"position.alpha is {position.alpha}, transform.alpha {self.alpha}: set the former"
            )
