"""What a query may look at, as an object that attention can use in its fastest form."""

import re
from typing import ClassVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from suexp.component import Component


class Mask(Component):
    """A rule over (query position, key position); rules compose with ``&``.

    Attention asks for the form it can use fast: whether a part of some kind is there (`find`,
    `is_only`), or the dense table (`dense`), which is built once per mask object and size. The last
    query always stands at the last key's position, so that the same mask serves a whole sequence
    (n = m) and decoding with a cache (n < m); with n > m the first queries stand before all keys.
    """

    _dense: tuple[tuple[int, int, torch.device], Tensor | None] | None = None

    #: Why a text under this mask cannot grow token by token; None where it can.
    undecodable: ClassVar[str | None] = None

    def allowed(
        self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]
    ) -> Bool[Tensor, "*batch n m"] | None:
        """Return True where the query may look at the key; None when every key may be seen."""
        raise NotImplementedError

    def bind(self, **facts: Tensor) -> "Mask":
        """Return the mask of one batch, given facts that only the batch knows (see the options)."""
        del facts
        return self

    def select(self, rows: Int[Tensor, " r"]) -> "Mask":
        """Return the mask of these texts of the bound batch, which may repeat."""
        del rows
        return self

    def check_decoding(self) -> None:
        """Refuse to decode token by token from a cache where later tokens change earlier ones.

        Raises:
            ValueError: some query sees keys after it.
        """
        for part in self.parts:
            if part.undecodable:
                name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(part).__name__).lower()
                raise ValueError(
                    f"mask={name} cannot decode from a cache: "
                    f"{part.undecodable}; use mask=causal or mask=prefix"
                )

    @property
    def parts(self) -> "tuple[Mask, ...]":
        """The rules that are combined; a single rule is its own only part."""
        return (self,)

    def __and__(self, other: "Mask") -> "Mask":
        return Intersection(*self.parts, *other.parts)

    def find(self, kind: "type[Mask]") -> "Mask | None":
        """Return the part of this kind, if there is one."""
        return next((part for part in self.parts if isinstance(part, kind)), None)

    def is_only(self, *kinds: "type[Mask]") -> bool:
        """Tell whether every part is of one of these kinds."""
        return all(isinstance(part, kinds) for part in self.parts)

    def dense(
        self, n: int, m: int, device: torch.device | str = "cpu"
    ) -> Bool[Tensor, "*batch n m"] | None:
        """Return the table of n queries by m keys, True where looking is allowed, or None for all.

        Masks that depend on the batch give (B, 1, n, m), so that the table broadcasts over heads.
        """
        size = (n, m, torch.device(device))
        if self._dense is None or self._dense[0] != size:
            # A table made while evaluating must serve training too, hence no inference tensor.
            with torch.inference_mode(False):
                self._dense = (size, self._table(n, m, device))
        return self._dense[1]

    def _table(
        self, n: int, m: int, device: torch.device | str
    ) -> Bool[Tensor, "*batch n m"] | None:
        query = torch.arange(m - n, m, device=device)
        return self.allowed(query[:, None], torch.arange(m, device=device)[None, :])


class Intersection(Mask):
    """Several rules at once: a key is visible when every rule allows it."""

    def __init__(self, *parts: Mask) -> None:
        self._parts = parts

    @property
    def parts(self) -> tuple[Mask, ...]:
        """The rules that are combined."""
        return self._parts

    def bind(self, **facts: Tensor) -> Mask:
        """Bind every part."""
        return Intersection(*(part.bind(**facts) for part in self._parts))

    def select(self, rows: Int[Tensor, " r"]) -> Mask:
        """Select in every part."""
        return Intersection(*(part.select(rows) for part in self._parts))

    def allowed(
        self, query: Int[Tensor, "n 1"], key: Int[Tensor, "1 m"]
    ) -> Bool[Tensor, "*batch n m"] | None:
        """Return the conjunction of all parts."""
        return _conjunction([part.allowed(query, key) for part in self._parts])

    def _table(
        self, n: int, m: int, device: torch.device | str
    ) -> Bool[Tensor, "*batch n m"] | None:
        # Parts that outlive a batch keep their tables; only the conjunction is made anew.
        tables = [part.dense(n, m, device) for part in self._parts]
        return _conjunction(tables)


def _conjunction(tables: list[Tensor | None]) -> Tensor | None:
    result: Tensor | None = None
    for table in tables:
        if table is not None:
            result = table if result is None else result & table
    return result
