from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from torch import nn

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.model.linear import Linear
from suexp.nn.param_groups import build_optimizer
from suexp.optimizer import LBFGS


def closure_of(model, optimizer, x, label):
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), label)
        loss.backward()
        return loss

    return closure


def wine():
    x, label = load_wine(return_X_y=True)
    return torch.as_tensor((x - x.mean(0)) / x.std(0)), torch.as_tensor(label)


def test_equals_scikit_learns_logistic_regression():
    x, label = wine()
    for c in (1.0, 0.01):
        model = Linear(13, 3).double()
        optimizer = build_optimizer(
            partial(
                LBFGS,
                weight_decay=1 / (178 * c),
                max_iter=500,
                tolerance_grad=1e-9,
                tolerance_change=0,
            ),
            model,
        )
        loss = closure_of(model, optimizer, x, label)
        optimizer.step(loss)
        optimizer.step(loss)
        peer = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(x.numpy(), label.numpy())
        weight = model.classifier.weight.detach().numpy()
        np.testing.assert_allclose(weight, peer.coef_, atol=1e-6)
        bias = model.classifier.bias.detach().numpy()  # not penalised: only differences count
        np.testing.assert_allclose(
            bias - bias.mean(), peer.intercept_ - peer.intercept_.mean(), atol=1e-5
        )


def test_without_decay_it_is_torchs():
    x, label = wine()
    models = [Linear(13, 3), Linear(13, 3)]
    ours = build_optimizer(partial(LBFGS, max_iter=30), models[0])
    parameters = [p for group in ours.param_groups for p in group["params"]]
    names = {p: name for name, p in models[0].named_parameters()}
    theirs = torch.optim.LBFGS(
        [models[1].get_parameter(names[p]) for p in parameters],
        max_iter=30,
        tolerance_grad=1e-4,
        history_size=10,
        line_search_fn="strong_wolfe",
    )
    for _ in range(2):
        for model, optimizer in zip(models, (ours, theirs), strict=True):
            optimizer.step(closure_of(model, optimizer, x.float(), label))
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_ends_at_a_small_gradient():
    p = nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = LBFGS([p], weight_decay=0.5)
    calls = []

    def closure():
        optimizer.zero_grad()
        loss = (p * torch.tensor([1.0, 10.0])).square().sum() / 2
        loss.backward()
        calls.append(loss.detach())
        return loss

    first = optimizer.step(closure)
    assert first == pytest.approx(0.5 * (9 + 400) + 0.25 * 13)  # with the penalty
    assert p.detach().abs().max() < 1e-4
    assert len(calls) < 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_iter": 0}, "max_iter must be at least 1, not 0"),
        ({"history_size": 0}, "history_size must be at least 1, not 0"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        LBFGS([nn.Parameter(torch.ones(1))], **changes)


def test_a_line_search_wants_the_gradient_as_it_is() -> None:
    with pytest.raises(UserError, match=r"set trainer\.gradient_clip_val=null$"):
        resolve(["optimizer=lbfgs", "trainer.max_steps=1"])
    resolve(["optimizer=lbfgs", "trainer.gradient_clip_val=null"])
