"""A Transformer layer with one attention or another, timed part by part."""

import contextlib
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from suexp.attention.base import Attention, Carried
from suexp.mask.base import Mask
from suexp.nn.flops import counted
from suexp.nn.saved import SavedBytes
from suexp.task._clock import shortest_seconds
from suexp.task._peak import peak_bytes


class PassThrough(Attention):
    r"""$o_i = v_i$: an attention that costs nothing, the bound of what a faster one can save."""

    costs: ClassVar[dict[str, str]] = {"values": "0"}
    saved: ClassVar[str] = "0"
    state: ClassVar[str] = "0"

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Mask, bias: Tensor | None = None
    ) -> Tensor:
        """Return the values."""
        del q, k, mask, bias
        return v


class OutOfMemoryError(Exception):
    """A layer does not fit at a length."""


class Bench:
    """One layer for each core; what it measures is a plain number, so that it may work elsewhere.

    Args:
        model: makes the Transformer, given ``vocab_size``, ``num_layers`` and ``attention``.
        cores: the attentions by name.
        batch_size: texts at once.
        backward: whether a pass is forward and backward.
        warmup: passes before those that are timed.
        least: seconds that the passes of one measurement take together at least.
        device: where.
        autocast: type of mixed precision; None: none.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        cores: Mapping[str, Attention],
        batch_size: int,
        backward: bool,
        warmup: int,
        least: float,
        device: torch.device,
        autocast: torch.dtype | None,
    ) -> None:
        self.batch_size, self.backward = batch_size, backward
        self.warmup, self.least = warmup, least
        self.device, self.autocast = device, autocast
        self.models = {
            name: model(vocab_size=1, num_layers=1, attention=core) for name, core in cores.items()
        }
        if device.type != "cpu":
            for network in self.models.values():
                network.to(device)

    def seconds(self, core: str, n: int) -> dict[str, float]:
        """Return the shortest pass of the layer and of each of its parts.

        Raises:
            OutOfMemoryError: the layer does not fit.
        """
        with _memory_counts():
            found = {}
            for part, call in self._parts(core, n).items():
                for _ in range(self.warmup):
                    call()
                found[part] = shortest_seconds(call, self.device, self.least)
            return found

    def flops(self, core: str, n: int) -> int:
        """Return the operations of the layer's forward pass that the counter sees."""
        with _memory_counts(), torch.no_grad(), counted() as counter:
            self._layer(core, n)()
        return counter.get_total_flops()

    def saved_bytes(self, core: str, n: int) -> int:
        """Return the bytes that wait for the layer's backward pass, its input included."""
        parameters = list(self.models[core].parameters())
        with _memory_counts(), torch.enable_grad(), SavedBytes(parameters) as meter:
            out = self._layer(core, n, grad=True)()
            held = meter.live
        del out
        return held

    def peak_bytes(self, core: str, n: int) -> int:
        """Return the most bytes that one pass of the layer holds beyond its input and weights."""
        with _memory_counts():
            return peak_bytes(self._parts(core, n)["layer"], self.device)

    def _input(self, core: str, n: int, grad: bool = False) -> Tensor:
        shape = (self.batch_size, n, self.models[core].dim)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(n))
        return x.to(self.device).requires_grad_(grad)

    def _layer(self, core: str, n: int, grad: bool = False) -> Callable[[], Tensor]:
        model, x = self.models[core], self._input(core, n, grad)
        relation = _relation(model, n, self.device)
        return lambda: self._cast(model.blocks[0], x, model.mask, *_fresh(relation))

    def _cast(self, call: Callable[..., Tensor], *arguments: Any, **named: Any) -> Tensor:
        if self.autocast is None:
            return call(*arguments, **named)
        with torch.autocast(self.device.type, self.autocast):
            return call(*arguments, **named)

    def _parts(self, core: str, n: int) -> dict[str, Callable[[], None]]:
        """Return a pass of the layer, its attention, the attention's core and the feed-forward."""
        model, x = self.models[core], self._input(core, n, self.backward)
        block, relation = model.blocks[0], _relation(model, n, self.device)
        seen: list[tuple[Any, Any]] = []
        hook = block.attention.attention.register_forward_pre_hook(
            lambda _, arguments, named: seen.append((arguments, named)), with_kwargs=True
        )
        with torch.no_grad():
            self._cast(block.attention, x, model.mask, *_fresh(relation))
        hook.remove()
        (inputs, named), shell = seen[0], (model.mask,)
        parts: dict[str, tuple[nn.Module, tuple[Any, ...], Any]] = {
            "layer": (block, (x, *shell, *relation), {}),
            "attention": (block.attention, (x, *shell, *relation), {}),
            "core": (block.attention.attention, inputs, named),
            "ffn": (block.feed_forward, (x,), {}),
        }
        return {
            part: functools.partial(self._pass, *what)
            for part, what in parts.items()
            if part != "core" or not isinstance(what[0], PassThrough)
        }

    def _pass(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        inputs, (extra,) = _fresh(inputs), _fresh((named,))
        if not self.backward:
            with torch.no_grad():
                self._cast(module, *inputs, **extra)
            return
        tensors = [x for x in inputs if isinstance(x, Tensor) and x.is_floating_point()]
        leaves = [x.detach().requires_grad_() for x in tensors]
        inputs = tuple(_swap(x, tensors, leaves) for x in inputs)
        weights = [w for w in module.parameters() if w.requires_grad]
        with torch.enable_grad():
            out = self._cast(module, *inputs, **extra)
            torch.autograd.grad(out, [*leaves, *weights], torch.ones_like(out), allow_unused=True)


def crossing(lengths: list[int], ratios: list[float]) -> float:
    """Return where a ratio that grows with the length passes 1 for good, by straight lines.

    Beyond the lengths the nearest line goes on; it is infinite where that line does not rise.
    """
    points = [(n, r) for n, r in zip(lengths, ratios, strict=True) if math.isfinite(r)]
    if len(points) < 2:
        return math.nan
    last_below = max((i for i, (_, r) in enumerate(points) if r <= 1), default=0)
    (n0, r0), (n1, r1) = points[min(last_below, len(points) - 2) :][:2]
    return n0 + (1 - r0) * (n1 - n0) / (r1 - r0) if r1 > r0 else math.inf


def _relation(model: Any, n: int, device: torch.device) -> tuple[Any, ...]:
    places = torch.arange(n, device=device)
    return tuple(model.relate(places, places))


def _fresh(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values with nothing carried from earlier layers."""

    def anew(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: anew(item) for key, item in value.items()}
        return Carried() if isinstance(value, Carried) else value

    return tuple(map(anew, values))


def _swap(value: Any, old: list[Tensor], new: list[Tensor]) -> Any:
    return next((b for a, b in zip(old, new, strict=True) if a is value), value)


@contextlib.contextmanager
def _memory_counts() -> Any:
    """Tell a lack of memory from other errors, on every device."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(str(error)) from None
    except RuntimeError as error:
        if "allocate memory" not in str(error) and "out of memory" not in str(error):
            raise
        raise OutOfMemoryError(str(error)) from None
