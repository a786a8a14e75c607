"""A trained network as the hub has GPT-2: config.json and model.safetensors."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from suexp.errors import UserError
from suexp.model.transformer import Transformer
from suexp.nn.linear import Linear
from suexp.transform._differences import differences
from suexp.transform._hub_config import ACTIVATIONS, asked
from suexp.transform._names import to_gpt2
from suexp.transform._settings import plain, settings


def save_hub(model: nn.Module, folder: str | Path) -> None:
    """Write a network that is a GPT-2 as `transformers` writes one.

    ``GPT2LMHeadModel.from_pretrained(folder)`` computes its logits, and so does a network that
    ``transform=pretrained transform.source=FOLDER`` starts from it.

    Raises:
        UserError: GPT-2 computes something else: another mask, norm or attention, say.
    """
    from safetensors.torch import save_file

    if not isinstance(model, Transformer):
        raise UserError(f"{type(model).__name__} is no GPT-2; only model=transformer can be saved")
    found = settings(model)
    if complaint := _stranger(model, found):
        raise UserError(f"the hub's GPT-2 does not compute what the model does: {complaint}")
    config = config_of(found)
    unlike = [item for item in differences(asked("gpt2", config), found) if item.asked.key]
    if unlike:
        told = "; ".join(
            f"{item.name} is {plain(item.found)}, not "
            + " or ".join(plain(value) for value in item.asked.right)
            for item in unlike
        )
        raise UserError(f"the hub's GPT-2 does not compute what the model does: {told}")
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    save_file(to_gpt2(state), folder / "model.safetensors", metadata={"format": "pt"})


def config_of(found: dict[str, Any]) -> dict[str, Any]:
    """Return GPT-2's config.json of a network's settings."""
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": found["data.vocab"],
        "n_positions": found["position.max_length"],
        "n_embd": found["model.dim"],
        "n_layer": found["model.num_layers"],
        "n_head": found["model.num_heads"],
        "n_inner": found["model.ffn_multiplier"] * found["model.dim"],
        "activation_function": ACTIVATIONS[found["model.ffn"]][0],
        "layer_norm_epsilon": found["norm.eps"],
        "scale_attn_weights": found["attention.scale"] is None,
        "tie_word_embeddings": found["model.tie_embeddings"],
        "bos_token_id": None,
        "eos_token_id": None,
    }


def _stranger(model: Transformer, found: dict[str, Any]) -> str | None:
    """Return what no field of GPT-2's config.json could say, or None."""
    for key, right in (("position", "learned"), ("attention", "softmax")):
        if found[key] != right:
            return f"{key} is {found[key]}, not {right}"
    if model.classifier is not None:
        return "it is a classifier"
    if found["model.ffn"] not in ACTIVATIONS:
        return f"model.ffn is {found['model.ffn']}, not {' or '.join(ACTIVATIONS)}"
    shell: Any = model.blocks[0].attention
    if shell.qkv.blocks != [model.dim] * 3:
        return "model.key_dim and model.head_dim are not model.dim / model.num_heads"
    if any(isinstance(m, Linear) and set(m.scales) != {1.0} for m in model.modules()):
        return "init.parametrization is not standard"
    if any(name.endswith(".eps_factor") for name in model.state_dict()):
        return "its norms have an eps that was enlarged with them"
    return None
