import math

import pytest
import torch

from suexp.position import Sinusoidal


def test_closed_form() -> None:
    table = Sinusoidal(6, scale=1.0).embed(torch.zeros(1, 50, 6), torch.arange(50))[0]
    for t in (0, 1, 49):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            assert table[t, 2 * i] == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[t, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_scale_and_base() -> None:
    table = Sinusoidal(4, base=100.0, scale=0.5).embed(torch.zeros(1, 1, 4), torch.tensor([3]))
    expected = [math.sin(3), math.cos(3), math.sin(0.3), math.cos(0.3)]
    torch.testing.assert_close(table[0, 0], 0.5 * torch.tensor(expected))


def test_a_shift_is_a_linear_map() -> None:
    """The same matrix takes p_t to p_{t+k} for every t, the property the paper chose it for."""
    p = Sinusoidal(8, scale=1.0).embed(torch.zeros(1, 40, 8), torch.arange(40))[0].double()
    shift = torch.linalg.lstsq(p[:30], p[7:37]).solution
    torch.testing.assert_close(p[:33] @ shift, p[7:], atol=1e-5, rtol=0)


def test_far_places_are_exact() -> None:
    p = Sinusoidal(64, scale=1.0).embed(torch.zeros(1, 1, 64), torch.tensor([1_000_000]))[0, 0]
    angle = 1_000_000 / 10000 ** (2 * 5 / 64)
    assert p[10] == pytest.approx(math.sin(angle), abs=1e-6)


def test_keeps_the_type_of_its_input() -> None:
    x = torch.zeros(1, 3, 4, dtype=torch.bfloat16)
    assert Sinusoidal(4).embed(x, torch.arange(3)).dtype == torch.bfloat16


@pytest.mark.parametrize("dim", [0, 7])
def test_refuses_odd_sizes(dim: int) -> None:
    with pytest.raises(ValueError, match=f"dim must be even, not {dim}"):
        Sinusoidal(dim)


def test_refuses_a_negative_base() -> None:
    with pytest.raises(ValueError, match="base must be above 0, not -1"):
        Sinusoidal(4, base=-1.0)
