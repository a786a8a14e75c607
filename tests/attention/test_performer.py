import copy
import io
import itertools
import math
import warnings

import pytest
import torch
from torch import Tensor

from suexp.attention import Performer, Softmax
from suexp.attention.performer import KERNELS, features, orthogonal_gaussian, projection
from suexp.mask import Bidirectional, Causal, ExcludeSelf, Padding
from suexp.mask.base import Mask
from tests.attention.reference import by_definition, normalised

D = 16
ESTIMATES = ("positive", "hyperbolic", "trigonometric")  # of exp(x y)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unit(*shape: int, seed: int = 0) -> Tensor:
    x = torch.randn(*shape, generator=generator(seed), dtype=torch.float64)
    return x / x.norm(dim=-1, keepdim=True)


def draw(*shape: int, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> Tensor:
    return (torch.randn(shape, dtype=torch.float64) * scale).to(dtype).requires_grad_()


def variance(kernel: str, x: Tensor, y: Tensor) -> float:
    K = math.exp(x @ y)
    s, t = (x + y).square().sum().item(), (x - y).square().sum().item()
    positive = K**2 * math.exp(s) * (1 - math.exp(-s))
    return {
        "positive": positive,
        "hyperbolic": positive * (1 - math.exp(-s)) / 2,
        "trigonometric": math.exp(s) / K**2 * (1 - math.exp(-t)) ** 2 / 2,
    }[kernel]


# Known answer 1: unbiased, with these variances.


@pytest.mark.parametrize("kernel", ESTIMATES)
@pytest.mark.parametrize("angle", [0.5, 1.5, 2.5])
def test_is_unbiased_with_the_variance_of_the_formula(kernel: str, angle: float) -> None:
    x = torch.tensor([0.7, 0.0, 0.0], dtype=torch.float64)
    y = 0.6 * torch.tensor([math.cos(angle), math.sin(angle), 0.0], dtype=torch.float64)
    draws = 400_000
    w = projection(draws, 3, orthogonal=False, generator=generator(), dtype=torch.float64)
    # One direction an estimate: undo the mean over all of them.
    phi_x, phi_y = (features(z[None], w, kernel)[0] for z in (x, y))
    estimate = (phi_x * phi_y * draws).view(-1, draws).sum(0)
    K = math.exp(x @ y)
    deviation = (estimate - K).square()
    assert abs(estimate.mean() - K) < 3 * estimate.std() / draws**0.5
    assert abs(deviation.mean() - variance(kernel, x, y)) < 3 * deviation.std() / draws**0.5


def test_variances_by_hand() -> None:
    x, y = torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.5])  # K = 1, s = t = 1/2
    assert variance("positive", x, y) == pytest.approx(math.exp(0.5) - 1)
    assert variance("hyperbolic", x, y) == pytest.approx(0.127626, abs=1e-6)
    assert variance("trigonometric", x, y) == pytest.approx(0.127626, abs=1e-6)


@pytest.mark.parametrize(
    ("radius", "expected"), [(1.0, 0.95), (1.5, 0.80), (2.0, 0.55)], ids=["1", "1.5", "2"]
)
def test_equal_norms_are_biased_low_and_gaussian_norms_are_not(
    radius: float, expected: float
) -> None:
    x, y = unit(300, D) * radius, unit(300, D, seed=1) * radius
    K = (x * y).sum(-1).exp()
    ratio = {}
    for scaling in (0, 1):
        draws = []
        for seed in range(1000):
            w = projection(D, D, True, scaling, generator(seed), torch.float64)
            draws.append(((features(x, w) * features(y, w)).sum(-1) / K).mean())
        ratio[scaling] = torch.stack(draws)
    assert ratio[1].mean().item() == pytest.approx(expected, abs=0.02)
    if radius < 2:  # beyond, the mean is too heavy-tailed to be sampled
        error = ratio[0].std().item() / 1000**0.5
        assert ratio[0].mean().item() == pytest.approx(1.0, abs=3 * error)


# Known answer 2: exact cases, orthogonality.


@pytest.mark.parametrize("orthogonal", [False, True])
def test_exact_where_the_variance_vanishes(orthogonal: bool) -> None:
    x = unit(50, D) * 1.3
    w = projection(24, D, orthogonal, generator=generator(), dtype=torch.float64)

    def estimate(kernel: str, y: Tensor) -> Tensor:
        return (features(x, w, kernel) * features(y, w, kernel)).sum(-1)

    exact = torch.full((50,), 1.3**2, dtype=torch.float64)
    for kernel in ("positive", "hyperbolic"):
        torch.testing.assert_close(estimate(kernel, -x), (-exact).exp(), rtol=1e-6, atol=0)
    torch.testing.assert_close(estimate("trigonometric", x), exact.exp(), rtol=1e-6, atol=0)


def test_rows_of_a_block_are_orthogonal() -> None:
    w = projection(40, D, generator=generator())
    for block in w.split(D):
        products = block @ block.T
        assert (products - products.diag().diag()).abs().max() < 1e-5
    assert w.shape == (40, D)
    assert w.dtype == torch.float32


def test_norms_of_rows() -> None:
    equal = projection(40, D, scaling=1, generator=generator())
    torch.testing.assert_close(equal.norm(dim=-1), torch.full((40,), 4.0))
    fresh = projection(4000, D, scaling=0, generator=generator()).square().sum(-1)
    assert fresh.mean().item() == pytest.approx(D, abs=4 * (2 * D / 4000) ** 0.5)
    assert fresh.var().item() == pytest.approx(2 * D, rel=0.15)  # chi-square with 16 degrees


def test_orthogonal_rows_point_everywhere_alike() -> None:
    # Without the signs of R, the diagonal of Q would lean to one side.
    blocks = torch.stack([orthogonal_gaussian(3, 3, generator(seed)) for seed in range(2000)])
    assert blocks.mean(0).abs().max() < 4 / (3 * 2000) ** 0.5
    torch.testing.assert_close(
        blocks.square().mean(0), torch.full((3, 3), 1 / 3).double(), atol=0.03, rtol=0
    )


def test_orthogonal_rows_have_less_variance() -> None:
    x, y = unit(400, D) / 2, unit(400, D, seed=1) / 2
    K = (x * y).sum(-1).exp()
    error = {}
    for orthogonal in (False, True):
        errors = []
        for seed in range(200):
            w = projection(64, D, orthogonal, generator=generator(seed), dtype=torch.float64)
            errors.append((((features(x, w) * features(y, w)).sum(-1) / K) - 1).square().mean())
        error[orthogonal] = torch.stack(errors).mean().item()
    assert error[False] == pytest.approx(0.0106, abs=0.001)
    assert error[True] == pytest.approx(0.0093, abs=0.001)
    assert error[True] < error[False]


# Known answer 3: chunks, recurrence, strict causality.


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("chunk_size", [1, 7, 64, 100])
def test_chunked_form_equals_the_quadratic_one(kernel: str, chunk_size: int) -> None:
    attention = Performer(D, 32, kernel, chunk_size=chunk_size).eval()
    scale = 0.5 if kernel == "trigonometric" else 1.0  # its denominators may come near zero
    q, k, v = (draw(2, 2, 100, D, scale=scale) for _ in range(3))
    # By the definition of `features`, not by those that the class computes with.
    w = attention.projection.double()
    phi_q, phi_k = (features(x.double() * D**-0.25, w, kernel) for x in (q, k))
    expected = normalised(phi_q @ phi_k.mT, Causal().dense(100, 100), v.double())
    tolerance = 1e-4 if kernel == "trigonometric" else 5e-6
    out = attention(q, k, v, Causal())
    torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kernel", KERNELS)
def test_equals_the_recurrence(kernel: str) -> None:
    attention = Performer(D, 24, kernel, chunk_size=8).eval().double()
    q, k, v = (draw(1, 2, 20, D, dtype=torch.float64) for _ in range(3))
    w = attention.projection
    phi_q, phi_k = (features(x * D**-0.25, w, kernel) for x in (q, k))
    sums = torch.zeros(1, 2, phi_k.shape[-1], D, dtype=torch.float64)
    ones = torch.zeros(1, 2, phi_k.shape[-1], dtype=torch.float64)
    rows, state, decoded = [], None, []
    for i in range(20):
        sums = sums + phi_k[:, :, i, :, None] * v[:, :, i, None, :]
        ones = ones + phi_k[:, :, i]
        top = (phi_q[:, :, i, None, :] @ sums)[:, :, 0]
        rows.append(top / (phi_q[:, :, i] * ones).sum(-1, keepdim=True))
        now = slice(i, i + 1)
        out, state = attention.decode(
            q[:, :, now], k[:, :, now], v[:, :, now], Causal(), None, state
        )
        decoded.append(out)
        assert state.sums.shape == (1, 2, phi_k.shape[-1], D + 1)
    expected = torch.stack(rows, 2)
    torch.testing.assert_close(attention(q, k, v, Causal()), expected, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(torch.cat(decoded, 2), expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("position", [20, 31, 32, 40, 99])
def test_no_key_moves_an_earlier_output(kernel: str, position: int) -> None:
    attention = Performer(D, kernel=kernel).eval()
    q, k, v = (draw(1, 2, 100, D) for _ in range(3))
    before = attention(q, k, v, Causal())
    changes = [k[:, :, position] * 100, k[:, :, position] * -3]
    changes.append((attention.projection[0] * D**0.25).expand(1, 2, D))  # where its feature peaks
    for change in changes:
        other = k.detach().clone()
        other[:, :, position] = change
        after = attention(q, other, v, Causal())
        assert after.isfinite().all()
        assert torch.equal(after[:, :, :position], before[:, :, :position])


def test_large_norms_stay_finite_and_right() -> None:
    attention = Performer(64, chunk_size=16).eval()
    q, k, v = (draw(1, 1, 80, 64, scale=3.0) for _ in range(3))  # exponents from -150 to 30
    out = attention(q, k, v, Causal())
    torch.testing.assert_close(
        out.double(),
        by_definition(
            copy.deepcopy(attention).double(), *(x.double() for x in (q, k, v)), Causal()
        ),
        rtol=1e-3,
        atol=1e-4,
    )
    for grad in torch.autograd.grad(out.square().sum(), (q, k, v)):
        assert grad.isfinite().all()


# Known answer 4 is in tests/peers/test_performer_pytorch.py.

# Known answer 5: more features, less error.


def test_error_falls_with_the_root_of_the_number_of_features() -> None:
    q, k = (unit(4, 2, 40, D, seed=seed).float() * 2 for seed in (0, 1))  # |x| = 1 within
    v = torch.randn(4, 2, 40, D, generator=generator(2))
    exact = Softmax()(q, k, v, Bidirectional())
    sizes = [16, 64, 256, 1024, 4096]
    errors = []
    for m in sizes:
        runs = []
        for seed in range(12):
            torch.manual_seed(seed)
            out = Performer(D, m, orthogonal=False).eval()(q, k, v, Bidirectional())
            runs.append((out - exact).square().mean())
        errors.append(torch.stack(runs).mean().sqrt().log())
    x = torch.tensor(sizes).float().log()
    x, y = x - x.mean(), torch.stack(errors) - torch.stack(errors).mean()
    assert (x @ y / (x @ x)).item() == pytest.approx(-0.5, abs=0.1)
    assert errors[-1].exp() < 0.03


# Known answer 6: means.


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("mask", [Causal(), Bidirectional()], ids=["causal", "bidirectional"])
def test_constant_values_come_out_as_they_are(kernel: str, mask: Mask) -> None:
    attention = Performer(D, kernel=kernel).eval()
    q, k = (draw(2, 2, 70, D, scale=0.5) for _ in range(2))
    v = torch.tensor([1.0, -2.0, 0.5]).expand(2, 2, 70, 3)
    torch.testing.assert_close(attention(q, k, v, mask), v, rtol=1e-5, atol=1e-5)


def test_order_of_keys_does_not_matter() -> None:
    attention = Performer(D).eval()
    q, k, v = (draw(2, 2, 70, D) for _ in range(3))
    order = torch.randperm(70)
    torch.testing.assert_close(
        attention(q, k[:, :, order], v[:, :, order], Bidirectional()),
        attention(q, k, v, Bidirectional()),
    )


# Derivatives and precision.


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS)
def test_gradient_and_its_gradient(kernel: str) -> None:
    attention = Performer(4, 5, kernel, chunk_size=3).eval().double()
    q, k, v = (draw(1, 2, 7, 4, dtype=torch.float64, scale=0.5) for _ in range(3))
    padded = Causal() & Padding(torch.tensor([[True, False, True, True, True, False, True]]))
    for mask in (padded, Bidirectional()):
        assert torch.autograd.gradcheck(lambda *x, m=mask: attention(*x, m), (q, k, v))
        second = torch.autograd.gradgradcheck
        assert second(lambda *x, m=mask: attention(*x, m), (q, k, v), fast_mode=True)


@pytest.mark.parametrize("kernel", ["positive", "hyperbolic", "trigonometric"])
def test_gradient_beside_eps(kernel: str) -> None:
    """The largest feature, by which a row is divided, does not cancel then."""
    attention = Performer(4, 5, kernel, chunk_size=3, eps=0.1).eval().double()
    q, k, v = (draw(1, 2, 7, 4, dtype=torch.float64, scale=0.5) for _ in range(3))

    def phi(x: Tensor) -> Tensor:
        u, half = x @ attention.projection.mT * 4**-0.25, x.square().sum(-1, keepdim=True) / 4
        if kernel == "trigonometric":
            return (torch.cat([u.cos(), u.sin()], -1) + 0.1) * half.exp()
        u = torch.cat([u, -u], -1) if kernel == "hyperbolic" else u
        return (u.exp() + 0.1 * u.amax(-1, keepdim=True).exp()) * (-half).exp()

    keep = torch.tensor([[True, False, True, True, True, False, True]])
    for mask in (Causal() & Padding(keep), Bidirectional()):
        check = torch.autograd.gradcheck
        assert check(lambda *x, m=mask: attention(*x, m), (q, k, v), fast_mode=True)
        out = attention(q, k, v, mask)
        expected = normalised(phi(q) @ phi(k).mT, mask.dense(7, 7), v)
        torch.testing.assert_close(out, expected)
        grads, wanted = (torch.autograd.grad(x.square().sum(), (q, k, v)) for x in (out, expected))
        torch.testing.assert_close(grads, wanted)


@pytest.mark.parametrize("mask", [Causal(), Bidirectional(), ExcludeSelf()])
def test_vanishing_denominators_are_told_once(mask: Mask) -> None:
    attention = Performer(64)
    q, k, v = (draw(2, 1, 40, 64) for _ in range(3))
    keep = torch.ones(2, 40, dtype=torch.bool)
    keep[0, :5], keep[1] = False, False  # these queries see nothing, and ought to get nothing
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attention(q, k, v, mask & Padding(keep))
        attention(q, k, torch.zeros_like(v), mask)
        attention(q * 5, k * 5, v, mask)  # scores of 25 standard deviations
    with pytest.warns(UserWarning, match="denominators vanish") as caught:
        out = attention(q * 20, k * 20, v, mask)
    attention(q * 20, k * 20, v, mask)  # a second warning would be an error
    assert len(caught) == 1
    assert (out == 0).all(-1).any()


def test_features_are_in_float32_under_bfloat16() -> None:
    attention = Performer(64, redraw_interval=None).eval()
    q, k, v = (draw(1, 2, 70, 64, scale=2.0).bfloat16() for _ in range(3))
    wide = attention(q.float(), k.float(), v.float(), Causal())
    assert torch.equal(attention(q, k, v, Causal()), wide.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attention(q, k, v, Causal()), wide.bfloat16())
        assert torch.equal(attention(q.float(), k.float(), v.float(), Causal()), wide)


# Projections: default size, drawing anew, generators, checkpoints.


@pytest.mark.parametrize(("head_dim", "expected"), [(64, 266), (16, 44), (2, 1), (1, 1)])
def test_default_number_of_features(head_dim: int, expected: int) -> None:
    assert Performer(head_dim).projection.shape == (expected, head_dim)


def test_is_drawn_anew_after_so_many_training_passes() -> None:
    attention = Performer(4, 5, redraw_interval=3)
    x = draw(1, 1, 6, 4)
    seen = []
    for _ in range(7):
        attention(x, x, x, Causal()).sum().backward()
        seen.append(attention.projection.clone())
    same = [torch.equal(a, b) for a, b in itertools.pairwise(seen)]
    assert same == [True, True, False, True, True, False]


@pytest.mark.parametrize("how", ["eval", "no_grad", "null"])
def test_is_never_drawn_anew_outside_training(how: str) -> None:
    attention = Performer(4, 5, redraw_interval=None if how == "null" else 1)
    attention.train(how != "eval")
    x = draw(1, 1, 6, 4)
    before = attention.projection.clone()
    with torch.set_grad_enabled(how != "no_grad"):
        for _ in range(4):
            attention(x, x, x, Causal())
    assert torch.equal(attention.projection, before)


def test_drawing_anew_between_forward_and_backward_is_harmless() -> None:
    attention = Performer(4, 5, redraw_interval=1)
    x = draw(1, 1, 6, 4)
    twice = [attention(x, x, x, Causal()) for _ in range(2)]  # one layer used twice
    sum(y.sum() for y in twice).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    attention = Performer(4, 5, redraw_interval=1)
    x = torch.ones(1, 1, 6, 4, requires_grad=True)
    for _ in range(3):
        attention(x, x, x, Causal())
    attention.reset_parameters()
    assert torch.equal(torch.get_rng_state(), state)


def test_processes_with_one_seed_agree_for_ever() -> None:
    ranks = []
    for rank in range(2):
        torch.manual_seed(5)
        attention = Performer(4, 5, redraw_interval=2)
        torch.manual_seed(100 + rank)  # dropout and the like differ from here on
        x = draw(1, 1, 6, 4)
        for _ in range(5):
            attention(x, x, x, Causal())
        ranks.append(attention.projection)
    assert torch.equal(*ranks)


def test_seeds_and_layers_differ() -> None:
    drawn = []
    for seed in range(2):
        torch.manual_seed(seed)
        prototype = Performer(4, 5)
        drawn.append(prototype.projection)
        torch.nn.Linear(2, 2)  # other layers are built in between
        clone = copy.deepcopy(prototype)
        assert torch.equal(clone.projection, prototype.projection)
        clone.reset_parameters()
        drawn.append(clone.projection)
    for i, a in enumerate(drawn):
        assert not any(torch.equal(a, b) for b in drawn[:i])


def test_a_checkpoint_continues_the_draws() -> None:
    x = draw(1, 1, 6, 4)
    attention = Performer(4, 5, redraw_interval=3)
    for _ in range(2):
        attention(x, x, x, Causal())
    file = io.BytesIO()
    torch.save(attention.state_dict(), file)
    file.seek(0)
    resumed = Performer(4, 5, redraw_interval=3)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(3):
        assert torch.equal(attention(x, x, x, Causal()), resumed(x, x, x, Causal()))
    assert torch.equal(attention.projection, resumed.projection)
    assert attention.calls == resumed.calls == 5


# Mistakes.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head_dim": 0}, "head_dim must be at least 1, not 0"),
        ({"num_features": 0}, "num_features must be at least 1, not 0"),
        ({"kernel": "trig"}, "kernel must be one of positive, hyperbolic, trigonometric, relu"),
        ({"scaling": 2}, "scaling must be one of 0, 1, not 2"),
        ({"redraw_interval": 0}, "redraw_interval must be at least 1, or null for never, not 0"),
        ({"chunk_size": 0}, "chunk_size must be at least 1, not 0"),
        ({"stabilizer": "none"}, "stabilizer must be one of exact, peer, not 'none'"),
        ({"stabilizer": "peer", "kernel": "relu"}, "exists for kernel=positive only, not relu"),
        ({"eps": -1.0}, "eps must be at least 0"),
        ({"eps": 0.1, "kernel": "relu"}, "kernel=relu has none; set eps=0"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Performer(**({"head_dim": 8} | arguments))  # type: ignore[arg-type]


def test_unknown_kernel_of_the_pure_function_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel must be one of"):
        features(torch.ones(1, 2), torch.ones(3, 2), "gauss")


def test_training_with_trigonometric_features_warns() -> None:
    attention = Performer(8, kernel="trigonometric")
    with pytest.warns(UserWarning, match="denominator near zero"):
        attention.train()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attention.eval()
        Performer(8).train()
