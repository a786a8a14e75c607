import pytest
import torch

from suexp.position import Alibi
from suexp.position.alibi import slopes


def test_slopes_of_8_heads() -> None:
    torch.testing.assert_close(slopes(8), torch.tensor([2.0**-k for k in range(1, 9)]))


def test_slopes_of_12_heads() -> None:
    """As the paper's code: those of 8 heads, then the 1st, 3rd, 5th and 7th of 16 heads."""
    expected = [2.0**-k for k in range(1, 9)] + [2.0 ** -(k / 2) for k in (1, 3, 5, 7)]
    torch.testing.assert_close(slopes(12), torch.tensor(expected))


@pytest.mark.parametrize("num_heads", range(1, 33))
def test_every_head_has_its_own_slope(num_heads: int) -> None:
    values = slopes(num_heads).tolist()
    assert len(set(values)) == num_heads
    assert all(0 < value < 1 for value in values)


def test_bias_is_linear_in_the_distance_and_symmetric() -> None:
    bias = Alibi(8).bias(torch.arange(4), torch.arange(4))
    assert bias.shape == (8, 4, 4)
    torch.testing.assert_close(bias[0, 3], torch.tensor([-1.5, -1.0, -0.5, 0.0]))
    torch.testing.assert_close(bias[7, 0], torch.tensor([0.0, -1.0, -2.0, -3.0]) / 256)
    torch.testing.assert_close(bias, bias.mT)


def test_late_queries_see_the_last_rows() -> None:
    alibi, t = Alibi(4), torch.arange(6)
    torch.testing.assert_close(alibi.bias(t[4:], t), alibi.bias(t, t)[:, 4:])


def test_half_precision_models_keep_exact_slopes() -> None:
    alibi = Alibi(12).bfloat16()
    torch.testing.assert_close(alibi.slopes, slopes(12))
    assert not alibi.state_dict()


def test_refuses_no_heads() -> None:
    with pytest.raises(ValueError, match="num_heads must be at least 1, not 0"):
        Alibi(0)


def test_heads_may_share_slopes() -> None:
    assert torch.equal(Alibi(8, slope_repeat=2).slopes, slopes(4).repeat_interleave(2))
    with pytest.raises(ValueError, match="slope_repeat 3 must divide num_heads 8"):
        Alibi(8, slope_repeat=3)
