"""The parts of a model that was trained on several devices (Megatron-LM), joined."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from suexp.errors import UserError

State = dict[str, Tensor]

# Megatron's names and those of the hub's GPT-2.
NAMES = {
    r"word_embeddings": "wte",
    r"position_embeddings": "wpe",
    r"transformer\.layers\.(\d+)\.input_layernorm": r"h.\1.ln_1",
    r"transformer\.layers\.(\d+)\.attention\.query_key_value": r"h.\1.attn.c_attn",
    r"transformer\.layers\.(\d+)\.attention\.dense": r"h.\1.attn.c_proj",
    r"transformer\.layers\.(\d+)\.post_attention_layernorm": r"h.\1.ln_2",
    r"transformer\.layers\.(\d+)\.mlp\.dense_h_to_4h": r"h.\1.mlp.c_fc",
    r"transformer\.layers\.(\d+)\.mlp\.dense_4h_to_h": r"h.\1.mlp.c_proj",
    r"transformer\.final_layernorm": "ln_f",
}
# Cut along their outputs, or along their inputs; whatever is neither is whole in each part.
BY_OUTPUT = re.compile(r"word_embeddings\.weight|\.(query_key_value|dense_h_to_4h)\.(weight|bias)")
BY_INPUT = re.compile(r"\.(attention\.dense|dense_4h_to_h)\.weight")
QUERIES = ".query_key_value."


def merged(parts: Sequence[State]) -> State:
    r"""Return the tensors of a model whose parts are ``mp_rank_00``, ``mp_rank_01`` and so on.

    A layer that is cut along its outputs, (o/k, i) each, is joined along axis 0, one cut along its
    inputs, (o, i/k), along axis 1. Each part's queries, keys and values are those of its own heads,
    $[q_s | k_s | v_s]$, so that q is $[q_0 | q_1 | \dots]$: joined as they stand they would be
    mixed. The biases behind what is cut along its inputs, norms and positions are those of the
    first part.

    References: Shoeybi et al., Megatron-LM, arXiv:1909.08053, section 3; CPM,
    https://github.com/TsinghuaAI/CPM-Generate; https://kexue.fm/archives/7912.

    Args:
        parts: in the order of their ranks.

    Raises:
        UserError: no parts, or parts that do not have the same tensors.
    """
    if not parts:
        raise UserError("there are no parts to join")
    parts = [{name.removeprefix("module."): x for name, x in part.items()} for part in parts]
    for number, part in enumerate(parts):
        if odd := sorted(set(part) ^ set(parts[0])):
            raise UserError(f"part {number} and part 0 differ in {odd[0]}")
    return {name: _joined(name, [part[name] for part in parts]) for name in parts[0]}


def _joined(name: str, pieces: Sequence[Tensor]) -> Tensor:
    if QUERIES in name:
        triples = [piece.chunk(3) for piece in pieces]
        return torch.cat([x for kind in zip(*triples, strict=True) for x in kind])
    if BY_OUTPUT.search(name):
        return torch.cat(list(pieces))
    return torch.cat(list(pieces), 1) if BY_INPUT.search(name) else pieces[0]


def as_gpt2(state: State) -> State:
    """Return a joined model's tensors as the hub's GPT-2 has them, its matrices transposed.

    Raises:
        UserError: a tensor that is no part of such a model.
    """
    found = {}
    for name, value in state.items():
        module, _, parameter = name.rpartition(".")
        hub = next(
            (m.expand(new) for old, new in NAMES.items() if (m := re.fullmatch(old, module))), ""
        )
        if not hub:
            raise UserError(f"{name} is no tensor of Megatron's GPT-2")
        layer = hub.rpartition(".")[2] in ("c_attn", "c_proj", "c_fc")
        found[f"{hub}.{parameter}"] = value.T.contiguous() if layer and value.ndim == 2 else value
    return found
