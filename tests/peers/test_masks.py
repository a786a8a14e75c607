"""Masks against transformers' BERT given our table; decoding against its generation."""

import pytest
import torch
from torch import Tensor

from suexp.attention import Softmax
from suexp.decoding import Beam, Greedy, Sample
from suexp.init import Default
from suexp.mask import Causal, Permutation, Prefix, Reversed
from suexp.mask.base import Mask
from suexp.model import Transformer
from suexp.norm import Layer
from suexp.position import Learned
from suexp.transform._names import bert, gpt2

peer = pytest.importorskip("transformers")
pytestmark = pytest.mark.peer

MASKS: list[Mask] = [Prefix(5), Permutation([0, 3, 1, 6, 2, 5, 4, 8, 7]), Reversed(), Causal()]


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def ours(mask: Mask, **changes) -> Transformer:
    arguments = {
        "vocab_size": 50,
        "attention": Softmax(),
        "position": Learned(24, 16),
        "norm": Layer(16, eps=1e-12),
        "mask": mask,
        "init": Default(),
        "dim": 16,
        "num_layers": 3,
        "num_heads": 2,
        "bias": True,
    }
    return Transformer(**(arguments | changes)).eval()


def tied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a model whose output layer is its embedding."""
    assert state.pop("output.weight").equal(state["embedding.weight"])
    return state


@pytest.mark.parametrize("mask", MASKS, ids=lambda mask: type(mask).__name__)
def test_bert_under_the_table_of_a_mask(mask: Mask) -> None:
    config = peer.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=24,
        attn_implementation="sdpa",
    )
    theirs = shaken(peer.BertForMaskedLM(config))
    model = ours(mask, norm_order="post", embedding_norm=True, head="mlm", num_segments=2)
    model.load_state_dict(tied(bert(theirs.state_dict())))
    tokens = torch.randint(50, (2, 9))
    kinds = (torch.arange(9) >= 5).long().expand(2, 9)
    table = mask.dense(9, 9)
    assert table is not None
    with torch.no_grad():
        # One axis more: newer versions take the heads', too.
        expected = theirs(
            tokens, attention_mask=table.expand(2, 1, 9, 9), token_type_ids=kinds
        ).logits
        torch.testing.assert_close(model(tokens, segments=kinds), expected, atol=1e-5, rtol=1e-5)


@pytest.fixture
def pair() -> tuple[torch.nn.Module, Transformer]:
    """GPT-2 and ours with equal weights, sharp enough that choices are clear."""
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = peer.GPT2Config(
        vocab_size=50, n_positions=24, n_embd=16, n_layer=3, n_head=2, **special
    )
    theirs = shaken(peer.GPT2LMHeadModel(config))
    model = ours(Causal(), norm=Layer(16, eps=1e-5), ffn="gelu_tanh")
    model.load_state_dict(tied(gpt2(theirs.state_dict())))
    return theirs, model


def prompt() -> Tensor:
    return torch.randint(1, 50, (4, 5))


def test_greedy(pair) -> None:
    theirs, model = pair
    x = prompt()
    expected = theirs.generate(
        x, attention_mask=torch.ones_like(x), do_sample=False, max_new_tokens=12
    )
    new = Greedy()(model, x, 12, end=0)
    assert torch.equal(new.tokens, expected[:, 5 : 5 + new.tokens.shape[1]])


def test_beams_without_an_end(pair) -> None:
    """Where no text ends, both follow the same beams."""
    theirs, model = pair
    x = prompt()
    settings = {"num_beams": 3, "length_penalty": 0.0, "min_new_tokens": 8, "max_new_tokens": 8}
    mask = torch.ones_like(x)
    expected = theirs.generate(x, attention_mask=mask, do_sample=False, **settings)
    new = Beam(3, min_new_tokens=8)(model, x, 8, end=0)
    assert torch.equal(new.tokens, expected[:, 5:])


def test_wide_beams_that_end(pair) -> None:
    theirs, model = pair
    x = prompt()
    settings = {"num_beams": 20, "length_penalty": 0.0, "max_new_tokens": 3}
    expected = theirs.generate(
        x, attention_mask=torch.ones_like(x), do_sample=False, early_stopping="never", **settings
    )[:, 5:]
    new = Beam(20, drop_ended=False)(model, x, 3, end=0)
    width = min(expected.shape[1], new.tokens.shape[1])
    assert torch.equal(new.tokens[:, :width], expected[:, :width])


def test_top_k_and_top_p_leave_the_same_tokens() -> None:
    from transformers.generation.logits_process import TopKLogitsWarper, TopPLogitsWarper

    logits = 3 * torch.randn(64, 50)
    for top_k, top_p in ((5, None), (None, 0.7), (10, 0.8), (50, 0.3)):
        expected = logits.clone()
        if top_k:
            expected = TopKLogitsWarper(top_k)(None, expected)
        if top_p:
            expected = TopPLogitsWarper(top_p)(None, expected)
        values, tokens = Sample(top_k=top_k, top_p=top_p).head(logits)
        found = torch.full_like(logits, -torch.inf)
        places = torch.arange(50).expand(64, 50) if tokens is None else tokens
        found.scatter_(1, places, values)
        assert torch.equal(found.isfinite(), expected.isfinite())
