"""Total variation by its own formulas, its minimum on the simplex, and the authors' code."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from suexp.config.compose import resolve
from suexp.job.build import build, data_of
from suexp.loss import CrossEntropy
from suexp.loss.tailr import TaiLr
from suexp.normalizer import Taylor

GAMMAS = [0.0, 1e-6, 0.1, 0.3, 0.5, 0.9, 1 - 1e-7, 1.0]


def scores(rows: int = 40, classes: int = 7, dtype: Any = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(rows, classes, dtype=dtype, generator=generator)
    target = torch.randint(classes, (rows,), generator=generator)
    return logits.requires_grad_(), target


def gradient(loss: Any, logits: Tensor, target: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss(logits, target), logits)
    return found


def test_the_two_ends() -> None:
    logits, target = scores(dtype=torch.float32)
    right = logits.softmax(-1).gather(1, target[:, None])
    expected = F.cross_entropy(logits, target)
    torch.testing.assert_close(TaiLr(0.0)(logits, target), expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(TaiLr(1.0)(logits, target), (1 - right).mean(), atol=1e-6, rtol=0)


def test_it_is_the_total_variation_from_a_label() -> None:
    logits, target = scores()
    one_hot = F.one_hot(target, 7).double()
    variation = (one_hot - logits.softmax(-1)).abs().sum(-1).mean() / 2
    assert TaiLr(1.0)(logits, target).item() == pytest.approx(variation.item(), abs=1e-7)


def test_it_comes_to_cross_entropy_linearly() -> None:
    logits, target = scores()
    logits = logits / 4
    expected = F.cross_entropy(logits, target)
    first, second = ((TaiLr(g)(logits, target) - expected).item() / g for g in (1e-6, 1e-7))
    assert first == pytest.approx(second, rel=0.02)


def test_the_forms_of_both_sides_of_a_half_meet() -> None:
    logits, target = scores()
    below, above = (TaiLr(0.5 + side * 1e-12)(logits, target).item() for side in (-1, 1))
    assert below == pytest.approx(above, abs=1e-11)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("min_weight", [0.0, 0.3, 0.99])
def test_both_forms_have_the_same_gradients(gamma: float, min_weight: float) -> None:
    logits, target = scores()
    found = [
        gradient(TaiLr(gamma, min_weight, form), logits, target) for form in ("closed", "weighted")
    ]
    torch.testing.assert_close(*found, atol=1e-12, rtol=1e-6 if gamma > 0.99 < 1 else 1e-9)
    narrow = logits.detach().float().requires_grad_()
    found = [
        gradient(TaiLr(gamma, min_weight, form), narrow, target) for form in ("closed", "weighted")
    ]
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-4)


def test_the_value_with_a_least_weight_is_the_gradients_own() -> None:
    """It has no jump where the weight is bounded: differences of values are the slope."""
    loss = TaiLr(0.2, 0.3)
    z = torch.linspace(-12, 4, 4001, dtype=torch.float64)
    log_q = F.logsigmoid(z)
    slope = torch.diff(loss.of_label(log_q)) / torch.diff(log_q)
    weight = log_q.exp() / (0.2 + 0.8 * log_q.exp())
    middle = (weight[1:] + weight[:-1]) / 2
    torch.testing.assert_close(-slope, middle.clamp(min=0.3), atol=2e-3, rtol=0)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("min_weight", [0.0, 0.2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_scores_are_finite(gamma: float, min_weight: float, dtype: Any) -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], dtype=dtype, requires_grad=True)
    loss = TaiLr(gamma, min_weight)(logits, torch.tensor([0, 0]))
    loss.backward()
    assert loss.dtype == torch.float32
    assert math.isfinite(loss.item())
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [0.05, 0.3, 0.9, 1.0])
def test_gradients_and_values_are_bounded(gamma: float) -> None:
    logits, target = scores()
    for row in range(len(target)):
        one = logits[row : row + 1].detach().requires_grad_(), target[row : row + 1]
        assert gradient(TaiLr(gamma), *one).norm() <= gradient(CrossEntropy(), *one).norm()
    bound = 1.0 if gamma == 1 else -math.log(gamma) / (1 - gamma)
    values = TaiLr(gamma).of_label(torch.tensor([-1e4, -3.0, 0.0]))
    assert values.max().item() <= bound + 1e-6
    assert values[0].item() == pytest.approx(bound, abs=1e-6)
    assert values[2].item() == pytest.approx(0, abs=1e-6)


def minimiser(p: Tensor, gamma: float) -> Tensor:
    """Return the q that a sum of losses over classes of probability p is least at, by L-BFGS."""
    z = p.log().clone().requires_grad_()
    loss = TaiLr(gamma)
    steps = torch.optim.LBFGS(
        [z], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        steps.zero_grad()
        total = (p * loss.of_label(z.log_softmax(0))).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    steps.step(closure)  # type: ignore[no-untyped-call]
    return z.detach().softmax(0)


def water_filling(p: Tensor, gamma: float) -> Tensor:
    """Return max(0, (p / mu - gamma) / (1 - gamma)) with the mu that makes its sum 1."""
    ordered = p.sort(descending=True).values
    for active in range(len(p), 0, -1):
        inverse = (1 - gamma + active * gamma) / ordered[:active].sum()
        if ordered[active - 1] * inverse >= gamma:
            break
    return ((p * inverse - gamma) / (1 - gamma)).clamp(min=0)


@pytest.mark.parametrize("gamma", [0.02, 0.1, 0.3, 0.6])
def test_the_minimum_is_sharper_than_the_data(gamma: float) -> None:
    p = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05], dtype=torch.float64)
    found, expected = minimiser(p, gamma), water_filling(p, gamma)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    if (expected > 0).all():
        factor = (1 - gamma + 5 * gamma) / (1 - gamma)
        torch.testing.assert_close(expected - 0.2, (p - 0.2) * factor)
    assert found.max() > p.max()


@pytest.mark.parametrize("rate", [0.2, 0.4])
def test_the_threshold_under_symmetric_noise(rate: float) -> None:
    p = torch.full((10,), rate / 9, dtype=torch.float64)
    p[3] = 1 - rate
    threshold = rate / (9 * (1 - rate))
    assert threshold == pytest.approx({0.2: 0.0278, 0.4: 0.0741}[rate], abs=1e-4)
    assert water_filling(p, 1.01 * threshold)[3] == pytest.approx(1)
    assert water_filling(p, 0.9 * threshold)[3] < 0.99
    assert minimiser(p, 1.2 * threshold)[3] > 0.999
    assert minimiser(p, 0.8 * threshold)[3].item() == pytest.approx(
        water_filling(p, 0.8 * threshold)[3].item(), abs=1e-4
    )


def authors(logits: Tensor, target: Tensor, gamma: float, least: float, epsilon: float) -> Tensor:
    """The loss of thu-coai/TaiLr: weights without a graph, a softmax of log-probabilities."""
    log_probs = F.log_softmax(logits, -1)
    probs = torch.softmax(log_probs, -1)
    with torch.no_grad():
        chosen = probs.gather(-1, target[:, None])
        weights = torch.clamp(chosen / (gamma + (1 - gamma) * chosen), min=least, max=1.0)
    nll = -(weights * log_probs.gather(-1, target[:, None])).squeeze(-1)
    smooth = -log_probs.mean(-1)
    return ((1 - epsilon) * nll + epsilon * smooth).mean()


@pytest.mark.parametrize(("gamma", "least", "epsilon"), [(0.1, 0.3, 0.1), (0.8, 0.2, 0.1)])
def test_against_the_authors_code(gamma: float, least: float, epsilon: float) -> None:
    logits, target = scores()
    for form in ("closed", "weighted"):
        loss = TaiLr(gamma, least, form, label_smoothing=epsilon)
        expected = gradient(lambda *z: authors(*z, gamma, least, epsilon), logits, target)
        torch.testing.assert_close(gradient(loss, logits, target), expected, atol=1e-6, rtol=0)
    weighted = TaiLr(gamma, least, "weighted", label_smoothing=epsilon)(logits, target)
    assert weighted.item() == pytest.approx(
        authors(logits, target, gamma, least, epsilon).item(), abs=1e-9
    )


def test_the_mean_is_over_the_targets_that_count() -> None:
    logits = torch.randn(2, 3, 5)
    target = torch.tensor([[1, -100, 2], [-100, -100, 0]])
    kept = TaiLr(0.3)(logits[target != -100], target[target != -100])
    torch.testing.assert_close(TaiLr(0.3)(logits, target), kept)
    assert TaiLr(0.3)(logits, torch.full_like(target, -100)).item() == 0


def test_other_normalisers() -> None:
    logits, target = scores(rows=5)
    q = Taylor(order=4).predict(logits).gather(1, target[:, None])
    found = TaiLr(1.0, normalizer=Taylor(order=4))(logits, target)
    assert found.item() == pytest.approx((1 - q).mean().item(), abs=1e-9)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"gamma": 1.2}, r"loss.gamma must be in \[0, 1\], not 1.2"),
        ({"gamma": {"start": 0, "end": 2, "steps": 5}}, r"loss.gamma must be in \[0, 1\], not 2"),
        ({"min_weight": 1.0}, r"loss.min_weight must lie in \[0, 1\), not 1.0"),
    ],
)
def test_mistakes_are_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TaiLr(**settings)


@pytest.mark.parametrize(
    ("logits", "target"),
    [
        (torch.zeros(2, 3), torch.full((2, 3), 1 / 3)),
        (torch.zeros(2, 1), torch.zeros(2, dtype=torch.long)),
    ],
)
def test_it_needs_hard_labels_of_several_classes(logits: Tensor, target: Tensor) -> None:
    with pytest.raises(ValueError, match="TaiLr needs the number of the right class"):
        TaiLr()(logits, target)


def test_gamma_follows_the_step() -> None:
    """The task tells the loss which step it is, before each."""
    overrides = ["task=classification", "data=digits", "model=mlp", "loss=tailr"]
    config = resolve([*overrides, "loss.gamma={start: 0, end: 1, steps: 10}"]).config
    data = data_of(config)
    task: Any = build(config, data)
    batch = data.collate(data.splits()["train"].__getitems__([0, 1, 2]))
    for step, expected in (
        (0, CrossEntropy()),
        (5, TaiLr(0.5)),
        (10, TaiLr(1.0)),
        (99, TaiLr(1.0)),
    ):
        task._rehearsed = step
        loss = task.training_step(batch, 0)
        torch.testing.assert_close(loss, expected(task.model(batch["x"]), batch["label"]))


def test_presets_are_total_variation() -> None:
    for name in ("tvd", "softmax_accuracy"):
        node = resolve(["task=classification", f"loss={name}"]).config["loss"]
        assert node["_target_"].endswith("TaiLr")
        assert node["gamma"] == 1.0
