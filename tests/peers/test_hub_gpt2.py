"""transformers' GPT-2, with every flag of its config.json that logits depend on, and back to it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.attention import Softmax
from suexp.decoding import Beam, Greedy
from suexp.mask import Causal
from suexp.model import Transformer
from suexp.norm import Layer
from suexp.transform import Pretrained
from suexp.transform._export import save_hub
from tests.peers.test_pretrained import saved
from tests.transform.test_reload import network

peer = pytest.importorskip("transformers")
pytestmark = pytest.mark.peer

# The spec's tiny network: 97 tokens of size 32, two layers of four heads.
SIZES = {"vocab_size": 97, "n_positions": 24, "n_embd": 32, "n_layer": 2, "n_head": 4}
SIZES |= {"bos_token_id": 0, "eos_token_id": 0}
# A flag of theirs -> the settings of ours that it asks for.
FLAGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "defaults": ({}, {}),
    "n_inner": ({"n_inner": 64}, {"ffn_multiplier": 2}),
    "gelu": ({"activation_function": "gelu"}, {"ffn": "gelu"}),
    "relu": ({"activation_function": "relu"}, {"ffn": "relu"}),
    "epsilon": ({"layer_norm_epsilon": 0.1}, {"norm": Layer(32, eps=0.1)}),
    "unscaled": ({"scale_attn_weights": False}, {"attention": Softmax(scale=1.0)}),
    "by_layer": ({"scale_attn_by_inverse_layer_idx": True}, {}),
    "upcast": ({"reorder_and_upcast_attn": True}, {}),
    "both": ({"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True}, {}),
    "untied": ({"tie_word_embeddings": False}, {"tie_embeddings": False}),
}
TOKENS = torch.randint(97, (3, 24), generator=torch.Generator().manual_seed(1))


def ours(**changes: Any) -> Transformer:
    from suexp.position import Learned

    sizes = {"vocab_size": 97, "dim": 32, "num_layers": 2, "num_heads": 4}
    return network(1, **(sizes | {"position": Learned(24, 32), "norm": Layer(32)} | changes))


def theirs(**flags: Any) -> Any:
    config = peer.GPT2Config(**SIZES, **flags)
    config._attn_implementation = "eager"
    return peer.GPT2LMHeadModel(config)


@pytest.mark.parametrize("name", FLAGS)
@torch.no_grad()
def test_logits_with_each_flag(tmp_path: Path, name: str) -> None:
    flags, settings = FLAGS[name]
    model = theirs(**flags)
    source = saved(model, tmp_path)
    child = ours(**settings)
    Pretrained(source)(None, child)
    torch.testing.assert_close(child(TOKENS), model(TOKENS).logits, atol=2e-5, rtol=1e-5)
    # In float64 nothing is left of rounding, but for scores that they keep in float32.
    if not flags.get("reorder_and_upcast_attn"):
        expected = model.double()(TOKENS).logits
        torch.testing.assert_close(child.double()(TOKENS), expected, atol=1e-11, rtol=1e-12)


@pytest.mark.parametrize("name", ["defaults", "n_inner", "gelu", "epsilon", "unscaled", "untied"])
@torch.no_grad()
def test_what_is_saved_is_theirs(tmp_path: Path, name: str) -> None:
    model = ours(**FLAGS[name][1])
    save_hub(model, tmp_path)
    found, notes = peer.GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(notes[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    torch.testing.assert_close(found.eval()(TOKENS).logits, model(TOKENS), atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_layers_scaled_by_their_number_are_saved_as_they_compute(tmp_path: Path) -> None:
    model = theirs(scale_attn_by_inverse_layer_idx=True)
    child = ours()
    Pretrained(saved(model, tmp_path))(None, child)
    save_hub(child, tmp_path / "again")
    found = peer.GPT2LMHeadModel.from_pretrained(tmp_path / "again").eval()
    torch.testing.assert_close(found(TOKENS).logits, model(TOKENS).logits, atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_cached_and_padded_logits_are_those_of_the_whole(tmp_path: Path) -> None:
    model = theirs()
    child = ours()
    Pretrained(saved(model, tmp_path))(None, child)
    whole = child(TOKENS)
    first, state = child.decode(TOKENS[:, :9])
    second, state = child.decode(TOKENS[:, 9:10], state)
    third, _ = child.decode(TOKENS[:, 10:], state)
    torch.testing.assert_close(torch.cat((first, second, third), 1), whole, atol=2e-5, rtol=1e-5)
    # Padded on the left, each row computes what it does alone, and what theirs does so padded.
    lengths = torch.tensor([[24], [13], [1]])
    keep = torch.arange(24) >= 24 - lengths
    padded, _ = child.decode(TOKENS, None, keep)
    places = (keep.long().cumsum(1) - 1).clamp(min=0)
    expected = model(TOKENS, attention_mask=keep.long(), position_ids=places).logits
    torch.testing.assert_close(padded[keep], expected[keep], atol=2e-5, rtol=1e-5)
    for row, length in enumerate(lengths[:, 0].tolist()):
        alone = child(TOKENS[row : row + 1, 24 - length :])[0]
        torch.testing.assert_close(padded[row, 24 - length :], alone, atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_left_padded_prompts_are_continued_as_theirs(tmp_path: Path) -> None:
    model = theirs()
    child = ours(mask=Causal())
    Pretrained(saved(model, tmp_path))(None, child)
    keep = torch.arange(10) >= 10 - torch.tensor([[10], [4], [1]])
    # As many beams as there are tokens: over two steps that is every continuation.
    for decoding, beams, steps in ((Greedy(), 1, 8), (Beam(97, drop_ended=False), 97, 2)):
        settings: dict[str, Any] = {"do_sample": False, "max_new_tokens": steps, "pad_token_id": 0}
        if beams > 1:
            settings |= {"num_beams": beams, "length_penalty": 0.0, "early_stopping": "never"}
        expected = model.generate(TOKENS[:, :10], attention_mask=keep.long(), **settings)[:, 10:]
        new = decoding(child, TOKENS[:, :10], steps, end=0, keep=keep).tokens
        width = min(new.shape[1], expected.shape[1])
        assert torch.equal(new[:, :width], expected[:, :width])
