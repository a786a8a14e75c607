import inspect
import io

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from suexp.attention import Linear, Softmax
from suexp.init import Default
from suexp.mask import Bidirectional, Causal, Prefix
from suexp.model import Transformer
from suexp.norm import RMS, Layer
from suexp.position import NONE, Alibi, Learned, Rope
from tests.support.processes import apart


def build(**changes) -> Transformer:
    torch.manual_seed(0)
    arguments = {
        "vocab_size": 11,
        "attention": Softmax(),
        "position": Rope(8),
        "norm": Layer(16),
        "mask": Causal(),
        "init": Default(),
        "dim": 16,
        "num_heads": 2,
    }
    return Transformer(**(arguments | changes))


def tokens(b: int = 2, n: int = 6) -> Tensor:
    torch.manual_seed(1)
    return torch.randint(11, (b, n))


def test_pre_norm_equals_its_layers() -> None:
    model, x = build(), tokens()
    h = F.embedding(x, model.embedding.weight)
    t = torch.arange(6)
    for block in model.blocks:
        h = block(h, Causal(), lambda y, is_key=False: model.position.rotate(y, t, is_key))
    torch.testing.assert_close(model(x), model.norm(h) @ model.embedding.weight.T)


def test_post_norm_has_no_last_norm() -> None:
    model, x = build(norm_order="post", position=NONE()), tokens()
    h = F.embedding(x, model.embedding.weight)
    for block in model.blocks:
        h = block(h, Causal())
    torch.testing.assert_close(model(x), h @ model.embedding.weight.T)
    assert sum(isinstance(module, Layer) for module in model.modules()) == 2 * 2
    assert sum(isinstance(module, Layer) for module in build().modules()) == 2 * 2 + 1


def test_layers_are_clones() -> None:
    attention, norm = Softmax(), Layer(16)
    model = build(attention=attention, norm=norm)
    parts = [m for m in model.modules() if isinstance(m, (Softmax, Layer))]
    assert len({id(m) for m in [*parts, attention, norm]}) == 2 + 5 + 2
    weights = [block.attention.qkv.weight for block in model.blocks]
    assert not torch.equal(*weights)


def test_parameters_are_counted() -> None:
    """12 dim^2 a layer, gains and biases of the norms, and one table of embeddings."""
    count = sum(p.numel() for p in build().parameters())
    assert count == 2 * 12 * 16**2 + 5 * 2 * 16 + 11 * 16
    untied = sum(p.numel() for p in build(tie_embeddings=False).parameters())
    assert untied == count + 11 * 16
    biased = sum(p.numel() for p in build(bias=True).parameters())
    assert biased == count + 2 * (4 + 4 + 1) * 16


def test_untied_output_is_its_own() -> None:
    model, x = build(tie_embeddings=False), tokens()
    torch.testing.assert_close(model(x), model.hidden(x) @ model.output.weight.T)


def test_gradients_reach_every_parameter() -> None:
    for model in (build(position=Learned(6, 16)), build(ffn="swiglu", norm=RMS(16), bias=True)):
        F.cross_entropy(model(tokens()).flatten(0, 1), tokens().flatten()).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_head_dim_is_free() -> None:
    model = build(head_dim=6, position=Rope(6))
    assert model.blocks[0].attention.qkv.weight.shape == (3 * 2 * 6, 16)
    assert model(tokens()).shape == (2, 6, 11)


def test_dropout_places() -> None:
    model, x = build(dropout=0.5), tokens(8, 6)
    seen: list[tuple[int, ...]] = []
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.register_forward_hook(lambda _, args, __: seen.append(tuple(args[0].shape)))
    model(x)
    assert seen == [(8, 6, 16)] * 5
    assert not torch.equal(model(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


@pytest.mark.parametrize("pool", ["mean", "first", "last"])
def test_classifier_pools_the_real_tokens(pool: str) -> None:
    model = build(mask=Bidirectional(), num_outputs=3, pool=pool)
    x, keep = tokens(3, 6), torch.arange(6) < torch.tensor([[6], [4], [1]])
    logits = model(x, keep)
    assert logits.shape == (3, 3)
    for row, length in enumerate((6, 4, 1)):
        hidden = model.hidden(x[row : row + 1, :length])[0]
        pooled = {"mean": hidden.mean(0), "first": hidden[0], "last": hidden[-1]}[pool]
        torch.testing.assert_close(logits[row], model.classifier(pooled))
    torch.testing.assert_close(model(x)[0], logits[0])


def test_an_empty_text_is_no_nan() -> None:
    model = build(mask=Bidirectional(), num_outputs=3)
    assert model(tokens(1, 4), torch.zeros(1, 4, dtype=torch.bool)).isfinite().all()


def test_facts_reach_the_mask() -> None:
    model, x = build(mask=Prefix(length=None)), tokens(2, 6)
    whole = model(x, prefix_length=torch.tensor([6, 1]))
    torch.testing.assert_close(whole[0], build(mask=Bidirectional())(x)[0])
    torch.testing.assert_close(whole[1], build()(x)[1])


def test_decoding_in_pieces_equals_the_whole() -> None:
    for position in (Rope(8), Alibi(2), Learned(6, 16)):
        model, x, state, pieces = build(position=position), tokens(), None, []
        for piece in x.split([3, 1, 2], dim=1):
            logits, state = model.decode(piece, state)
            pieces.append(logits)
        assert state.length == 6
        torch.testing.assert_close(torch.cat(pieces, 1), model(x))


def test_positions_are_numbered_once() -> None:
    model = build()
    model(tokens())
    places, table = model._places, model.position._table
    model(tokens())
    assert model._places is places
    assert model.position._table is table
    model(tokens(2, 4))
    assert len(model._places) == 4


def test_trains_after_inference_mode() -> None:
    for position in (Rope(8), Alibi(2), Learned(6, 16)):
        model = build(position=position, mask=Prefix(2))
        with torch.inference_mode():
            model(tokens())
        model(tokens()).sum().backward()


def test_state_dict_round_trip() -> None:
    model, file = build(position=Learned(6, 16)), io.BytesIO()
    model(tokens())
    torch.save(model.state_dict(), file)
    file.seek(0)
    torch.manual_seed(5)
    other = Transformer(
        11, Softmax(), Learned(6, 16), Layer(16), Causal(), Default(), dim=16, num_heads=2
    )
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(tokens()), model(tokens()))


def traced_equals() -> None:
    model = build()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(tokens()), model(tokens()))


@pytest.mark.slow
def test_traces_into_one_graph() -> None:
    apart(traced_equals)  # the run-time checks of annotations do not trace


def test_a_longer_text_than_positions_is_one_line() -> None:
    model = build(position=Learned(5, 16))
    line = "a text of 6 tokens is longer than the 5 positions of Learned"
    with pytest.raises(ValueError, match=line):
        model(tokens())
    _, state = model.decode(tokens(2, 5))
    with pytest.raises(ValueError, match=line):
        model.decode(tokens(2, 1), state)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"num_heads": 3}, "dim 16 does not divide by num_heads 3; set head_dim"),
        ({"num_layers": 0}, "num_layers must be at least 1, not 0"),
        ({"ffn_multiplier": 0}, "ffn_multiplier must be at least 1, not 0"),
        ({"position": Rope(4)}, "position.head_dim is 4, but the model's heads have 8"),
        ({"pool": "max"}, "pool must be one of mean, first, last, not max"),
    ],
)
def test_refuses_what_does_not_fit(changes: dict, line: str) -> None:
    arguments = {
        "vocab_size": 11,
        "attention": Softmax(),
        "position": Rope(8),
        "norm": Layer(16),
        "mask": Causal(),
        "init": Default(),
        "dim": 16,
        "num_heads": 2,
    }
    model = Transformer.__new__(Transformer)
    with pytest.raises(ValueError, match=line):
        inspect.unwrap(Transformer.__init__)(model, **(arguments | changes))


def test_a_classifier_does_not_decode() -> None:
    with pytest.raises(ValueError, match="a classifier does not decode"):
        build(num_outputs=2).decode(tokens())


def shaken(model: Transformer) -> Transformer:
    """Give biases and gains values that show."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize("attention", ["softmax", "linear"])
@pytest.mark.parametrize("position", ["rope", "learned", "alibi"])
@pytest.mark.parametrize("mask", ["causal", "prefix"])
def test_texts_of_different_lengths_decode_together(
    attention: str, position: str, mask: str
) -> None:
    """A padded batch decodes as each of its texts does alone."""
    if attention == "linear" and (mask == "prefix" or position == "alibi"):
        return
    positions = {"rope": Rope(8), "learned": Learned(20, 16), "alibi": Alibi(2)}
    model = shaken(
        build(
            attention=Softmax() if attention == "softmax" else Linear(),
            position=positions[position],
            mask=Causal() if mask == "causal" else Prefix(None),
            num_segments=2,
        )
    )
    text, lengths = tokens(2, 9), torch.tensor([5, 3])
    prompt, new = text[:, :5], text[:, 5:]
    keep = torch.arange(5) < lengths[:, None]
    kinds = torch.ones_like(new)
    logits, state = model.decode(prompt, None, keep, prefix_length=lengths)
    pieces = [logits]
    for piece, kind in zip(new.split([1, 3], 1), kinds.split([1, 3], 1), strict=True):
        logits, state = model.decode(piece, state, segments=kind)
        pieces.append(logits)
    together = torch.cat(pieces, 1)
    for row, length in enumerate(lengths.tolist()):
        alone = torch.cat((prompt[row : row + 1, :length], new[row : row + 1]), 1)
        kind = (torch.arange(length + 4) >= length).long()[None]
        expected = model(alone, segments=kind, prefix_length=lengths[row : row + 1])[0]
        found = torch.cat((together[row, :length], together[row, 5:]))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_head_of_masked_models() -> None:
    model = shaken(build(head="mlm", mask=Bidirectional()))
    hidden, head = model.hidden(tokens()), model.head
    expected = head.norm(F.gelu(hidden @ head.dense.weight.T + head.dense.bias))
    logits = expected @ model.embedding.weight.T + head.bias
    torch.testing.assert_close(model(tokens()), logits)
    untied = shaken(build(head="mlm", mask=Bidirectional(), tie_embeddings=False))
    hidden, head, output = untied.hidden(tokens()), untied.head, untied.output
    expected = head.norm(F.gelu(hidden @ head.dense.weight.T + head.dense.bias))
    torch.testing.assert_close(untied(tokens()), expected @ output.weight.T + head.bias)


def test_segments_and_the_norm_of_embeddings() -> None:
    model = shaken(build(num_segments=2, embedding_norm=True, position=NONE(), num_layers=1))
    x, kinds = tokens(), torch.arange(6)[None].expand(2, 6) % 2
    h = model.embedding.weight[x] + model.segment_embedding.weight[kinds]
    h = model.norm(model.blocks[0](model.embedding_norm(h), Causal()))
    torch.testing.assert_close(model(x, segments=kinds), h @ model.embedding.weight.T)
    assert torch.equal(model(x), model(x, segments=torch.zeros_like(x)))


def test_the_pooler_stands_before_the_classifier() -> None:
    model = shaken(build(pooler=True, pool="first", num_outputs=3))
    dense = model.pooler[0]
    pooled = torch.tanh(model.hidden(tokens())[:, 0] @ dense.weight.T + dense.bias)
    torch.testing.assert_close(model(tokens()), model.classifier(pooled))


def test_vectors_in_the_place_of_tokens() -> None:
    model = build(vocab_size=0, input_dim=4, num_outputs=3, mask=Bidirectional(), bias=True)
    x = torch.randn(2, 6, 4)
    logits = model(x)
    assert logits.shape == (2, 3)
    table = build(vocab_size=11, num_outputs=3, mask=Bidirectional(), bias=True)
    shared = {k: v for k, v in model.state_dict().items() if not k.startswith("embedding.")}
    table.load_state_dict(shared, strict=False)
    with torch.no_grad():  # one vector for each word, as the linear layer would give it
        table.embedding.weight[:6] = model.embedding(x[0])
    torch.testing.assert_close(table(torch.arange(6)[None]), logits[:1])


def test_vectors_need_a_size_and_classes() -> None:
    with pytest.raises(ValueError, match="without a vocabulary it needs input_dim and num_outputs"):
        build(vocab_size=0, num_outputs=3)
    with pytest.raises(ValueError, match="no words to predict"):
        build(vocab_size=0, input_dim=4)


def test_labels_of_tokens() -> None:
    model, x = build(num_labels=3, mask=Bidirectional(), pooler=True, head="mlm"), tokens()
    logits = model(x)
    assert logits.shape == (2, 6, 3)
    torch.testing.assert_close(logits, model.classifier(model.hidden(x)))
    keep = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    torch.testing.assert_close(model(x, keep)[1, :4], model(x[1:, :4])[0])
    assert model.head is None
    with pytest.raises(ValueError, match="num_labels each token: give one"):
        build(num_labels=3, num_outputs=2)


def test_a_linear_pooler_is_there_for_whoever_reads_a_state() -> None:
    model, x = build(pooler="linear"), tokens()
    assert torch.equal(model(x), model.logits(model.hidden(x)))
    assert model.pooler.weight.shape == (model.dim, model.dim)
    judge = shaken(build(pooler="linear", pool="first", num_outputs=3))
    pooled = judge.hidden(x)[:, 0] @ judge.pooler.weight.T + judge.pooler.bias
    torch.testing.assert_close(judge(x), judge.classifier(pooled))
