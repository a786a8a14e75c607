"""Codes of the fly, of random signs, and learned ones."""

import math

import pytest
import torch
import torch.nn.functional as F

from suexp.model import HashBio, HashFly, HashLsh


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_codes_have_exactly_so_many_ones(bits: int) -> None:
    x = torch.randn(9, 16)
    x[0] = 0  # all scores are equal
    for model in (HashFly(16, bits), HashBio(16, bits, start="normal")):
        assert model.encode(x).sum(-1).tolist() == [bits] * 9


@pytest.mark.parametrize("degrees", [20, 60, 90, 150])
def test_random_signs_agree_as_their_angle_says(degrees: int) -> None:
    """With probability 1 - angle / pi, within 3 standard errors of 100,000 bits."""
    angle = math.radians(degrees)
    model = HashLsh(2, num_bits=100_000)
    x = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]])
    codes = model.encode(x)
    agree = model.similarity(codes[:1], codes[1:]).item()
    wanted = 1 - angle / math.pi
    assert agree == pytest.approx(wanted, abs=3 * math.sqrt(wanted * (1 - wanted) / 100_000))


def test_similarity_is_one_of_equal_codes() -> None:
    x = torch.randn(5, 16)
    for model in (HashLsh(16), HashFly(16), HashBio(16, start="normal")):
        code = model.encode(x)
        torch.testing.assert_close(model.similarity(code, code).diagonal(), torch.ones(5))


def test_codes_do_not_depend_on_a_row_s_size() -> None:
    x = torch.rand(20, 16)
    for model in (HashLsh(16), HashFly(16), HashBio(16, start="normal")):
        assert torch.equal(model.encode(4 * x), model.encode(x))


def test_the_fly_does_not_smell_a_constant() -> None:
    model, x = HashFly(16), torch.randn(20, 16)
    torch.testing.assert_close(model(x + 3), model(x), atol=1e-4, rtol=1e-4)
    assert torch.equal(HashFly(16, density=0.25).weight.sum(1), torch.full((160,), 4.0))
    assert torch.equal(HashFly(16, density=1e-9).weight.sum(1), torch.ones(160))


def test_units_begin_at_rows_once() -> None:
    model, rows = HashBio(4, num_bits=1, num_units=3), torch.randn(10, 4)
    model.begin(rows)
    begun = model.weight.detach().clone()
    near = begun @ F.normalize(rows, dim=1).T
    torch.testing.assert_close(near.amax(1), torch.ones(3))
    assert len(near.argmax(1).unique()) == 3
    again = HashBio(4, num_bits=1, num_units=3)
    again.load_state_dict(model.state_dict())
    again.begin(rows)  # a run that goes on
    assert torch.equal(again.weight, begun)


def test_what_codes_take_up() -> None:
    assert HashLsh(4, num_bits=21).storage_bits == 21
    assert HashBio(4, num_bits=4, num_units=80).storage_bits == pytest.approx(20.593, abs=1e-3)
    assert HashFly(4, num_bits=4).storage_bits == pytest.approx(math.log2(math.comb(80, 4)))


def test_a_conscience_lets_the_others_win() -> None:
    x = torch.rand(64, 4)
    plain, fair = (HashBio(4, 1, num_units=3, start="normal", conscience=c) for c in (0, 30))
    for model in (plain, fair):
        model.weight.data = torch.tensor([[1.0] * 4, [0.5] * 4, [0.25] * 4])
        for _ in range(60):
            model.winner(x)
    assert plain.wins.tolist() == pytest.approx([1 / 3] * 3)
    assert plain.winner(x).tolist() == [0] * 64
    # Where two alternate c (f_0 - f_1) is what their scores differ by.
    assert fair.wins[0] > fair.wins[2] > 0.2
    assert fair.wins.sum().item() == pytest.approx(1)
    kept = fair.wins.clone()
    fair.eval().winner(x)
    assert torch.equal(fair.wins, kept)
    again = HashBio(4, 1, num_units=3, start="normal", conscience=30)
    again.load_state_dict(fair.state_dict())
    assert torch.equal(again.wins, kept)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"conscience must be in \[0, inf\), not -1"):
        HashBio(4, conscience=-1)
    with pytest.raises(ValueError, match="num_units=3 cannot hold num_bits=4 ones"):
        HashBio(4, num_bits=4, num_units=3)
    with pytest.raises(ValueError, match="160 units cannot begin at 5 training rows; set model"):
        HashBio(4).begin(torch.randn(5, 4))
    for kind in (HashLsh, HashFly, HashBio):
        with pytest.raises(ValueError, match="num_bits must be at least 1, not 0"):
            kind(4, num_bits=0)
