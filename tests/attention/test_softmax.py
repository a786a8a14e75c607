import pytest
import torch
import torch.nn.functional as F

from suexp.attention import Softmax
from suexp.attention.softmax import naive
from suexp.mask import Bidirectional, Causal, ExcludeSelf, Padding, Prefix, Window
from suexp.mask.base import Mask

KEEP = torch.tensor([[True] * 4 + [False] * 3, [False] * 2 + [True] * 5])


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, bool]]:
    """Record (is_causal, has a table) of each call of the kernel."""
    calls: list[tuple[bool, bool]] = []
    kernel = F.scaled_dot_product_attention

    def spy(*args: object, **kwargs: object) -> torch.Tensor:
        calls.append((bool(kwargs["is_causal"]), kwargs["attn_mask"] is not None))
        return kernel(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    return calls


def test_two_keys_by_hand() -> None:
    q = torch.tensor([[[[2.0]]]])
    k = torch.tensor([[[[0.0], [0.5]]]])
    v = torch.tensor([[[[1.0], [3.0]]]])
    # weights 1 and e
    expected = (1 + 3 * 2.718281828) / (1 + 2.718281828)
    assert Softmax()(q, k, v, Bidirectional()).item() == pytest.approx(expected, abs=1e-6)
    assert Softmax(scale=0.0)(q, k, v, Bidirectional()).item() == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(
    "mask",
    [
        Bidirectional(),
        Causal(),
        Prefix(3),
        Window(2) & Padding(KEEP),
        ExcludeSelf(),
        Causal() & Padding(KEEP),
        Prefix(None).bind(prefix_length=torch.tensor([2, 5])),
    ],
    ids=lambda mask: "+".join(type(part).__name__ for part in mask.parts),
)
def test_equals_naive_with_gradients(mask: Mask, biased: bool) -> None:
    inputs = [torch.randn(2, 3, 7, d, dtype=torch.float64) for d in (4, 4, 5)]
    if biased:
        inputs.append(torch.randn(3, 7, 7, dtype=torch.float64))
    for x in inputs:
        x.requires_grad_()
    bias = inputs[3] if biased else None
    out = Softmax()(*inputs[:3], mask, bias)
    expected = naive(*inputs[:3], mask.dense(7, 7), bias)
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-12)
    g = torch.randn_like(out)
    grads, wanted = (torch.autograd.grad(x, inputs, g) for x in (out, expected))
    for grad, want in zip(grads, wanted, strict=True):
        torch.testing.assert_close(grad, want, rtol=1e-10, atol=1e-11)


def test_bias_may_differ_between_texts() -> None:
    q, k, v = (torch.randn(2, 3, 5, 4) for _ in range(3))
    bias = torch.randn(2, 3, 5, 5)
    out = Softmax()(q, k, v, Causal(), bias)
    torch.testing.assert_close(out, naive(q, k, v, Causal().dense(5, 5), bias))


def test_bias_that_hides_a_key_equals_the_mask_that_does() -> None:
    q, k, v = (torch.randn(1, 2, 5, 4) for _ in range(3))
    bias = torch.zeros(2, 5, 5).masked_fill(~Window(2).dense(5, 5), -torch.inf)
    out = Softmax()(q, k, v, Bidirectional(), bias)
    torch.testing.assert_close(out, Softmax()(q, k, v, Window(2)))


def test_takes_the_fastest_form(used: list[tuple[bool, bool]]) -> None:
    attention, x = Softmax(), torch.randn(2, 3, 7, 4)
    last = x[:, :, -1:]
    attention(x, x, x, Causal())
    attention(x, x, x, Bidirectional())
    attention(last, x, x, Causal())  # decoding one token
    attention(x[:, :, -2:], x, x, Causal())
    attention(x, x, x, Causal() & Padding(KEEP))
    attention(last, last, last, Causal())
    expected = [(True, False), (False, False), (False, False), (False, True), (False, True)]
    assert used == [*expected, (False, False)]


def test_dropout_drops_weights_in_training_only() -> None:
    attention = Softmax(dropout=0.5)
    q, k = torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 1000, 4)
    v = torch.ones(1, 1, 1000, 1)
    assert attention.eval()(q, k, v, Bidirectional()).item() == pytest.approx(1.0, abs=1e-5)
    attention.train()
    samples = torch.tensor([attention(q, k, v, Bidirectional()).item() for _ in range(200)])
    # Each of 1000 weights is 2/1000 or 0: mean 1, standard deviation 1/sqrt(1000) = 0.0316.
    assert samples.mean().item() == pytest.approx(1.0, abs=0.01)
    assert samples.std().item() == pytest.approx(0.0316, rel=0.2)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_outside_its_range_is_refused(dropout: float) -> None:
    with pytest.raises(ValueError, match="dropout must be at least 0 and less than 1"):
        Softmax(dropout=dropout)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(
    "mask",
    [Bidirectional(), Causal(), Window(3), Prefix(3), Causal() & Padding(KEEP)],
    ids=lambda mask: "+".join(type(part).__name__ for part in mask.parts),
)
def test_materialised_equals_the_fused_kernel(mask: Mask, biased: bool) -> None:
    inputs = [torch.randn(2, 3, 7, d, dtype=torch.float64).requires_grad_() for d in (4, 4, 5)]
    bias = torch.randn(3, 7, 7, dtype=torch.float64) if biased else None
    out, expected = (
        Softmax(scale=0.7, kernel=kernel)(*inputs, mask, bias)
        for kernel in ("materialised", "sdpa")
    )
    torch.testing.assert_close(out, expected)
    grads = [torch.autograd.grad(x.square().sum(), inputs) for x in (out, expected)]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_materialised_in_half_precision_with_dropout() -> None:
    q, k, v = (torch.randn(2, 3, 7, 4, dtype=torch.bfloat16) for _ in range(3))
    out = Softmax(kernel="materialised")(q, k, v, Causal())
    torch.testing.assert_close(out, Softmax()(q, k, v, Causal()), atol=0.03, rtol=0.03)
    ones = torch.ones(1, 1, 200, 1)
    attention = Softmax(dropout=0.5, kernel="materialised")
    dropped = attention(ones, ones, ones, Bidirectional())
    assert dropped.std() > 0.01
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.05)
    torch.testing.assert_close(attention.eval()(ones, ones, ones, Bidirectional()), ones)


def test_refuses_an_unknown_kernel() -> None:
    with pytest.raises(ValueError, match="kernel must be one of sdpa, materialised, not 'flash'"):
        Softmax(kernel="flash")


@pytest.mark.parametrize("sizes", [(4, 4, 16), (16, 16, 4)])
@pytest.mark.parametrize("mask", [Causal(), Bidirectional()])
def test_values_of_another_size_need_no_scores_of_all_pairs(
    mask: Mask, sizes: tuple[int, ...]
) -> None:
    inputs = [torch.randn(1, 2, 40, d, requires_grad=True) for d in sizes]
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x.numel()) or x, lambda x: x
    ):
        out = Softmax()(*inputs, mask)
    assert kept
    assert max(kept) < 2 * 40 * 40
    torch.testing.assert_close(out, naive(*inputs, mask.dense(40, 40)))
