"""The gradient penalty: by hand, by finite differences, and through every attention."""

import copy
import doctest
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import suexp.method.gradient_penalty
from suexp.config.catalogue import Catalogue
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.method.gradient_penalty import GradientPenalty
from suexp.model.bilstm import Bilstm
from suexp.nn.intervene import shifted
from suexp.nn.passes import twice_differentiable
from tests.method.test_base import task_and_batch
from tests.method.test_fgm import linear_task
from tests.method.texts import batch, gradient, model, task_of, weight_gradient


def penalty(task: Any, rows: Any, **settings: Any) -> float:
    """Return what is added to the loss."""
    method = GradientPenalty(**settings)
    whole = method.objective(task, rows, task.objective)
    return float((whole - task.objective(rows)).detach())


def test_no_epsilon_is_plain_training_bit_for_bit() -> None:
    network = model(dropout=0.3)
    plain = gradient(task_of(copy.deepcopy(network)), batch())
    none = gradient(task_of(copy.deepcopy(network), GradientPenalty(epsilon=0)), batch())
    assert all(map(torch.equal, (plain[0], *plain[1]), (none[0], *none[1])))


def test_a_linear_model_by_hand() -> None:
    r"""Of the logistic loss, $|g_b|^2 = \sigma(-m_b)^2 |w|^2$."""
    task, rows, margin, w = linear_task()
    size = (margin.neg().sigmoid() * w.norm()).detach()
    b = len(size)
    expected = {
        ("batch_mean", "squared"): 0.7 / 2 * (size / b).square().sum(),
        ("per_sample", "squared"): 0.7 / 2 * size.square().mean(),
        ("batch_mean", "norm"): 0.7 * (size / b).norm(),
        ("per_sample", "norm"): 0.7 * size.mean(),
    }
    for (reduction, form), value in expected.items():
        found = penalty(task, rows, epsilon=0.7, reduction=reduction, form=form)
        assert found == pytest.approx(float(value), rel=1e-9)


def test_per_sample_is_b_times_as_strong() -> None:
    task, rows = task_of(model()), batch()
    one, other = (penalty(task, rows, reduction=r) for r in ("batch_mean", "per_sample"))
    assert other == pytest.approx(5 * one, rel=1e-9)


def test_where_no_token_repeats_it_is_that_of_the_matrix() -> None:
    network = model()
    rows = {k: v[:1] for k, v in batch().items()} | {"tokens": torch.arange(7)[None]}
    found = penalty(task_of(network), rows, epsilon=1)
    assert found == pytest.approx(float(weight_gradient(network, rows).square().sum() / 2))
    rows["tokens"] = torch.tensor([[1, 1, 1, 2, 2, 3, 4]])  # repeated ones add up in the matrix
    found = penalty(task_of(network), rows, epsilon=1)
    assert found < 0.9 * float(weight_gradient(network, rows).square().sum() / 2)


def test_its_gradient_by_finite_differences() -> None:
    network, rows = model(), batch()
    method = GradientPenalty(epsilon=30.0)
    task = task_of(network, method)
    _, found = gradient(task, rows)
    names = [name for name, _ in network.named_parameters()]
    for name in (
        "blocks.0.attention.qkv.weight",
        "embedding.weight",
        "blocks.1.feed_forward.output.weight",
    ):
        at = next(i for i, full in enumerate(names) if full.startswith(name))
        parameter = list(network.parameters())[at]
        entry = (1, 3)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[entry] += sign * 1e-5
            values.append(float(method.objective(task, rows, task.objective).detach()))
            with torch.no_grad():
                parameter[entry] -= sign * 1e-5
        slope = (values[0] - values[1]) / 2e-5
        assert float(found[at][entry]) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("attention", list(Catalogue().groups["attention"]))
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_every_attention_can_be_differentiated_twice(attention: str, precision: Any) -> None:
    digits = ["data.patch=2", "model=transformer", "model.num_heads=2", "position=learned"]
    digits += ["position.max_length=16", f"attention={attention}"]
    try:
        task, rows = task_and_batch(*digits)
    except UserError as refused:
        pytest.skip(str(refused))
    task.wrap([GradientPenalty(epsilon=10.0, form="norm")])
    with torch.autocast("cpu", torch.bfloat16, enabled=precision is not None):
        loss = task.training_step(rows, 0)
    assert loss is not None
    task.backward(loss)
    grads = [p.grad for p in task.model.blocks.parameters() if p.grad is not None]
    assert all(bool(g.isfinite().all()) for g in grads)
    assert max(float(g.abs().max()) for g in grads) > 0


def test_recurrent_layers_can_be_differentiated_twice() -> None:
    from suexp.init import Default

    torch.manual_seed(0)
    network = Bilstm(11, 3, Default(), dim=8).double()
    rows = batch()
    with twice_differentiable(network), shifted(network) as readings:
        logits = network(rows["tokens"], keep=rows["keep"])
    loss = F.cross_entropy(logits[:, 0], rows["label"])
    (v,) = torch.autograd.grad(loss, readings[0].vectors, create_graph=True)
    v.square().sum().backward()  # type: ignore[no-untyped-call]
    assert network.lstm.weight_ih_l0.grad is not None


def test_a_network_in_float16_is_refused() -> None:
    network = model().half()
    rows = batch()
    task = task_of(network, GradientPenalty())
    with pytest.raises(ValueError, match="bf16-mixed"):
        task.training_step(rows, 0)


def test_refused_when_composed() -> None:
    pairs = ["task=matching", "model=bag_encoder", "method=gradient_penalty"]
    with pytest.raises(UserError, match="use method=fgm"):
        resolve(pairs)
    with pytest.raises(UserError, match="trainer=ddp"):
        resolve(
            ["task=classification", "data=docstring_topic", pairs[-1], "trainer=fsdp"],
        )
    with pytest.raises(ValueError, match="epsilon must be at least 0"):
        GradientPenalty(epsilon=-0.1)


def test_vectors_are_their_own_input() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    rows = {"x": torch.randn(6, 4, dtype=torch.float64), "label": torch.arange(6) % 3}
    x = rows["x"].clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(network(x), rows["label"]), x)
    found = penalty(task_of(network, padded=False), rows, epsilon=2.0)
    assert found == pytest.approx(float(g.square().sum()))


def test_its_example() -> None:
    assert doctest.testmod(suexp.method.gradient_penalty).failed == 0
