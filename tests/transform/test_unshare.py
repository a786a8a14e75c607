"""Layers that share weights, and how they come apart; against transformers' ALBERT."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import suexp
from suexp.callback.gradient_norm import layers_of
from suexp.errors import UserError
from suexp.transform import Copy, Unshare

SMALL = ("data.tokenizer=bytes", "data.block_size=12", "model.dim=8", "model.num_heads=2")
TOKENS = torch.arange(22).view(2, 11)


def model(*overrides: str) -> Any:
    return suexp.build(suexp.compose([*SMALL, "model.num_layers=4", *overrides])).model


def shared(sharing: str = "all", *more: str) -> Any:
    return model(f"model.sharing={sharing}", *more)


def numbers(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_parameters_by_formula() -> None:
    """A block has 4 d^2 + 2 d 4 d and two norms of 2 d; without biases."""
    d, whole = 8, numbers(model())
    branch, ffn, norm = 4 * d * d, 8 * d * d, 2 * d
    assert whole - numbers(shared()) == 3 * (branch + ffn + 2 * norm)
    assert whole - numbers(shared("attention")) == 3 * (branch + norm)
    assert whole - numbers(shared("ffn")) == 3 * (ffn + norm)
    assert whole - numbers(shared("all", "model.sharing_groups=2")) == 2 * (branch + ffn + 2 * norm)
    assert whole == numbers(shared("all", "model.sharing_groups=4"))


def test_groups_are_neighbours() -> None:
    blocks = shared("all", "model.sharing_groups=3").blocks
    assert [blocks[0] is b for b in blocks] == [True, True, False, False]
    assert len(set(blocks)) == 3
    assert len(layers_of(shared())) == 1


@pytest.mark.parametrize("sharing", ["all", "attention", "ffn"])
@pytest.mark.parametrize("groups", [1, 2])
def test_unsharing_changes_no_logit_and_sums_to_one_gradient(sharing: str, groups: int) -> None:
    parent, child = (
        shared(sharing),
        model(
            "seed=1",
            *([f"model.sharing={sharing}", "model.sharing_groups=2"] if groups == 2 else []),
        ),
    )
    Unshare()(parent, child)
    assert torch.equal(parent(TOKENS), child(TOKENS))
    for network in (parent, child):
        network(TOKENS).square().sum().backward()
    summed: dict[int, Tensor] = {}
    theirs = dict(child.named_parameters(remove_duplicate=False))
    seen = set()
    for name, p in parent.named_parameters(remove_duplicate=False):
        q = theirs[name]
        if id(q) not in seen:
            seen.add(id(q))
            summed[id(p)] = summed.get(id(p), 0) + q.grad  # type: ignore[operator]
    for p in parent.parameters():
        torch.testing.assert_close(summed[id(p)], p.grad, rtol=1e-5, atol=1e-5 * p.grad.abs().max())


def test_copies_are_real_and_go_their_own_ways() -> None:
    parent, child = shared(), model()
    Unshare()(parent, child)
    before = parent.blocks[0].attention.qkv.weight.clone()
    weights = [block.attention.qkv.weight for block in child.blocks]
    assert len({w.data_ptr() for w in weights}) == 4
    optimizer = torch.optim.SGD(child.parameters(), lr=0.1)
    child(TOKENS).square().sum().backward()
    optimizer.step()
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(parent.blocks[0].attention.qkv.weight, before)


def test_wrong_uses_are_refused() -> None:
    with pytest.raises(ValueError, match=r"nothing to unshare: the parent has model\.sharing=none"):
        Unshare()(model(), model())
    with pytest.raises(ValueError, match="the child shares as much as its parent"):
        Unshare()(shared(), shared())
    with pytest.raises(UserError, match="sharing_groups=5 must be from 1 to num_layers=4"):
        shared("all", "model.sharing_groups=5")


def test_layers_of_their_own_do_not_fit_into_one() -> None:
    """Before, the last layer stayed and nobody was told."""
    parent = model()
    with pytest.raises(
        ValueError, match=r"blocks\.0\.\S+ and blocks\.1\.\S+ are one tensor in the"
    ):
        Copy()(parent, shared())
    same = model()
    Unshare()(shared(), same)
    child = shared()
    Copy()(same, child)  # equal layers do
    assert torch.equal(child(TOKENS), same(TOKENS))


def test_the_state_is_named_as_without_sharing() -> None:
    assert shared().state_dict().keys() == model().state_dict().keys()


@pytest.mark.peer
def test_against_albert() -> None:
    """The hidden states of a random AlbertModel, whose embeddings have the layers' size."""
    transformers = pytest.importorskip("transformers")
    config = transformers.AlbertConfig(
        vocab_size=259,
        embedding_size=8,
        hidden_size=8,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_act="gelu",
        max_position_embeddings=12,
        type_vocab_size=1,
    )
    torch.manual_seed(0)
    peer = transformers.AlbertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():  # what makes a small embedding large is not looked at here
        peer.encoder.embedding_hidden_mapping_in.weight.copy_(torch.eye(8))
        peer.encoder.embedding_hidden_mapping_in.bias.zero_()
        for p in peer.parameters():
            if p.ndim == 1:
                p.add_(0.1 * torch.randn_like(p))
        peer.encoder.embedding_hidden_mapping_in.bias.zero_()
    ours = shared(
        "all",
        "task=masked_lm",
        "position=learned",
        "position.max_length=12",
        "model.norm_order=post",
        "model.bias=true",
        "model.embedding_norm=true",
        "model.num_segments=1",
        "norm.eps=1e-12",
    )
    theirs = peer.state_dict()
    layer = "encoder.albert_layer_groups.0.albert_layers.0"
    names = {
        "embedding.weight": "embeddings.word_embeddings.weight",
        "position.embedding.weight": "embeddings.position_embeddings.weight",
        "segment_embedding.weight": "embeddings.token_type_embeddings.weight",
    }
    state = {name: theirs[other] for name, other in names.items()}
    for end in ("weight", "bias"):
        state[f"embedding_norm.{end}"] = theirs[f"embeddings.LayerNorm.{end}"]
        qkv = [theirs[f"{layer}.attention.{x}.{end}"] for x in ("query", "key", "value")]
        for i in range(4):
            state |= {
                f"blocks.{i}.attention.qkv.{end}": torch.cat(qkv),
                f"blocks.{i}.attention.output.{end}": theirs[f"{layer}.attention.dense.{end}"],
                f"blocks.{i}.attention_norm.{end}": theirs[f"{layer}.attention.LayerNorm.{end}"],
                f"blocks.{i}.feed_forward.input.{end}": theirs[f"{layer}.ffn.{end}"],
                f"blocks.{i}.feed_forward.output.{end}": theirs[f"{layer}.ffn_output.{end}"],
                f"blocks.{i}.feed_forward_norm.{end}": theirs[
                    f"{layer}.full_layer_layer_norm.{end}"
                ],
            }
    missing = ours.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    ours.eval()
    with torch.no_grad():
        found, expected = ours.hidden(TOKENS), peer(TOKENS).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
