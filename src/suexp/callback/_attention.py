"""What callbacks need that look at attention: its calls, its weights, a pass over texts."""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.attention.base import Attention, precision
from suexp.errors import UserError


def attentions(module: nn.Module, callback: str) -> list[Attention]:
    """Return a model's attentions, those of an encoder first.

    Raises:
        UserError: it has none; ``callback`` is who asks.
    """
    found = [part for part in module.modules() if isinstance(part, Attention)]
    if not found:
        raise UserError(f"callback={callback}: the model has no attention; leave it out")
    return found


@torch.no_grad()
def read(trainer: pl.Trainer, task: Any, batches: int, texts: slice) -> None:
    """Let a task read these texts of its first validation batches, without dropout.

    What is random in it, as the masks of masked_lm are, falls alike on every model.
    """
    loader = trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
    devices = [task.device] if task.device.type == "cuda" else []
    plugin: Any = trainer.precision_plugin
    training = task.training
    task.eval()
    try:
        with torch.random.fork_rng(devices):
            torch.manual_seed(0)
            for batch in itertools.islice(loader, batches):
                rows = task.received({name: column[texts] for name, column in batch.items()})
                with plugin.val_step_context():
                    task.objective(rows)
    finally:
        task.train(training)


@contextmanager
def observed(
    layers: Sequence[Attention], look: Callable[[int, Attention, dict[str, Any]], None]
) -> Iterator[None]:
    """Show what attentions are called with in here.

    Args:
        layers: the attentions.
        look: is given a layer's number, its module, and ``q, k, mask`` and what else it was called
            with but the values; q and k as the scores need them, without autocast or gradients.
    """

    def hook(layer: int, module: Any, args: Any, kwargs: Any, out: Any) -> None:
        del out
        call = dict(inspect.signature(module.forward).bind(*args, **kwargs).arguments)
        del call["v"]
        call |= {name: call[name].to(precision(call[name])) for name in ("q", "k")}
        with torch.no_grad(), torch.autocast(call["q"].device.type, enabled=False):
            look(layer, module, call)

    hooks = [
        module.register_forward_hook(functools.partial(hook, layer), with_kwargs=True)
        for layer, module in enumerate(layers)
    ]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def weights_of(attention: Any, call: dict[str, Any]) -> Float[Tensor, "b h n m"]:
    """Return the weights of a call, all at least 0, each row's sum 1, or 0 where nothing is seen.

    Explicit weights are the attention's own. Any other answers with its weights when it is asked
    for values that are the identity.
    """
    if hasattr(attention, "weights"):
        weights = attention.weights(**call)
    else:
        k = call["k"]
        eye = torch.eye(k.shape[-2], dtype=k.dtype, device=k.device)
        weights = attention.forward(v=eye.expand(*k.shape[:2], -1, -1), **call)
    weights = weights.clamp(min=0)
    total = weights.sum(-1, keepdim=True)
    return weights / torch.where(total == 0, 1, total)
