"""What a built transformer computes beside its weights, as the settings that chose it."""

import json
import math
from typing import Any

from torch import nn

from suexp.model.transformer import Transformer
from suexp.nn.block import Block
from suexp.nn.linear import Linear


def settings(model: Transformer) -> dict[str, Any]:
    """Return setting -> value; a setting that plays no part is missing."""
    block: Any = model.blocks[0]
    shell: Any = block.attention
    position: Any = model.position
    found = of_block(block) | {
        "data.vocab": getattr(model.embedding, "num_embeddings", 0),
        "model.dim": model.dim,
        "model.num_layers": len(model.blocks),
        "model.sharing": model.sharing,
        "model.ffn_multiplier": block.feed_forward.output.in_features // model.dim,
        "model.embedding_norm": not isinstance(model.embedding_norm, nn.Identity),
        "model.num_segments": getattr(model.segment_embedding, "num_embeddings", 0),
        "mask": option(model.mask),
        "attention": option(shell.attention),
        "position": option(position),
    }
    if found["attention"] == "softmax":
        scale, usual = shell.attention.scale, (shell.qkv.blocks[0] // shell.num_heads) ** -0.5
        is_usual = scale is None or math.isclose(scale, usual)
        found["attention.scale"] = None if is_usual else scale
    for name in ("base_length", "max_length"):
        if hasattr(position, "embedding") and hasattr(position, name):
            found[f"position.{name}"] = getattr(position, name)
            break
    if model.classifier is None:
        found["model.head"] = "plain" if model.head is None else "mlm"
        found["model.tie_embeddings"] = model.output is None
    elif not model.tags:
        found["model.pool"] = model.pool
        linear = isinstance(model.pooler, Linear)
        found["model.pooler"] = "linear" if linear else not isinstance(model.pooler, nn.Identity)
    return found


def of_block(block: Block) -> dict[str, Any]:
    """Return the same of a layer, less what gathers its values."""
    norm: Any = block.attention_norm
    found = {
        "model.num_heads": block.attention.num_heads,
        "model.ffn": block.feed_forward.kind,
        "model.norm_order": block.norm_order,
        "model.bias": block.attention.qkv.bias is not None,
        "norm": option(norm),
        "norm.eps": getattr(norm, "given_eps", getattr(norm, "eps", None)),
    }
    return found | ({"norm.bias": norm.bias is not None} if found["norm"] == "layer" else {})


def unseen(parent: nn.Module, child: nn.Module) -> str | None:
    """Return where layers of equal shapes compute something else of the same weights, or None."""
    if complaint := _scaled(parent, child):
        return complaint
    first = [next((m for m in x.modules() if isinstance(m, Block)), None) for x in (parent, child)]
    theirs, ours = first
    if theirs is None or ours is None or shapes_of(theirs) != shapes_of(ours):
        return None
    wanted = of_block(theirs)
    for key, value in of_block(ours).items():
        if value != wanted.get(key, value):
            return (
                f"{key} is {plain(value)} in the child and {plain(wanted[key])} in its parent, "
                f"whose weights would compute something else; set {key}={plain(wanted[key])}"
            )
    return None


def _scaled(parent: nn.Module, child: nn.Module) -> str | None:
    """Return where linear layers multiply by their weights and something else, or None."""
    theirs = dict(parent.named_modules())
    for name, ours in child.named_modules():
        other = theirs.get(name)
        if isinstance(ours, Linear) and isinstance(other, Linear) and ours.scales != other.scales:
            return (
                f"{name} multiplies its weights by {ours.scales[0]:.3g} in the child and by "
                f"{other.scales[0]:.3g} in its parent; set init and init.parametrization as there"
            )
    return None


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a state, by name."""
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def plain(value: Any) -> str:
    """Return a value as an override has it."""
    return value if isinstance(value, str) else json.dumps(value)


def option(part: Any) -> str:
    """Return the option that a component is: the name of its file, where it is one of ours."""
    module = type(part).__module__
    return module.rpartition(".")[2] if module.startswith("suexp.") else type(part).__name__
