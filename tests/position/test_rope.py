import numpy as np
import pytest
import torch
from torch import Tensor

from suexp.position import Rope
from suexp.position.rope import rotate_neighbours

BOTH = pytest.mark.parametrize("interleaved", [True, False])


def complex_reference(x: Tensor, t: np.ndarray, interleaved: bool, base: float = 1e4) -> np.ndarray:
    """Rotate with numpy's complex numbers in double precision; x is (b, h, n, d)."""
    a = x.double().numpy()
    d = a.shape[-1]
    first, second = (a[..., 0::2], a[..., 1::2]) if interleaved else np.split(a, 2, axis=-1)
    theta = base ** (-2 * np.arange(d // 2) / d)
    z = (first + 1j * second) * np.exp(1j * t[:, None] * theta)
    if interleaved:
        return np.stack((z.real, z.imag), -1).reshape(a.shape)
    return np.concatenate((z.real, z.imag), -1)


@BOTH
def test_equals_complex_numbers(interleaved: bool) -> None:
    torch.manual_seed(0)
    x, t = torch.randn(2, 3, 9, 8), torch.arange(100, 109)
    y = Rope(8, interleaved=interleaved).rotate(x, t)
    np.testing.assert_allclose(y, complex_reference(x, t.numpy(), interleaved), atol=2e-6)


@BOTH
def test_product_depends_on_the_distance_only(interleaved: bool) -> None:
    torch.manual_seed(1)
    rope = Rope(16, interleaved=interleaved)
    q, k = torch.randn(2, 1, 1, 1, 16).double()

    def product(m: int, n: int) -> Tensor:
        return (rope.rotate(q, torch.tensor([m])) * rope.rotate(k, torch.tensor([n]))).sum()

    torch.testing.assert_close(product(7, 3), product(1007, 1003), atol=1e-11, rtol=0)
    torch.testing.assert_close(product(0, 5), product(200, 205), atol=1e-11, rtol=0)
    assert (product(7, 3) - product(7, 4)).abs() > 1e-3


@BOTH
def test_keeps_lengths_and_the_first_place(interleaved: bool) -> None:
    x = torch.randn(2, 3, 5, 8)
    y = Rope(8, interleaved=interleaved).rotate(x, torch.arange(5))
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(y[:, :, 0], x[:, :, 0])


@BOTH
def test_gradient_turns_back(interleaved: bool) -> None:
    x = torch.randn(1, 2, 5, 8, requires_grad=True)
    y = Rope(8, interleaved=interleaved).rotate(x, torch.arange(5))
    (gradient,) = torch.autograd.grad(y, x, y)
    torch.testing.assert_close(gradient, x.detach())


def test_places_may_differ_between_texts() -> None:
    rope, x = Rope(4), torch.randn(2, 3, 5, 4)
    t = torch.stack((torch.arange(5), torch.arange(10, 15)))
    y = rope.rotate(x, t)
    torch.testing.assert_close(y[1:], rope.rotate(x[1:], t[1]))


def test_takes_the_strided_slices_of_a_fused_projection() -> None:
    qkv = torch.randn(2, 5, 3, 4, 8)
    q = qkv[:, :, 1].transpose(1, 2)
    t = torch.arange(5)
    torch.testing.assert_close(Rope(8).rotate(q, t), Rope(8).rotate(q.contiguous(), t))


def layouts() -> dict[str, Tensor]:
    """The same numbers in memory where complex ones could not lie."""
    x = torch.randn(2, 3, 5, 8)
    laid = {
        "strided features": torch.stack((x, x), -1)[..., 0],
        "odd start": torch.cat((x[..., :1], x, x[..., :1]), -1)[..., 1:9],
        "odd rows": torch.cat((x, x[..., :1]), -1)[..., :8],
        "transposed": x.mT.contiguous().mT,
    }
    assert all(torch.equal(value, x) and not value.is_contiguous() for value in laid.values())
    return laid


@BOTH
@pytest.mark.parametrize("layout", layouts())
def test_takes_every_layout(interleaved: bool, layout: str) -> None:
    x, t = layouts()[layout].requires_grad_(), torch.arange(5)
    y = Rope(8, interleaved=interleaved).rotate(x, t)
    expected = complex_reference(x.detach(), t.numpy(), interleaved)
    np.testing.assert_allclose(y.detach(), expected, atol=2e-6)
    (gradient,) = torch.autograd.grad(y.square().sum() / 2, x)
    torch.testing.assert_close(gradient, x.detach())


def test_compiled_form_equals_the_eager_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x, angle = torch.randn(1, 2, 5, 8), torch.randn(5, 4)
    eager = rotate_neighbours(x, angle.cos(), angle.sin())
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(rotate_neighbours(x, angle.cos(), angle.sin()), eager)


@BOTH
def test_rotates_bfloat16_in_float32(interleaved: bool) -> None:
    rope = Rope(8, interleaved=interleaved).bfloat16()
    x, t = torch.randn(1, 1, 3, 8).bfloat16(), torch.tensor([1000, 1001, 1002])
    y = rope.rotate(x, t)
    assert y.dtype == torch.bfloat16
    expected = torch.from_numpy(complex_reference(x, t.numpy(), interleaved)).bfloat16()
    torch.testing.assert_close(y, expected)


def test_table_is_kept_for_all_layers_but_not_saved() -> None:
    rope, t = Rope(4), torch.arange(3)
    rope.rotate(torch.randn(1, 1, 3, 4), t)
    table = rope._table
    rope.rotate(torch.randn(1, 1, 3, 4), t)
    assert rope._table is table
    assert not rope.state_dict()


def test_table_of_a_validation_step_serves_training() -> None:
    rope, t = Rope(4), torch.arange(3)
    x = torch.randn(1, 1, 3, 4, requires_grad=True)
    with torch.inference_mode():
        rope.rotate(torch.randn(1, 1, 3, 4), t)
    rope.rotate(x, t).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("head_dim", [0, 5])
def test_refuses_odd_head_sizes(head_dim: int) -> None:
    with pytest.raises(ValueError, match=f"head_dim must be even, not {head_dim}"):
        Rope(head_dim)


def test_refuses_a_base_of_zero() -> None:
    with pytest.raises(ValueError, match="base must be above 0, not 0"):
        Rope(4, base=0.0)


@BOTH
def test_repeated_frequencies(interleaved: bool) -> None:
    rope = Rope(8, interleaved=interleaved, freq_repeat=2)
    x, t = torch.ones(1, 1, 1, 8), torch.tensor([3])
    y = rope.rotate(x, t)[0, 0, 0]
    pairs = y.view(4, 2) if interleaved else y.view(2, 4).T
    angle = torch.atan2(pairs[:, 1], pairs[:, 0]) - torch.pi / 4
    expected = torch.tensor([3.0, 3.0, 3e-2, 3e-2])  # base 1e4, two of four frequencies
    turned = torch.stack((angle.cos(), angle.sin()))
    torch.testing.assert_close(turned, torch.stack((expected.cos(), expected.sin())))


@pytest.mark.parametrize("repeat", [0, 3])
def test_refuses_repeats_that_do_not_divide_the_pairs(repeat: int) -> None:
    with pytest.raises(ValueError, match=f"freq_repeat {repeat} must divide the 4 pairs"):
        Rope(8, freq_repeat=repeat)
