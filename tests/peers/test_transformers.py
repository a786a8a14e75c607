"""Our transformer against Hugging Face's GPT-2 and LLaMA, with equal weights."""

import pytest
import torch
from torch import Tensor

from suexp.attention import Softmax
from suexp.init import Default
from suexp.mask import Causal
from suexp.model import Transformer
from suexp.norm import RMS, Layer
from suexp.position import Learned, Rope

peer = pytest.importorskip("transformers")
pytestmark = pytest.mark.peer

SPECIAL = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Give biases and gains values that show, and leave training mode."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def gpt2_weights(theirs: dict[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """GPT-2's names to ours; its Conv1D layers hold transposed matrices."""
    names = {
        "ln_1": ("attention_norm", False),
        "attn.c_attn": ("attention.qkv", True),
        "attn.c_proj": ("attention.output", True),
        "ln_2": ("feed_forward_norm", False),
        "mlp.c_fc": ("feed_forward.input", True),
        "mlp.c_proj": ("feed_forward.output", True),
    }
    ours = {
        "embedding.weight": theirs["transformer.wte.weight"],
        "position.embedding.weight": theirs["transformer.wpe.weight"],
        "norm.weight": theirs["transformer.ln_f.weight"],
        "norm.bias": theirs["transformer.ln_f.bias"],
    }
    for layer in range(num_layers):
        for theirs_name, (name, transposed) in names.items():
            weight = theirs[f"transformer.h.{layer}.{theirs_name}.weight"]
            ours[f"blocks.{layer}.{name}.weight"] = weight.T if transposed else weight
            ours[f"blocks.{layer}.{name}.bias"] = theirs[
                f"transformer.h.{layer}.{theirs_name}.bias"
            ]
    return ours


def llama_weights(theirs: dict[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """LLaMA's names to ours; its separate projections are blocks of our fused ones."""
    ours = {
        "embedding.weight": theirs["model.embed_tokens.weight"],
        "norm.weight": theirs["model.norm.weight"],
        "output.weight": theirs["lm_head.weight"],
    }
    for layer in range(num_layers):
        part = {
            name: theirs[f"model.layers.{layer}.{name}.weight"]
            for name in (
                "input_layernorm",
                "post_attention_layernorm",
                *(f"self_attn.{letter}_proj" for letter in "qkvo"),
                *(f"mlp.{kind}_proj" for kind in ("gate", "up", "down")),
            )
        }
        ours |= {
            f"blocks.{layer}.attention_norm.weight": part["input_layernorm"],
            f"blocks.{layer}.feed_forward_norm.weight": part["post_attention_layernorm"],
            f"blocks.{layer}.attention.qkv.weight": torch.cat(
                [part[f"self_attn.{letter}_proj"] for letter in "qkv"]
            ),
            f"blocks.{layer}.attention.output.weight": part["self_attn.o_proj"],
            f"blocks.{layer}.feed_forward.input.weight": torch.cat(
                [part["mlp.gate_proj"], part["mlp.up_proj"]]
            ),
            f"blocks.{layer}.feed_forward.output.weight": part["mlp.down_proj"],
        }
    return ours


def test_gpt2() -> None:
    """Learned positions, pre norm, tied embeddings, biases, and gelu by its tanh approximation."""
    config = peer.GPT2Config(
        vocab_size=50, n_positions=20, n_embd=16, n_layer=3, n_head=2, **SPECIAL
    )
    theirs = shaken(peer.GPT2LMHeadModel(config))
    ours = Transformer(
        50,
        Softmax(),
        Learned(20, 16),
        Layer(16, eps=1e-5),
        Causal(),
        Default(),
        dim=16,
        num_layers=3,
        num_heads=2,
        ffn="gelu_tanh",
        bias=True,
    )
    ours.load_state_dict(gpt2_weights(theirs.state_dict(), 3))
    tokens = torch.randint(50, (4, 20))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)


def test_llama() -> None:
    """Rotary halves, root-mean-square norms, swiglu, an output layer of its own, no biases."""
    config = peer.LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=2,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        **SPECIAL,
    )
    theirs = shaken(peer.LlamaForCausalLM(config))
    ours = Transformer(
        50,
        Softmax(),
        Rope(8, interleaved=False),
        RMS(16, eps=1e-6),
        Causal(),
        Default(),
        dim=16,
        num_layers=3,
        num_heads=2,
        ffn="swiglu",
        tie_embeddings=False,
    )
    ours.load_state_dict(llama_weights(theirs.state_dict(), 3))
    tokens = torch.randint(50, (4, 20))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)
