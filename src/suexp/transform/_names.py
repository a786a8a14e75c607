"""What the hub's checkpoints call the tensors of our transformer."""

import re
from collections.abc import Callable

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
    r"cls\.predictions\.decoder": "output",
}
# Buffers, and the next-sentence classifier.
BERT_UNUSED = re.compile(r"position_ids|cls\.seq_relationship")
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
    r"lm_head": "output",
}
GPT2_UNUSED = re.compile(r"\.attn\.(masked_)?bias$")
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
        _renamed(name.removeprefix("module.").removeprefix("bert."), BERT): value
        for name, value in theirs.items()
        if not BERT_UNUSED.search(name)
    }
    for name in [n for n in state if re.fullmatch(r"blocks\.\d+\.query\.(weight|bias)", n)]:
        parts = [name.replace("query", part) for part in ("query", "key", "value")]
        if len({state[part].shape if part in state else None for part in parts}) == 1:
            joined = torch.cat([state.pop(part) for part in parts])
            state[name.replace("query", "attention.qkv")] = joined
    if "output.bias" in state:  # where it is not tied to the other, it is the one that counts
        state["head.bias"] = state.pop("output.bias")
    return state


def gpt2(theirs: State) -> State:
    """Return GPT-2's tensors under our names; its layers hold transposed matrices."""
    return {
        _renamed(name.removeprefix("module.").removeprefix("transformer."), GPT2): (
            value.T.contiguous() if TRANSPOSED.search(name) and value.ndim == 2 else value
        )
        for name, value in theirs.items()
        if not GPT2_UNUSED.search(name)
    }


NAMES: dict[str, Callable[[State], State]] = {"bert": bert, "gpt2": gpt2}
