"""Two parts of a model, made by cutting a known one, joined again."""

import pytest
import torch
from torch import Tensor

from suexp.errors import UserError
from suexp.transform._megatron import as_gpt2, merged
from suexp.transform._names import gpt2

D, V, N = 8, 10, 6


def whole() -> dict[str, Tensor]:
    torch.manual_seed(0)
    shapes = {"word_embeddings.weight": (V, D), "position_embeddings.weight": (N, D)}
    for layer in range(2):
        name = f"transformer.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes |= {f"{name}{norm}.weight": (D,), f"{name}{norm}.bias": (D,)}
        for part, o, i in (
            ("attention.query_key_value", 3 * D, D),
            ("attention.dense", D, D),
            ("mlp.dense_h_to_4h", 4 * D, D),
            ("mlp.dense_4h_to_h", D, 4 * D),
        ):
            shapes |= {f"{name}{part}.weight": (o, i), f"{name}{part}.bias": (o,)}
    shapes |= {"transformer.final_layernorm.weight": (D,), "transformer.final_layernorm.bias": (D,)}
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def cut(state: dict[str, Tensor], ranks: int) -> list[dict[str, Tensor]]:
    """Give each rank its heads and its share of the hidden units, as Megatron does."""
    parts: list[dict[str, Tensor]] = [{} for _ in range(ranks)]
    for name, value in state.items():
        if "query_key_value" in name:
            q, k, v = (x.chunk(ranks) for x in value.chunk(3))
            pieces = [torch.cat(x) for x in zip(q, k, v, strict=True)]
        elif "word_embeddings" in name or "dense_h_to_4h" in name:
            pieces = list(value.chunk(ranks))
        elif name.endswith(("attention.dense.weight", "dense_4h_to_h.weight")):
            pieces = list(value.chunk(ranks, 1))
        else:
            pieces = [value] * ranks
        for part, piece in zip(parts, pieces, strict=True):
            part[f"module.{name}"] = piece.clone()
    return parts


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_parts_are_the_model_bit_for_bit(ranks: int) -> None:
    state = whole() if ranks != 4 else {n: x for n, x in whole().items() if "word" not in n}
    found = merged(cut(state, ranks))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_queries_joined_as_they_stand_would_be_mixed() -> None:
    state = whole()
    name = "transformer.layers.1.attention.query_key_value.weight"
    first, second = cut(state, 2)
    naive = torch.cat((first[f"module.{name}"], second[f"module.{name}"]))
    assert naive.shape == state[name].shape
    assert not torch.equal(naive, state[name])


def test_under_the_hubs_names_and_ours() -> None:
    state = whole()
    ours = gpt2(as_gpt2(merged(cut(state, 2))))
    for layer in range(2):
        theirs = f"transformer.layers.{layer}."
        for old, new in (
            ("input_layernorm.bias", "attention_norm.bias"),
            ("attention.query_key_value.weight", "attention.qkv.weight"),
            ("attention.dense.weight", "attention.output.weight"),
            ("post_attention_layernorm.weight", "feed_forward_norm.weight"),
            ("mlp.dense_h_to_4h.weight", "feed_forward.input.weight"),
            ("mlp.dense_4h_to_h.bias", "feed_forward.output.bias"),
        ):
            assert torch.equal(ours[f"blocks.{layer}.{new}"], state[theirs + old])
    assert torch.equal(ours["embedding.weight"], state["word_embeddings.weight"])
    assert torch.equal(ours["norm.bias"], state["transformer.final_layernorm.bias"])


def test_mistakes() -> None:
    with pytest.raises(UserError, match="no parts"):
        merged([])
    first, second = cut(whole(), 2)
    del second["module.word_embeddings.weight"]
    with pytest.raises(UserError, match=r"part 1 and part 0 differ in word_embeddings\.weight"):
        merged([first, second])
    with pytest.raises(UserError, match=r"lm_head\.weight is no tensor of Megatron's GPT-2"):
        as_gpt2({"lm_head.weight": torch.zeros(1)})
