"""Low-rank adaptation in the network: factors beside frozen matrices."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from suexp.errors import one_of
from suexp.method.base import Method
from suexp.nn.linear import Linear
from suexp.nn.low_rank import Law, LowRank, Start, Variant, check_low_rank

if TYPE_CHECKING:
    from suexp.task.base import Task

Order = Literal["factored", "merged"]


class LoRA(Method):
    r"""$y = W x + s\,U(D x)$ in chosen linear layers, W frozen and U D of rank r.

    Gradients and the optimizer's state shrink from m n to r (m + n) numbers for a matrix (m, n).
    ``product_order=factored`` never forms the gradient of W; ``merged``, $y = (W + s U D) x$,
    does, and costs more than to train W itself. With ``init=symmetric`` neither factor is 0, and W
    begins as $W_0 - s U_0 D_0$: the network begins as its parent in any case. A run that starts
    from this one finds the factors merged into W. `suexp.optimizer.lora` does the same and leaves
    the network as it is. Shapes: x (..., n), y (..., m); see `suexp.nn.low_rank`.

    Post: https://kexue.fm/archives/9590. Paper: Hu et al., LoRA, arXiv:2106.09685.

    Args:
        rank: r; 8 as peft.
        alpha: s = alpha / rank; None: s = 1.
        targets: regular expression; the linear layers whose names it matches from their start
            (``blocks``: all of a transformer's layers; ``.*\.qkv``). Queries, keys and values are
            one matrix, as in GPT-2.
        train: regular expression; parameters whose names it matches from their start are trained
            whole (``classifier``, ``.*bias``); None: none.
        init: which factor is 0: ``b_zero`` as in the paper, ``a_zero``, ``symmetric`` (none), or
            ``both_zero``.
        init_law: ``gaussian``, or ``peft``'s uniform one.
        dropout: of what the factors read.
        variant: ``product``, or ``additive``: see `suexp.nn.low_rank`.
        product_order: ``factored`` or ``merged``.
        allow_stationary: let both factors be 0, which then never move.
        seed: of the factors' start.

    Raises:
        ValueError: a value out of range; when attached, names that match nothing, a rank that does
            not fit, or dropout with merged weights.
    """

    order: ClassVar[int] = -2  # the layers themselves, before anything is wrapped around them
    needs: ClassVar[dict[str, str]] = {
        "layers if targets=blocks|layers": "it adapts the matrices of blocks; use "
        "model=transformer, or method.lora.targets=classifier, say"
    }
    refuses: ClassVar[dict[str, str]] = {
        "adversarial": "it adapts one network, and there are two; leave it out",
        "optimizer=lora": "low-rank twice: choose the network or the optimizer form",
        "model=encoder_decoder": "its cross attention multiplies by parts of a matrix, beside the "
        "layer; use model=transformer with mask=prefix, or optimizer=lora",
        "trainer=fsdp": "the factors stand outside the sharded network; use trainer=ddp",
        "method=theseus": "it computes layers of another network; adapt in a run that starts from "
        "the finished one",
    }

    def __init__(
        self,
        rank: int = 8,
        alpha: float | int | None = None,
        targets: str = "blocks|layers",
        train: str | None = None,
        init: Start = "b_zero",
        init_law: Law = "gaussian",
        dropout: float | int = 0.0,
        variant: Variant = "product",
        product_order: Order = "factored",
        allow_stationary: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_low_rank(rank, init, init_law, variant, allow_stationary)
        one_of(get_args(Order), product_order=product_order)
        if not 0 <= dropout < 1:
            raise ValueError(f"method.lora.dropout must lie in [0, 1), not {dropout}")
        if dropout and product_order == "merged":
            raise ValueError("method.lora.dropout needs product_order=factored")
        try:
            self.targets = re.compile(targets)
            self.train_too = None if train is None else re.compile(train)
        except re.error as error:
            raise ValueError(f"method.lora: targets or train: {error}") from error
        self._make = functools.partial(
            LowRank,
            rank=rank,
            alpha=alpha,
            init=init,
            law=init_law,
            variant=variant,
            seed=seed,
        )
        self.begins_apart = init == "symmetric" or variant == "additive"
        self.merged_order = product_order == "merged"
        self.dropout = nn.Dropout(dropout)
        self.factors = nn.ModuleList()
        self._layers: list[nn.Linear] = []
        self._undo: list[Callable[[], Any]] = []

    def attach(self, task: "Task") -> None:
        """Freeze the model and stand factors beside its layers.

        Raises:
            ValueError: nothing matches, or the rank does not fit.
        """
        linear = {n: m for n, m in task.model.named_modules() if isinstance(m, nn.Linear)}
        chosen = {name: layer for name, layer in linear.items() if self.targets.match(name)}
        if not chosen:
            raise ValueError(
                f"method.lora.targets={self.targets.pattern!r} matches no linear layer; they are "
                f"{', '.join(list(linear)[:12]) or 'none'}"
            )
        for name, parameter in task.model.named_parameters():
            whole = self.train_too is not None and self.train_too.match(name)
            parameter.requires_grad_(bool(whole))
        for name, layer in chosen.items():
            layer.weight.requires_grad_(False)
            factors = self._make(layer.weight, name=name)
            self.factors.append(factors)
            self._layers.append(layer)
            self._undo.append(self._join(layer, factors))

    def _join(self, layer: nn.Linear, factors: LowRank) -> Callable[[], Any]:
        """Let a layer compute with its factors; return what ends that."""
        if self.merged_order:
            if not isinstance(layer, Linear):
                raise ValueError(
                    "method.lora.product_order=merged needs layers of suexp.nn.linear; set "
                    "method.lora.product_order=factored"
                )

            def whole(x: Tensor) -> Tensor:
                return layer.by(x, layer.weight + factors.delta())

            layer.forward = whole  # type: ignore[method-assign]
            return lambda: layer.__dict__.pop("forward", None)

        def add(_: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> Tensor:
            change: Tensor = factors(self.dropout(args[0]))
            return y + change.to(y.dtype)

        return layer.register_forward_hook(add).remove

    @torch.no_grad()
    def adopt(self, task: "Task", origins: "Mapping[str, Task]") -> None:
        """Take what the factors begin with off the weights, where it is not 0."""
        del task, origins
        if self.begins_apart:
            self._add(-1)

    @torch.no_grad()
    def fold(self, task: "Task") -> None:
        """Merge the factors into the weights, and leave the network as it was built."""
        del task
        self._add(1)
        for undo in self._undo:
            undo()
        self._undo.clear()
        self._layers.clear()
        self.factors = nn.ModuleList()

    def _add(self, sign: int) -> None:
        for layer, factors in zip(self._layers, self.factors, strict=True):
            change: Tensor = factors.delta()  # type: ignore[operator]
            layer.weight += (sign * change).to(layer.weight.dtype)
