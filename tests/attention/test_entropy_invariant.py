import math

import pytest
import torch

from suexp.attention import EntropyInvariant, Softmax
from suexp.attention.softmax import naive
from suexp.mask import Bidirectional, Causal, Padding, Window


def draw(n: int, m: int | None = None, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    m = n if m is None else m
    return [torch.randn(2, 3, size, 8, dtype=dtype) for size in (n, m, m)]


def entropy(p: torch.Tensor) -> torch.Tensor:
    return -(p * p.clamp_min(1e-300).log()).sum(-1)


def test_at_512_keys_it_is_the_usual_attention() -> None:
    q, k, v = draw(5, 512)
    torch.testing.assert_close(
        EntropyInvariant()(q, k, v, Bidirectional()), Softmax()(q, k, v, Bidirectional())
    )


@pytest.mark.parametrize("n", [8, 12, 16])
def test_few_keys_count_as_16(n: int) -> None:
    q, k, v = draw(n)
    expected = naive(q * (math.log(16) / math.log(512)), k, v)
    torch.testing.assert_close(EntropyInvariant()(q, k, v, Bidirectional()), expected)


def test_it_is_a_power_of_the_usual_weights() -> None:
    q, k, _ = draw(40, 300, torch.float64)
    v = torch.eye(300, dtype=torch.float64).expand(2, 3, 300, 300)
    usual = Softmax()(q, k, v, Bidirectional()) ** (math.log(300) / math.log(512))
    expected = usual / usual.sum(-1, keepdim=True)
    out = EntropyInvariant()(q, k, v, Bidirectional())
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-12)


def test_hidden_keys_do_not_count() -> None:
    q, k, v = draw(20, 100)
    keep = torch.zeros(2, 100, dtype=torch.bool)
    keep[:, :40] = True
    torch.testing.assert_close(
        EntropyInvariant()(q, k, v, Padding(keep)),
        EntropyInvariant()(q, k[:, :, :40], v[:, :, :40], Bidirectional()),
    )
    # A window of 30 keys scales by 30, whatever the length.
    q, k, v = draw(100)
    scale = EntropyInvariant().query_scale(q, 100, Window(30))
    assert scale[-1].item() == pytest.approx(math.log(30) / math.log(512))


def test_a_causal_row_is_the_bidirectional_one_of_what_it_sees() -> None:
    q, k, v = draw(60)
    whole = EntropyInvariant()(q, k, v, Causal())
    for i in (0, 15, 16, 40, 59):
        past = slice(0, i + 1)
        row = EntropyInvariant()(q[:, :, i : i + 1], k[:, :, past], v[:, :, past], Bidirectional())
        torch.testing.assert_close(whole[:, :, i : i + 1], row)


def test_beyond_train_leaves_lengths_of_training_alone() -> None:
    attention = EntropyInvariant(mode="beyond_train", train_length=64)
    q, k, v = draw(256)
    plain, scaled = (a(q, k, v, Causal()) for a in (Softmax(), attention))
    torch.testing.assert_close(scaled[:, :, :64], plain[:, :, :64])
    last = naive(q[:, :, -1:] * (math.log(256) / math.log(64)), k, v)
    torch.testing.assert_close(scaled[:, :, -1:], last)


def test_kappa_scales_by_the_plain_logarithm() -> None:
    q, k, v = draw(30)
    expected = naive(q, k, v, scale=0.7 * math.log(30) / 8)
    torch.testing.assert_close(EntropyInvariant(kappa=0.7)(q, k, v, Bidirectional()), expected)


def test_a_bias_is_not_scaled() -> None:
    q, k, v = draw(30)
    bias = torch.randn(3, 30, 30)
    expected = naive(q * (math.log(30) / math.log(512)), k, v, bias=bias)
    torch.testing.assert_close(EntropyInvariant()(q, k, v, Bidirectional(), bias), expected)


def test_bound_of_the_entropy_is_never_violated() -> None:
    scores = torch.randn(10_000, 64, dtype=torch.float64) * torch.rand(10_000, 1).double() * 5
    scale = torch.rand(10_000, 1, dtype=torch.float64) * 3
    p = (scale * scores).softmax(-1)
    bound = math.log(64) - scale[:, 0] * (scores.amax(-1) - scores.mean(-1))
    assert (entropy(p) >= bound - 1e-5).all()
    identity = (
        math.log(64) + (scale * scores).exp().mean(-1).log() - scale[:, 0] * (p * scores).sum(-1)
    )
    torch.testing.assert_close(entropy(p), identity, rtol=1e-6, atol=1e-9)
    equal = (scale * torch.full((1, 64), 0.3, dtype=torch.float64)).softmax(-1)
    torch.testing.assert_close(entropy(equal), torch.full((10_000,), math.log(64)).double())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"base": 1.0}, "base must be above 1, not 1.0"),
        ({"min_length": 1}, "min_length must be at least 2, not 1"),
        ({"mode": "sometimes"}, "mode must be one of always, beyond_train, not 'sometimes'"),
        ({"mode": "beyond_train"}, "attention.train_length is needed"),
        ({"kappa": 0.0}, "kappa must be above 0, not 0.0"),
        ({"mode": "beyond_train", "train_length": 64, "kappa": 1.0}, "leave kappa out"),
    ],
)
def test_refusals(arguments: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        EntropyInvariant(**arguments)  # type: ignore[arg-type]
