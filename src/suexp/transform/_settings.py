"""What a built transformer computes beside its weights, as the settings that chose it."""

import math
from typing import Any

from torch import nn

from suexp.model.transformer import Transformer


def settings(model: Transformer) -> dict[str, Any]:
    """Return setting -> value; a setting that plays no part is missing."""
    block: Any = model.blocks[0]
    shell, feed_forward, norm = block.attention, block.feed_forward, block.attention_norm
    position: Any = model.position
    found = {
        "data.vocab": getattr(model.embedding, "num_embeddings", 0),
        "model.dim": model.dim,
        "model.num_layers": len(model.blocks),
        "model.num_heads": shell.num_heads,
        "model.ffn": feed_forward.kind,
        "model.ffn_multiplier": feed_forward.output.in_features // model.dim,
        "model.norm_order": "pre" if block.pre else "post",
        "model.embedding_norm": not isinstance(model.embedding_norm, nn.Identity),
        "model.bias": shell.qkv.bias is not None,
        "model.num_segments": getattr(model.segment_embedding, "num_embeddings", 0),
        "mask": option(model.mask),
        "norm": option(norm),
        "norm.eps": getattr(norm, "given_eps", getattr(norm, "eps", None)),
        "attention": option(shell.attention),
        "position": option(position),
    }
    if found["norm"] == "layer":
        found["norm.bias"] = norm.bias is not None
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
        found["model.pooler"] = not isinstance(model.pooler, nn.Identity)
    return found


def option(part: Any) -> str:
    """Return the option that a component is: the name of its file, where it is one of ours."""
    module = type(part).__module__
    return module.rpartition(".")[2] if module.startswith("suexp.") else type(part).__name__
