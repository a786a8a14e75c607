import math

import pytest
import torch

from suexp.position import Rope, Xpos

PLACES = torch.arange(40)


def scores(position: Rope, q: torch.Tensor, k: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return position.rotate(q, places) @ position.rotate(k, places, is_key=True).mT


@pytest.mark.parametrize("interleaved", [True, False])
def test_each_pairs_share_fades_by_its_zeta(interleaved: bool) -> None:
    d, b = 8, 16.0
    position = Xpos(d, scale_base=b, interleaved=interleaved)
    q, k = torch.randn(2, 1, 1, 40, d, dtype=torch.float64)
    expected = torch.zeros(40, 40, dtype=torch.float64)
    for i in range(d // 2):
        pair = [2 * i, 2 * i + 1] if interleaved else [i, i + d // 2]
        alone = [torch.zeros_like(x) for x in (q, k)]
        for x, y in zip(alone, (q, k), strict=True):
            x[..., pair] = y[..., pair]
        zeta = (2 * i / d + 0.4) / 1.4
        share = scores(Rope(d, interleaved=interleaved), *alone, PLACES)[0, 0]
        expected += share * zeta ** ((PLACES[:, None] - PLACES) / b)
    found = scores(position, q, k, PLACES)[0, 0]
    seen = torch.ones(40, 40, dtype=torch.bool).tril()
    torch.testing.assert_close(found[seen], expected[seen], rtol=1e-5, atol=1e-5)


def test_without_fading_it_is_rope() -> None:
    q, k = torch.randn(2, 2, 3, 40, 8)
    torch.testing.assert_close(
        scores(Xpos(8, gamma=math.inf), q, k, PLACES), scores(Rope(8), q, k, PLACES)
    )
    assert Xpos(8, gamma=math.inf).max_length is None


def test_only_the_distance_matters() -> None:
    q, k = torch.randn(2, 2, 3, 40, 8)
    position = Xpos(8)
    torch.testing.assert_close(
        scores(position, q, k, PLACES + 1000), scores(position, q, k, PLACES), atol=1e-4, rtol=1e-3
    )


def test_rows_with_places_of_their_own() -> None:
    position, x = Xpos(8), torch.randn(2, 3, 40, 8)
    places = torch.stack([PLACES, PLACES + 5])
    out = position.rotate(x, places, is_key=True)
    for row in range(2):
        torch.testing.assert_close(
            out[row : row + 1], position.rotate(x[row : row + 1], places[row], is_key=True)
        )


def test_one_zeta_for_all_pairs() -> None:
    q, k = torch.randn(2, 1, 1, 40, 8, dtype=torch.float64)
    zeta = sum((2 * i / 8 + 0.4) / 1.4 for i in range(4)) / 4
    expected = scores(Rope(8), q, k, PLACES) * zeta ** ((PLACES[:, None] - PLACES) / 512.0)
    torch.testing.assert_close(
        scores(Xpos(8, shared=True), q, k, PLACES), expected, rtol=1e-5, atol=1e-5
    )


def test_the_longest_text_is_finite_and_longer_ones_are_refused() -> None:
    position = Xpos(64)
    assert position.max_length == 32_695
    last = torch.tensor([position.max_length - 1])
    x = torch.ones(1, 1, 1, 64)
    for out in (position.rotate(x, last), position.rotate(x, last, is_key=True)):
        assert out.isfinite().all()
        assert (out != 0).all()
    with pytest.raises(ValueError, match="longer than the 32695 positions of Xpos"):
        position.check_length(32_696)


def test_half_precision_keeps_exact_factors() -> None:
    position, x = Xpos(8).bfloat16(), torch.randn(1, 1, 40, 8)
    assert not position.state_dict()
    wide = position.rotate(x.bfloat16().float(), PLACES)
    torch.testing.assert_close(position.rotate(x.bfloat16(), PLACES), wide.bfloat16())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"gamma": 0.0}, "gamma must be above 0, not 0.0"),
        ({"scale_base": -1.0}, "scale_base must be above 0, not -1.0"),
        ({"head_dim": 7}, "head_dim must be even, not 7"),
    ],
)
def test_refusals(arguments: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Xpos(**({"head_dim": 8} | arguments))  # type: ignore[arg-type]
