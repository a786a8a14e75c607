"""Our transformer with rotary positions against Hugging Face's RoFormer, with equal weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from suexp.attention import Softmax
from suexp.init import Default
from suexp.mask import Bidirectional, Prefix
from suexp.model import Transformer
from suexp.norm import Layer
from suexp.position import Rope

peer = pytest.importorskip("transformers")
pytestmark = pytest.mark.peer

LAYERS = 2


def theirs() -> torch.nn.Module:
    config = peer.RoFormerConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        rotary_value=False,
        attn_implementation="eager",
    )
    model = peer.RoFormerModel(config)
    for name, parameter in model.named_parameters():
        if "embed_positions" not in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """RoFormer's names to ours; its separate projections are blocks of our fused ones."""
    found = {
        "embedding.weight": state["embeddings.word_embeddings.weight"],
        "segment_embedding.weight": state["embeddings.token_type_embeddings.weight"],
        "embedding_norm.weight": state["embeddings.LayerNorm.weight"],
        "embedding_norm.bias": state["embeddings.LayerNorm.bias"],
    }
    names = {
        "attention.output": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "feed_forward.input": "intermediate.dense",
        "feed_forward.output": "output.dense",
        "feed_forward_norm": "output.LayerNorm",
    }
    for layer in range(LAYERS):
        old = f"encoder.layer.{layer}"
        for kind in ("weight", "bias"):
            parts = [state[f"{old}.attention.self.{x}.{kind}"] for x in ("query", "key", "value")]
            found[f"blocks.{layer}.attention.qkv.{kind}"] = torch.cat(parts)
            for ours, name in names.items():
                found[f"blocks.{layer}.{ours}.{kind}"] = state[f"{old}.{name}.{kind}"]
    return found


def ours(state: dict[str, Tensor], mask: Bidirectional | Prefix) -> Transformer:
    model = Transformer(
        50,
        Softmax(),
        Rope(8),
        Layer(16, eps=1e-12),
        mask,
        Default(),
        dim=16,
        num_layers=LAYERS,
        num_heads=2,
        norm_order="post",
        bias=True,
        num_segments=2,
        embedding_norm=True,
    )
    model.load_state_dict(weights(state))
    return model.eval()


@torch.no_grad()
def test_states_of_a_text_and_of_a_source() -> None:
    """Theirs reads the source alone, ours also before a target: the first states are equal."""
    model = theirs()
    tokens, segments = torch.randint(50, (3, 9)), torch.zeros(3, 9, dtype=torch.long)
    expected = model(tokens, token_type_ids=segments).last_hidden_state
    alone = ours(model.state_dict(), Bidirectional())
    torch.testing.assert_close(alone.hidden(tokens, None, segments), expected, atol=1e-5, rtol=1e-5)
    joined = torch.cat((tokens, torch.randint(50, (3, 4))), 1)
    kinds = F.pad(segments, (0, 4), value=1)
    length = torch.full((3,), 9)
    both = ours(model.state_dict(), Prefix()).hidden(joined, None, kinds, prefix_length=length)
    torch.testing.assert_close(both[:, :9], expected, atol=1e-5, rtol=1e-5)
    unit, wanted = (F.normalize(x[:, 0], dim=-1) for x in (both, expected))
    torch.testing.assert_close(unit @ unit.T, wanted @ wanted.T, atol=1e-4, rtol=0)


@torch.no_grad()
def test_rotations() -> None:
    """Their sines and cosines turn queries as ours do, to 1e-5."""
    from transformers.models.roformer.modeling_roformer import (
        RoFormerSelfAttention,
        RoFormerSinusoidalPositionalEmbedding,
    )

    table = RoFormerSinusoidalPositionalEmbedding(20, 8)
    if hasattr(table, "create_weight"):
        table.weight.copy_(table.create_weight())
    x = torch.randn(2, 3, 20, 8)
    places = table((*x.shape[:1], 20))[None, None]
    expected, _ = RoFormerSelfAttention.apply_rotary_position_embeddings(places, x, x)
    torch.testing.assert_close(Rope(8).rotate(x, torch.arange(20)), expected, atol=1e-5, rtol=1e-5)
