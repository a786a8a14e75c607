"""A run's task: built of its config, and given the weights that it starts from."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch

from suexp.alter._altered import Altered
from suexp.code.instantiate import guarded, instantiate, partial
from suexp.data.base import Data
from suexp.errors import UserError
from suexp.origins import PARENT
from suexp.store.folder import Run
from suexp.task.base import Task
from suexp.task.recorded import Recorded
from suexp.tensors import first_with
from suexp.transform.base import Transform, mismatch
from suexp.transform.copy import Copy


def data_of(config: dict[str, Any], origins: Mapping[str, Task] | None = None) -> Data:
    """Return a run's data set, with what is done to its rows.

    Args:
        config: the run's, resolved.
        origins: the runs that it needs, trained, by name (see `Data.adopt`).

    Raises:
        UserError: one of them refuses its arguments, or the runs that the rows are made by.
    """
    allow = config["allow_targets"]
    data: Data = instantiate(config["data"], allow)
    if origins is not None:
        data.adopt(origins)
    alters = [instantiate(node, allow) for node in (config.get("alter") or {}).values()]
    return Altered(data, alters) if alters else data


def build(config: dict[str, Any], data: Data) -> Recorded:
    """Return the LightningModule of a resolved config.

    Raises:
        UserError: a component refuses its arguments.
    """
    allow = config["allow_targets"]
    task = partial(config["task"], allow)
    kind: Any = task.func
    if not issubclass(kind, Task):  # an estimation: nothing is trained
        if "model" in inspect.signature(kind).parameters and "model" not in config["task"]:
            return guarded(task, model=partial(config["model"], allow))  # to build as it likes
        return guarded(task)
    loss, optimizer = _chosen(config, "loss"), _chosen(config, "optimizer")
    scheduler = _chosen(config, "scheduler")
    built: Task = guarded(
        task,
        model=instantiate(config["model"], allow, **kind.model_sizes(data)),
        loss=loss and instantiate(loss, allow, **kind.loss_sizes(data)),
        optimizer=optimizer and partial(optimizer, allow),
        scheduler=scheduler and partial(scheduler, allow),
        data=data,
    )
    if node := config.get("arithmetic"):
        guarded(functools.partial(instantiate(node, allow).attach, built.model))
    methods = [instantiate(node, allow) for node in (config.get("method") or {}).values()]
    guarded(functools.partial(built.wrap, methods))
    if str((config.get("trainer") or {}).get("precision", "")).startswith("64"):
        built.double()  # Lightning would do so after a checkpoint has been read into float32
    return built


def _chosen(config: dict[str, Any], group: str) -> dict[str, Any] | None:
    """Return the option of a group; None where the task takes nothing of it.

    What an experiment sets for all arms stays behind there.
    """
    node: dict[str, Any] = config.get(group) or {}
    return node if "_target_" in node else None


def trained(run: Run) -> Task:
    """Return the task of a finished run with its weights, what methods learned folded into them.

    Raises:
        UserError: weights from which nothing can start.
    """
    summary = run.summary()
    if summary is not None and summary.diverged_at is not None:
        at = summary.diverged_at
        raise UserError(f"run {run.id} diverged at step {at}: nothing can start from its weights")
    makers = instantiate(run.config["data"], run.config["allow_targets"]).origins()
    origins = {name: trained(Run(run.spec.origins[name])) for name in makers}
    task = build(run.config, data_of(run.config, origins))
    path = run.checkpoints()[0]
    state = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
    if name := first_with(torch.isnan, state):
        raise UserError(f"{path}: {name} holds nan, so nothing can start from the run's weights")
    task.load_state_dict(state)
    assert isinstance(task, Task)
    try:
        for method in reversed(task.methods):
            method.fold(task)  # type: ignore[operator]
    except ValueError as error:
        raise UserError(str(error)) from error
    return task


def begin(task: Task, config: dict[str, Any], origins: Mapping[str, Task]) -> None:
    """Give a task the weights that it starts from; without parent and transform, its own.

    A loss that has the same parameters as the parent's goes on from them, another begins anew.
    """
    node = config.get("transform")
    origin = origins.get(PARENT)
    if origin is not None and origin.loss is not None and task.loss is not None:
        weights = origin.loss.state_dict()
        if mismatch(weights, task.loss.state_dict()) is None:
            task.loss.load_state_dict(weights)
    transform: Transform | None = None
    if node is not None:
        transform = instantiate(node, config["allow_targets"])
    elif origin is not None:
        transform = Copy()
    try:
        if transform is not None:
            task.final |= transform.start(task, origin) or {}
        for method in task.methods:
            method.adopt(task, origins)  # type: ignore[operator]
    except ValueError as error:
        raise UserError(str(error)) from error
