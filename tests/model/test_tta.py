"""No output knows its own token; everything else as in the paper's equations."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import suexp
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.mask.exclude_self import ExcludeSelf

SMALL = ("task=autoencode_lm", "data.tokenizer=bytes", "model.dim=16", "model.num_heads=2")
SIZE = "data.block_size=12"
LEAK = ("model.update_kv=true", "task.allow_leak=true")


def task(*overrides: str) -> Any:
    return suexp.build(suexp.compose([*SMALL, SIZE, *overrides])).eval()  # type: ignore[union-attr]


def text(rows: int = 1, length: int = 12) -> Tensor:
    return torch.randint(256, (rows, length), generator=torch.Generator().manual_seed(1))


def jacobian(model: Any, tokens: Tensor) -> Tensor:
    """Return |d logits_i / d emb_j|, from embeddings that are looked up before."""
    embedded: list[Tensor] = []
    hook = model.embedding.register_forward_hook(lambda *a: embedded.append(a[2]))
    n = tokens.shape[1]
    logits = model(tokens.expand(n, n))
    hook.remove()
    rows = torch.arange(n)
    asked = (logits[rows, rows] * torch.randn(logits.shape[-1])).sum()
    (gradient,) = torch.autograd.grad(asked, embedded)
    return gradient.norm(dim=-1)


VARIANTS = [
    (),
    ("position=learned",),
    ("position=alibi", "model.norm_order=pre"),
    ("model.query_init=position", "position=sinusoidal"),
    ("attention=realformer", "model.head=mlm"),
    ("attention=talking_heads",),
    ("attention=linear",),
    ("attention=performer",),
]


@pytest.mark.parametrize("variant", VARIANTS, ids="-".join)
def test_output_i_knows_every_token_but_its_own(variant: tuple[str, ...]) -> None:
    model, tokens = task(*variant).model, text()
    n = tokens.shape[1]
    changed = tokens.repeat(n + 1, 1)
    changed[1:].diagonal().add_(9).remainder_(256)
    with torch.no_grad():
        logits = model(changed)
    difference = (logits[1:] - logits[0]).abs().amax(-1)
    assert difference.diagonal().max() < 1e-6
    assert difference[~torch.eye(n, dtype=torch.bool)].min() > 1e-6
    influence = jacobian(model, tokens)
    assert influence.diagonal().count_nonzero() == 0
    assert (influence[~torch.eye(n, dtype=torch.bool)] > 0).all()


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_updated_keys_leak_from_the_second_layer_on(layers: int) -> None:
    tokens, depth = text(), f"model.num_layers={layers}"
    kept, updated = (task(depth, *extra).model for extra in ((), LEAK))
    assert jacobian(kept, tokens).diagonal().count_nonzero() == 0
    assert (jacobian(updated, tokens).diagonal().min() > 0) == (layers > 1)


def test_one_layer_is_a_masked_cross_attention() -> None:
    """Against torch.nn.MultiheadAttention(P, X, X, attn_mask=eye), then the rest of the block."""
    overrides = ("position=learned", "model.num_layers=1", "model.query_init=position")
    model = task(*overrides, "model.embedding_norm=false", "model.bias=true").model
    nn.init.normal_(model.blocks[0].attention.qkv.bias)
    block, tokens = model.blocks[0], text(3)
    theirs = nn.MultiheadAttention(16, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(block.attention.qkv.weight)
        theirs.in_proj_bias.copy_(block.attention.qkv.bias)
        theirs.out_proj.weight.copy_(block.attention.output.weight)
        theirs.out_proj.bias.copy_(block.attention.output.bias)
    places = model.position.embedding.weight.expand(3, -1, -1)
    source = model.embedding(tokens) + places
    gathered = theirs(places, source, source, attn_mask=torch.eye(12, dtype=torch.bool))[0]
    x = block.attention_norm(places + gathered)
    x = block.feed_forward_norm(x + block.feed_forward(x))
    torch.testing.assert_close(model.hidden(tokens), x, atol=1e-6, rtol=1e-5)


def test_one_pass_equals_a_pass_for_each_token() -> None:
    """Whatever stands at the place in question: [MASK] or any other token."""
    made, tokens = task(), text(2)
    keep = torch.arange(12) < torch.tensor([[12], [9]])
    found = made.log_likelihoods(tokens, keep)
    assert (found[~keep] == 0).all()
    assert (found[keep] < 0).all()
    for other in (made.mask_id, 7):
        for i in range(12):
            asked = tokens.clone()
            asked[:, i] = other
            log_p = made.model(asked, keep=keep)[:, i].log_softmax(-1)
            expected = log_p.gather(1, tokens[:, i : i + 1])[:, 0].where(keep[:, i], 0.0)
            torch.testing.assert_close(found[:, i], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(made.log_likelihoods(tokens, keep, chunk_tokens=12), found)


def test_masked_lm_and_causal_lm_give_likelihoods_too() -> None:
    masked = task("task=masked_lm", "model=transformer", "mask=bidirectional")
    tokens, keep = text(2), torch.arange(12) < torch.tensor([[12], [9]])
    tokens[0, 3] = masked.data.tokenizer_.eot_id
    found = masked.log_likelihoods(tokens, keep, chunk_tokens=30)
    assert (found == 0).sum() == 4
    hidden = tokens.clone()
    hidden[1, 4] = masked.mask_id
    log_p = masked.model(hidden, keep=keep)[1, 4].log_softmax(-1)
    torch.testing.assert_close(found[1, 4], log_p[tokens[1, 4]], atol=1e-5, rtol=0)
    causal = task("task=causal_lm", "model=transformer", "mask=causal", "task.sample_tokens=0")
    found = causal.log_likelihoods(tokens, keep, chunk_tokens=12)
    end = causal.data.tokenizer_.eot_id
    logits = causal.model(torch.cat((torch.full((2, 1), end), tokens), 1))
    expected = logits[:, :-1].log_softmax(-1).gather(2, tokens[..., None])[..., 0]
    torch.testing.assert_close(found, expected.where(keep, 0.0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_lone_token_and_padding(precision: torch.dtype) -> None:
    model, tokens = task().model, text(2)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        alone = model(text(2, 1))
        assert alone.isfinite().all()
        assert torch.equal(alone[0], alone[1])
        lonely = model(tokens, keep=torch.arange(12) < torch.tensor([[12], [1]]))
        assert lonely.isfinite().all()
    keep = torch.arange(12) < torch.tensor([[12], [7]])
    padded = model(tokens, keep=keep)
    torch.testing.assert_close(padded[1:, :7], model(tokens[1:, :7]), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(padded[:1], model(tokens[:1]), atol=1e-6, rtol=1e-5)


def test_every_token_gives_loss_but_ends_of_texts() -> None:
    made = task()
    tokens = text(4, 13)
    tokens[2, 5] = made.data.tokenizer_.eot_id
    inputs, target = made.questions(tokens)
    assert torch.equal(inputs, tokens[:, :-1])
    assert (target != -100).sum() == 4 * 12 - 1
    masked = task("task=masked_lm", "model=transformer", "mask=bidirectional")
    few = (masked.questions(text(400, 13))[1] != -100).sum() / 400
    assert few == pytest.approx(0.15 * 12, rel=0.15)


def test_trains_in_bf16_with_gradients_for_all() -> None:
    made = task("model.head=mlm", "model.dropout=0.1").train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = made.objective({"tokens": text(3, 13)})
    loss.backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.count_nonzero() > 0, name


def test_state_round_trip_and_other_uses() -> None:
    made, other = task(), task("seed=1")
    other.model.load_state_dict(made.model.state_dict())
    assert torch.equal(made.model(text()), other.model(text()))
    free = task("task=masked_lm", "mask=bidirectional", "model=tta", "model.query_init=token")
    assert isinstance(made.model.mask, ExcludeSelf)
    assert jacobian(free.model, text()).diagonal().min() > 0
    pairs = ("task=matching", "model=tta", "mask=exclude_self", "data=docstring_pairs")
    matching = task(*pairs).model
    mean = matching(text(2), torch.arange(12) < torch.tensor([[12], [7]]))
    torch.testing.assert_close(mean[0], matching.hidden(text(2))[0].mean(0))
    torch.testing.assert_close(mean[1], matching.hidden(text(2)[1:, :7])[0].mean(0))


def test_refusals() -> None:
    for overrides, line in (
        (["model=transformer"], "sees its own labels; use model=tta, or task=masked_lm"),
        (["mask=bidirectional"], "no token may look at itself; use mask=exclude_self"),
        (["model.update_kv=true"], "output i sees token i from the second layer on"),
        (["model.query_init=token"], "its queries begin with their tokens"),
    ):
        with pytest.raises(UserError, match=line):
            resolve(["task=autoencode_lm", *overrides])
    resolve(["task=autoencode_lm", *LEAK])
    with pytest.raises(UserError, match="needs autoregressive"):
        resolve(["model=tta"])
    with pytest.raises(UserError, match="look to both sides of their token"):
        resolve(["model=tta", "mask=causal"])
    with pytest.raises(ValueError, match="a text of 13 tokens is longer than the 12 positions"):
        task("position=learned").model(text(1, 13))
