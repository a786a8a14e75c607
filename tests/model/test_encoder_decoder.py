import io

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from suexp.attention import Linear, Softmax
from suexp.decoding import Beam, Greedy
from suexp.init import Default
from suexp.mask import Bidirectional, Causal, Padding
from suexp.model.encoder_decoder import EncoderDecoder
from suexp.norm import Layer
from suexp.position import NONE, Alibi, Learned, Rope

LENGTHS = torch.tensor([[4, 8], [3, 7], [1, 4]])  # of the sources and of the rows


def build(**changes) -> EncoderDecoder:
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
        "num_layers": 2,
    }
    model = EncoderDecoder(**(arguments | changes))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def batch(pad: int = 0) -> dict[str, Tensor]:
    tokens = torch.randint(11, (3, 8), generator=torch.Generator().manual_seed(1))
    keep = torch.arange(8 + pad) < LENGTHS[:, 1:]
    return {"tokens": F.pad(tokens, (0, pad)), "keep": keep, "prefix_length": LENGTHS[:, 0]}


def targets(logits: Tensor) -> Tensor:
    """The logits that have a meaning: after the source's last token, and of the target."""
    return torch.cat([logits[row, m - 1 : n] for row, (m, n) in enumerate(LENGTHS.tolist())])


def test_equals_its_layers() -> None:
    model, x = build(position=NONE(), num_layers=1), batch()["tokens"][:1]
    source = F.embedding(x[:, :4], model.embedding.weight)
    h = model.encoder_norm(model.encoder[0](source, Bidirectional()))
    y = F.embedding(x[:, 3:], model.embedding.weight)
    block = model.blocks[0]
    y = y + block.block.attention(block.block.attention_norm(y), Causal())
    y = y + block.cross(block.cross_norm(y), Bidirectional(), context=h)
    y = y + block.block.feed_forward(block.block.feed_forward_norm(y))
    logits = model(x, prefix_length=torch.tensor([4]))[:, 3:]
    torch.testing.assert_close(logits, model.norm(y) @ model.embedding.weight.T)


@pytest.mark.parametrize("position", [lambda: Rope(8), lambda: Alibi(2), lambda: Learned(8, 16)])
def test_padding_and_batches_change_nothing(position) -> None:
    model = build(position=position(), head="mlm")
    whole = targets(model(**batch()))
    alone = [
        model(batch()["tokens"][row : row + 1, :n], prefix_length=torch.tensor([m]))[0, m - 1 :]
        for row, (m, n) in enumerate(LENGTHS.tolist())
    ]
    torch.testing.assert_close(whole, torch.cat(alone), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(targets(model(**batch(3))), whole, atol=1e-6, rtol=1e-6)


def test_at_chooses_places() -> None:
    model = build()
    at = torch.zeros(3, 8, dtype=torch.bool)
    at[0, 4:6] = at[2, 0] = True
    torch.testing.assert_close(model(**batch(), at=at), model(**batch())[at])


def test_a_target_is_read_from_left_to_right_and_the_source_whole() -> None:
    model = build()
    for place in range(3, 8):
        changed = batch()
        changed["tokens"][0, place + 1 :] = 0
        again, before = model(**changed), model(**batch())
        assert torch.equal(again[0, 3 : place + 1], before[0, 3 : place + 1])
    changed = batch()
    changed["tokens"][0, 0] += 1
    assert not torch.isclose(model(**changed)[0, 3], model(**batch())[0, 3]).all()


@pytest.mark.parametrize("attention", [Softmax, Linear])
@pytest.mark.parametrize("position", ["rope", "learned", "alibi"])
def test_decoding_equals_the_whole(attention, position: str) -> None:
    if attention is Linear and position == "alibi":
        return
    positions = {"rope": Rope(8), "learned": Learned(8, 16), "alibi": Alibi(2)}
    model = build(position=positions[position], attention=attention())
    x = batch()["tokens"]
    source = torch.tensor([4, 4, 2])
    prompt, keep = x[:, :4], torch.arange(4) < source[:, None]
    logits, state = model.decode(prompt, None, keep)
    steps = [logits[torch.arange(3), source - 1]]
    for piece in x[:, 4:].split([1, 1, 2], 1):
        logits, state = model.decode(piece, state)
        steps += list(logits.unbind(1))
    assert state.length == 5
    for row, m in enumerate(source.tolist()):
        text = torch.cat((x[row : row + 1, :m], x[row : row + 1, 4:]), 1)
        expected = model(text, prefix_length=source[row : row + 1])[0, m - 1 :]
        found = torch.stack([step[row] for step in steps])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_generates_alone_as_in_a_batch() -> None:
    model = build()
    source, keep = batch()["tokens"][:, :4], torch.arange(4) < LENGTHS[:, :1]
    for decoding in (Greedy(), Beam(3)):
        facts = {"prefix_length": LENGTHS[:, 0]}
        new = decoding(model, source, 6, end=0, keep=keep, new_segment=1, **facts)
        for row, (m, _) in enumerate(LENGTHS.tolist()):
            one = decoding(model, source[row : row + 1, :m], 6, end=0, new_segment=1)
            assert one.texts()[0] == new.texts()[row]


def test_parameters_are_counted() -> None:
    """12 dim^2 an encoder's block, 16 a decoder's; 2 and 3 norms; last norms; one table."""
    count = sum(p.numel() for p in build(num_encoder_layers=3).parameters())
    assert count == (3 * 12 + 2 * 16) * 16**2 + (3 * 2 + 2 * 3 + 2) * 2 * 16 + 11 * 16


def test_gradients_and_state_dict() -> None:
    model, file = build(head="mlm", bias=True), io.BytesIO()
    targets(model(**batch())).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = build(head="mlm", bias=True)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(targets(other(**batch())), targets(model(**batch())))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"num_encoder_layers": 0}, "num_encoder_layers must be at least 1, not 0"),
        ({"num_heads": 3}, "dim 16 does not divide by num_heads 3; set head_dim"),
        ({"position": Rope(4)}, "position.head_dim is 4, but the model's heads have 8"),
    ],
)
def test_refuses_what_does_not_fit(changes: dict, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        build(**changes)


def test_mistakes_in_a_batch() -> None:
    model = build(position=Learned(3, 16))
    with pytest.raises(ValueError, match="needs prefix_length, the sources' lengths"):
        model(batch()["tokens"])
    with pytest.raises(ValueError, match="a text of 4 tokens is longer than the 3 positions"):
        model(**batch())
    with pytest.raises(ValueError, match="mask=bidirectional cannot decode from a cache"):
        build(mask=Bidirectional() & Padding(torch.ones(1, 1, dtype=torch.bool))).decode(
            batch()["tokens"]
        )
