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

# GPT-2's names and ours, of what there is once and of what each layer has.
GPT2_ONCE = {
    "wte": "embedding",
    "wpe": "position.embedding",
    "ln_f": "norm",
    "lm_head": "output",
}
GPT2_LAYER = {
    "ln_1": "attention_norm",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.output",
    "ln_2": "feed_forward_norm",
    "mlp.c_fc": "feed_forward.input",
    "mlp.c_proj": "feed_forward.output",
}
GPT2 = GPT2_ONCE | {
    rf"h\.(\d+)\.{re.escape(theirs)}": rf"blocks.\1.{ours}" for theirs, ours in GPT2_LAYER.items()
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


def gpt2_ml(theirs: State) -> State:
    r"""Return GPT-2's tensors where a reader of GPT2-ML expects its own.

    Both have 2L + 1 norms in one order, of which GPT2-ML has the first behind the embeddings: each
    norm before an attention ends the layer before, in whose residual branch it then stands.
    """
    state = gpt2(theirs)
    numbers = [int(found[1]) for name in state if (found := re.match(r"blocks\.(\d+)\.", name))]

    def place(name: str) -> str:
        if found := re.fullmatch(r"blocks\.(\d+)\.attention_norm\.(\w+)", name):
            layer = int(found[1])
            if layer == 0:
                return f"embedding_norm.{found[2]}"
            return f"blocks.{layer - 1}.feed_forward_norm.{found[2]}"
        if found := re.fullmatch(r"(blocks\.\d+)\.feed_forward_norm\.(\w+)", name):
            return f"{found[1]}.attention_norm.{found[2]}"
        if found := re.fullmatch(r"norm\.(\w+)", name):
            return f"blocks.{max(numbers, default=0)}.feed_forward_norm.{found[1]}"
        return name

    return {place(name): value for name, value in state.items()}


def to_gpt2(ours: State) -> State:
    """Return our tensors under GPT-2's names, the inverse of `gpt2`."""
    state = {}
    for name, value in ours.items():
        module, _, parameter = name.rpartition(".")
        for theirs, mine in GPT2_ONCE.items():
            if module == mine:
                module = theirs if theirs == "lm_head" else f"transformer.{theirs}"
        for theirs, mine in GPT2_LAYER.items():
            if found := re.fullmatch(rf"blocks\.(\d+)\.{re.escape(mine)}", module):
                module = f"transformer.h.{found[1]}.{theirs}"
        new = f"{module}.{parameter}"
        state[new] = (value.T if TRANSPOSED.search(new) else value).contiguous()
    return state


def layers_scaled(state: State) -> State:
    r"""Return our tensors with each layer's queries over its number: $q_l \leftarrow q_l / l$.

    Scores are then what GPT-2 with ``scale_attn_by_inverse_layer_idx`` divides afterwards.
    """
    scaled = dict(state)
    for name, value in state.items():
        if found := re.fullmatch(r"blocks\.(\d+)\.attention\.qkv\.(weight|bias)", name):
            queries, rest = value.tensor_split([len(value) // 3])
            scaled[name] = torch.cat((queries / (int(found[1]) + 1), rest))
    return scaled


# By the model_type of a config.json.
NAMES: dict[str, Callable[[State], State]] = {"bert": bert, "gpt2": gpt2}
# By what a reader takes a checkpoint of GPT-2 for.
LAYOUTS: dict[str, Callable[[State], State]] = {"gpt2": gpt2, "gpt2_ml": gpt2_ml}
