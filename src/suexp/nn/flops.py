"""Counting the floating-point operations of a computation while it runs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from suexp.attention.base import Attention
from suexp.costs import Sizes, formulas_of
from suexp.errors import UserError
from suexp.mask.causal import Causal
from suexp.nn.feed_forward import FeedForward
from suexp.nn.multi_head import MultiHeadAttention


def _product(
    total: Sequence[int], a: Sequence[int], b: Sequence[int], *_: object, **__: object
) -> int:
    del total
    count = 2 * b[-1]
    for size in a:
        count *= size
    return count


class _Whole:
    """Stands in for torch's account of modules, whose hooks fail on leaves in `autograd.grad`."""

    parents: ClassVar[set[str]] = {"Global"}

    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...


@contextmanager
def counted() -> Iterator[FlopCounterMode]:
    """Count the products of matrices inside, two operations for each multiply-add.

    Attention takes its plain form meanwhile: torch's counter does not see inside the fused kernel
    of a CPU. Products that are added in place, as our linear attention does, count too; torch's own
    list lacks them.
    """
    aten = torch.ops.aten
    counter = FlopCounterMode(
        display=False, custom_mapping={aten.baddbmm_: _product, aten.addmm_: _product}
    )
    counter.mod_tracker = _Whole()  # type: ignore[assignment]
    with sdpa_kernel(SDPBackend.MATH), counter:
        yield counter


class ByFormula(TorchFunctionMode):
    """The operations of a model's forward passes inside, part by part, from the shapes alone.

    Parts are the attentions (by the formulas of `suexp.costs`), their projections, the feed-forward
    layers, the products with an embedding, and other linear layers.

    Args:
        model: whose passes they are.

    Attributes:
        flops: part -> operations; of a sharded model, those of the attentions alone.
        saved_bytes: what the attentions keep for the backward pass beside q, k, v and the output.
        state_bytes: what they keep of these texts when they decode.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.flops: dict[str, int] = {}
        self.saved_bytes = self.state_bytes = 0
        self._parts = _owners(model)
        self._cores = [module for module in model.modules() if isinstance(module, Attention)]
        self._hooks: list[Any] = []

    def __enter__(self) -> "ByFormula":
        for core in self._cores:
            hook = core.register_forward_hook(self._core, with_kwargs=True)
            self._hooks.append(hook)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        while self._hooks:
            self._hooks.pop().remove()

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count a linear map; let everything pass."""
        out = func(*args, **(kwargs or {}))
        if func is F.linear:
            x, weight = args[0], args[1] if len(args) > 1 else (kwargs or {})["weight"]
            part = self._parts.get(weight.untyped_storage().data_ptr())
            if part is not None:
                self._add(part, 2 * x.numel() * weight.shape[0])
        return out

    def _core(self, core: Attention, args: Any, named: Mapping[str, Any], out: Any) -> None:
        del out
        given = dict(zip(("q", "k", "v", "mask"), args, strict=False)) | dict(named)
        q, k, v, mask = (given[name] for name in ("q", "k", "v", "mask"))
        (b, h, n, d), m, e = q.shape, k.shape[-2], v.shape[-1]
        sizes = Sizes(n, m, h, d, e, mask.find(Causal) is not None)
        try:
            formulas = formulas_of(core)
        except UserError:  # somebody's own, without formulas
            return
        self._add("attention", b * sum(formulas.flops(sizes).values()))
        self.saved_bytes += b * formulas.saved_size(sizes) * q.element_size() if core.saved else 0
        self.state_bytes += b * formulas.state_size(sizes) * q.element_size()

    def _add(self, part: str, flops: int) -> None:
        self.flops[part] = self.flops.get(part, 0) + flops


def _owners(model: nn.Module) -> dict[int, str]:
    """Return storage -> part for every matrix of the model that is not sharded."""
    found: dict[int, str] = {}
    for module in model.modules():
        part = next(
            (
                name
                for kind, name in (
                    (MultiHeadAttention, "projections"),
                    (FeedForward, "ffn"),
                    (nn.Embedding, "vocabulary"),
                )
                if isinstance(module, kind)
            ),
            "linear",
        )
        for weight in module.parameters(
            recurse=isinstance(module, MultiHeadAttention | FeedForward)
        ):
            if weight.ndim == 2 and not hasattr(weight, "to_local"):
                key = weight.untyped_storage().data_ptr()
                if key and (part != "linear" or key not in found):
                    found[key] = part
    return found
