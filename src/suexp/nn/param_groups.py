"""Parameters in groups by what they are, so that optimizers can treat each kind in its own way."""

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

KINDS = ("matrix", "embedding", "gain", "bias")

# Kinds that decay would only pull away from their neutral value, and never regularises.
_WITHOUT_DECAY = ("gain", "bias")

_NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, _NormBase)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def param_groups(model: nn.Module, *others: nn.Module) -> list[dict[str, Any]]:
    r"""Return the trainable parameters of a model, one group for each kind that occurs.

    Other modules that train with it, a loss with parameters say, join the groups after it.

    The kind follows from the type of the module that owns the parameter, not from its path:

    - ``embedding``: the table (rows, dim) of an embedding; also when a head shares it;
    - ``gain`` and ``bias``: what a norm multiplies by and adds, of any shape; every module's bias;
    - ``matrix``: the rest from two axes on.

    A module of another type may say what it owns in a class attribute,
    ``parameter_kinds = {"table": "embedding"}``; without it a parameter of fewer than two axes
    counts as a bias if its own name says so, else as a gain.

    Gains and biases get ``weight_decay = 0``, the other groups take the optimizer's own; an
    optimizer finds the name of the kind under ``"kind"``. A shared parameter appears once. Frozen
    parameters are left out. The order is that of `KINDS` and of the model, so that a checkpoint of
    the optimizer fits the same model again.

    Reference: Loshchilov & Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101; that
    gains and biases are spared is the practice of BERT and GPT-2.

    Raises:
        ValueError: nothing can be trained, or a module declares a kind that does not exist.
    """
    kinds: dict[nn.Parameter, str] = {}
    owned = (entry for module in (model, *others) for entry in _owned(module))
    for parameter, kind in owned:
        # A table that a head shares is an embedding, whichever of the two comes first.
        if parameter.requires_grad and (parameter not in kinds or kind == "embedding"):
            kinds[parameter] = kind
    if not kinds:
        raise ValueError(
            f"{type(model).__name__} has no trainable parameter: choose optimizer=null or unfreeze"
        )
    groups: list[dict[str, Any]] = []
    for kind in KINDS:
        if parameters := [parameter for parameter, its in kinds.items() if its == kind]:
            groups.append({"params": parameters, "kind": kind})
            if kind in _WITHOUT_DECAY:
                groups[-1]["weight_decay"] = 0.0
    return groups


def build_optimizer(
    optimizer: "functools.partial[torch.optim.Optimizer]", model: nn.Module, *others: nn.Module
) -> torch.optim.Optimizer:
    """Return the optimizer over the modules' parameter groups; any of torch's classes will do.

    One that asks for names (``named``) gets each parameter with its own, in its module.
    """
    groups = param_groups(model, *others)
    if getattr(optimizer.func, "named", False):
        names = {
            p: name for module in (*others[::-1], model) for name, p in module.named_parameters()
        }
        groups = [{**group, "params": [(names[p], p) for p in group["params"]]} for group in groups]
    return optimizer(groups)


def _owned(model: nn.Module) -> Iterator[tuple[nn.Parameter, str]]:
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            yield parameter, _kind(module, name, parameter)


def _kind(module: nn.Module, name: str, parameter: nn.Parameter) -> str:
    declared: dict[str, str] = getattr(module, "parameter_kinds", {})
    if name in declared:
        if declared[name] not in KINDS:
            raise ValueError(
                f"{type(module).__name__}.parameter_kinds: {declared[name]!r} is none of {KINDS}"
            )
        return declared[name]
    if isinstance(module, _EMBEDDINGS):
        return "embedding"
    if "bias" in name:
        return "bias"
    if isinstance(module, _NORMS) or parameter.ndim < 2:
        return "gain"
    return "matrix"
