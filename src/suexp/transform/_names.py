"""What the hub's checkpoints call the tensors of our transformer."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]

BERT = {
    r"embeddings\.word_embeddings": "embedding",
    r"embeddings\.position_embeddings": "position.embedding",
    r"embeddings\.token_type_embeddings": "segment_embedding",
    r"embeddings\.LayerNorm": "embedding_norm",
    r"encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)": r"blocks.\1.\2",
    r"encoder\.layer\.(\d+)\.attention\.output\.dense": r"blocks.\1.attention.output",
    r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm": r"blocks.\1.attention_norm",
    r"encoder\.layer\.(\d+)\.intermediate\.dense": r"blocks.\1.feed_forward.input",
    r"encoder\.layer\.(\d+)\.output\.dense": r"blocks.\1.feed_forward.output",
    r"encoder\.layer\.(\d+)\.output\.LayerNorm": r"blocks.\1.feed_forward_norm",
    r"pooler\.dense": "pooler.0",
    r"classifier": "classifier",
    r"cls\.predictions\.transform\.dense": "head.dense",
    r"cls\.predictions\.transform\.LayerNorm": "head.norm",
    r"cls\.predictions": "head",
}
# Buffers, copies of the tied table, and the next-sentence classifier.
BERT_UNUSED = re.compile(r"position_ids|cls\.predictions\.decoder|cls\.seq_relationship")
OLD_NAMES = {"gamma": "weight", "beta": "bias"}

GPT2 = {
    r"wte": "embedding",
    r"wpe": "position.embedding",
    r"h\.(\d+)\.ln_1": r"blocks.\1.attention_norm",
    r"h\.(\d+)\.attn\.c_attn": r"blocks.\1.attention.qkv",
    r"h\.(\d+)\.attn\.c_proj": r"blocks.\1.attention.output",
    r"h\.(\d+)\.ln_2": r"blocks.\1.feed_forward_norm",
    r"h\.(\d+)\.mlp\.c_fc": r"blocks.\1.feed_forward.input",
    r"h\.(\d+)\.mlp\.c_proj": r"blocks.\1.feed_forward.output",
    r"ln_f": "norm",
}
GPT2_UNUSED = re.compile(r"lm_head|\.attn\.(masked_)?bias$")
TRANSPOSED = re.compile(r"\.(c_attn|c_proj|c_fc)\.weight$")


def _renamed(name: str, names: dict[str, str]) -> str:
    module, _, parameter = name.rpartition(".")
    for pattern, ours in names.items():
        if found := re.fullmatch(pattern, module):
            return f"{found.expand(ours)}.{OLD_NAMES.get(parameter, parameter)}"
    return name


def bert(theirs: State) -> State:
    """Return BERT's tensors under our names; the three projections become one."""
    state = {
        _renamed(name.removeprefix("bert."), BERT): value
        for name, value in theirs.items()
        if not BERT_UNUSED.search(name)
    }
    for name in [n for n in state if re.fullmatch(r"blocks\.\d+\.query\.(weight|bias)", n)]:
        parts = [state.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        state[name.replace("query", "attention.qkv")] = torch.cat(parts)
    return state


def gpt2(theirs: State) -> State:
    """Return GPT-2's tensors under our names; its layers hold transposed matrices."""
    return {
        _renamed(name.removeprefix("transformer."), GPT2): (
            value.T.contiguous() if TRANSPOSED.search(name) else value
        )
        for name, value in theirs.items()
        if not GPT2_UNUSED.search(name)
    }


def _bert_settings(config: dict[str, Any]) -> dict[str, Any]:
    dim = config.get("hidden_size", 768)
    return {
        "model.dim": dim,
        "model.num_layers": config.get("num_hidden_layers", 12),
        "model.num_heads": config.get("num_attention_heads", 12),
        "model.ffn": {"gelu_new": "gelu_tanh"}.get(
            config.get("hidden_act", "gelu"), config.get("hidden_act", "gelu")
        ),
        "model.ffn_multiplier": config.get("intermediate_size", 4 * dim) // dim,
        "model.norm_order": "post",
        "model.embedding_norm": "true",
        "model.bias": "true",
        "model.num_segments": config.get("type_vocab_size", 2),
        "norm.eps": config.get("layer_norm_eps", 1e-12),
        "position": "learned",
        "vocabulary": config.get("vocab_size"),
    }


def _gpt2_settings(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "model.dim": config.get("n_embd", 768),
        "model.num_layers": config.get("n_layer", 12),
        "model.num_heads": config.get("n_head", 12),
        "model.ffn": "gelu_tanh",
        "model.bias": "true",
        "norm.eps": config.get("layer_norm_epsilon", 1e-5),
        "position": "learned",
        "vocabulary": config.get("vocab_size"),
    }


NAMES: dict[str, Callable[[State], State]] = {"bert": bert, "gpt2": gpt2}
SETTINGS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "bert": _bert_settings,
    "gpt2": _gpt2_settings,
}
