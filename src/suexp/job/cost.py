"""What a run costs, so that better is not just bigger."""

import contextlib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from suexp.job.batches import Loading
from suexp.nn.flops import ByFormula, counted
from suexp.nn.linear import exact_products
from suexp.task.base import Task

KINDS = 32  # of steps that are rehearsed at most: the others cost about as much


class Memory:
    """Peak memory since construction, beyond what the process held then.

    On a GPU the allocator's peak; on Linux the peak resident set, reset through /proc; elsewhere
    unknown.
    """

    def __init__(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        self._before = _status("VmRSS")

    def peak(self) -> int | None:
        """Return bytes."""
        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated()
        now = _status("VmHWM")
        return None if now is None or self._before is None else max(now - self._before, 0)


def _status(field: str) -> int | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return None


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of an optimizer's state tensors, step counters left out.

    One that steps on factors of its own (optimizer=lora) keeps these, and what steps on them.
    """
    inner = getattr(optimizer, "inner", optimizer)
    kept = [value for state in inner.state.values() for value in state.values()]
    kept += [p for made in getattr(optimizer, "factors", {}).values() for p in made.parameters()]
    kept += getattr(optimizer, "bases", {}).values()
    return sum(
        value.numel() * value.element_size()
        for value in kept
        if isinstance(value, torch.Tensor) and value.dim() > 0
    )


def of_model(task: Task, loading: Loading, trainer: pl.Trainer) -> dict[str, Any]:
    """Return the number of parameters and the floating-point operations of one training step.

    Counted on the batches of one step, forward and backward, methods included, with attention in
    its plain form (see `suexp.nn.flops`), times the processes; where a method makes steps of
    different costs (`Method.alike`), it is their mean. A product is one by whatever arithmetic. A
    loss's own parameters count, too; ``parameters/trainable`` are those that are not frozen.

    The rest is of a batch without methods: ``forward_flops/{part}`` are the forward pass's by
    formula, ``attention_saved_bytes`` what the attentions then keep for the backward pass beside
    queries, keys, values and output, and ``attention_state_bytes`` what they would keep of the
    batch's texts to decode on.

    Args:
        task: what was trained.
        loading: its batches.
        trainer: what trained it.
    """
    loading.sampler.rewind()  # a resumed run stands elsewhere, where a batch may have another size
    batch = task.received(next(iter(loading.train_dataloader())))
    precision, formula = trainer.precision_plugin, ByFormula(task.model)
    kinds: dict[Hashable, list[int]] = {}
    for step in range(max(trainer.global_step, 1)):
        kinds.setdefault(task.kind_of_step(batch, step), []).append(step)
    common = sorted(kinds.values(), key=len, reverse=True)[:KINDS]
    flops, batches = 0, task.batches_per_step  # all of one size
    with torch.random.fork_rng(), torch.enable_grad(), precision.tensor_init_context():
        for same in common:
            with exact_products(task), counted() as counter:
                task.rehearse(batch, same[0])
            flops += len(same) * counter.get_total_flops()
        with exact_products(task), task.without_methods(), formula:
            task.rehearse(batch)
    parameters = [parameter for module in task.trained for parameter in module.parameters()]
    return {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "parameters/trainable": sum(p.numel() for p in parameters if p.requires_grad),
        "flops_per_step": round(_passes(trainer) * flops / sum(map(len, common))),
        **{f"forward_flops/{part}": flops // batches for part, flops in formula.flops.items()},
        **(
            {
                "attention_saved_bytes": formula.saved_bytes // batches,
                "attention_state_bytes": formula.state_bytes // batches,
            }
            if "attention" in formula.flops
            else {}
        ),
    }


def _passes(trainer: pl.Trainer) -> float:
    """Return how often a step's batch passes forward and backward, in all processes together."""
    counts = [getattr(optimizer, "evaluations", 0) for optimizer in trainer.optimizers]
    searched = sum(counts) / trainer.global_step if any(counts) else 1
    return searched * trainer.world_size
