"""Virtual adversarial training: the direction that it finds, and what it is worth."""

import copy
import doctest
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import suexp.method.vat
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.method.vat import VAT
from tests.method.texts import batch, gradient, model, task_of


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum(-1).mean()


def test_no_epsilon_is_plain_training() -> None:
    network = model(dropout=0.3)
    plain = gradient(task_of(copy.deepcopy(network)), batch())
    none = gradient(task_of(copy.deepcopy(network), VAT(epsilon=0)), batch())
    assert all(map(torch.equal, (plain[0], *plain[1]), (none[0], *none[1])))


def linear() -> tuple[nn.Linear, dict[str, Tensor]]:
    torch.manual_seed(2)
    network = nn.Linear(5, 3).double()
    rows = {"x": torch.randn(1, 5, dtype=torch.float64), "label": torch.tensor([1])}
    return network, rows


def test_it_finds_the_direction_in_which_predictions_change_most() -> None:
    r"""Of a linear model KL is about $\frac12 u^\top W^\top (\mathrm{diag}\,p - p p^\top) W u$."""
    network, rows = linear()
    logits = network(rows["x"]).detach()
    p = logits.softmax(-1)[0]
    fisher = network.weight.T @ (p.diag() - p.outer(p)) @ network.weight
    top = torch.linalg.eigh(fisher.detach()).eigenvectors[:, -1]
    method = VAT(epsilon=1e-3, xi=1e-3, iters=40, granularity="sample")
    task = task_of(network, method, padded=False)
    clean = task.objective(rows)
    rise = method.objective(task, rows, task.objective) - clean
    expected = max(kl(logits, network(rows["x"] + s * 1e-3 * top)) for s in (1, -1))
    torch.testing.assert_close(rise, expected, rtol=1e-3, atol=0)
    random = F.normalize(torch.randn(100, 5, dtype=torch.float64), dim=1) * 1e-3
    assert all(rise * 1.001 > kl(logits, network(rows["x"] + r)) for r in random)


def test_by_hand_with_one_iteration() -> None:
    """Post's constants: u drawn, to xi, its gradient, to epsilon; the clean side is a constant."""
    network, rows = linear()
    method = VAT(epsilon=1.0, xi=10.0, granularity="sample")
    task = task_of(network, method, padded=False)
    logits = network(rows["x"])
    torch.manual_seed(9)
    u = torch.randn(1, 5, dtype=torch.float64)
    r = (10 * u / u.norm()).requires_grad_()
    (g,) = torch.autograd.grad(kl(logits.detach(), network(rows["x"] + r)), r)
    expected = F.cross_entropy(logits, rows["label"]) + kl(
        logits.detach(), network(rows["x"] + g / (g.norm() + 1e-8))
    )
    wanted = torch.autograd.grad(expected, list(network.parameters()))
    torch.manual_seed(9)
    loss, found = gradient(task, rows, seed=9)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-6, atol=0)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_labels_do_not_matter_to_it() -> None:
    network, rows = model(), batch()
    method = VAT()
    task = task_of(network, method)
    rises = []
    for label in (rows["label"], 2 - rows["label"]):
        torch.manual_seed(0)
        changed = rows | {"label": label}
        whole = method.objective(task, changed, task.objective)
        rises.append(whole - task.objective(changed))
    torch.testing.assert_close(*rises)
    assert float(rises[0].detach()) > 0


def test_the_same_dropout_leaves_the_draws_of_a_plain_step() -> None:
    network, rows = model(dropout=0.5), batch()
    tiny: dict[str, Any] = {"epsilon": 1e-7, "xi": 1e-7}
    seen: list[Tensor] = []
    network.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0] == 0))
    for same in (True, False):
        seen.clear()
        gradient(task_of(network, VAT(**tiny, same_dropout=same)), rows)
        assert len(seen) == 3
        assert torch.equal(seen[0], seen[1]) == torch.equal(seen[0], seen[2]) == same
    plain = gradient(task_of(network), rows)
    close = gradient(task_of(network, VAT(**tiny)), rows)
    torch.testing.assert_close(close[0], plain[0])


def test_running_averages_move_once() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).double()
    rows = {"x": torch.randn(16, 4, dtype=torch.float64), "label": torch.arange(16) % 3}
    gradient(task_of(network, VAT(granularity="sample"), padded=False), rows)
    assert int(network[1].num_batches_tracked) == 1  # type: ignore[arg-type]


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="iters must be at least 1"):
        VAT(iters=0)
    with pytest.raises(ValueError, match="xi must be above 0"):
        VAT(xi=0)
    texts = ["task=classification", "data=docstring_topic", "method=vat"]
    with pytest.raises(UserError, match="use normalizer=softmax"):
        resolve([*texts, "normalizer=taylor"])
    with pytest.raises(UserError, match="not logits"):
        resolve(["task=matching", "model=bag_encoder", "method=vat"])


def test_its_example() -> None:
    assert doctest.testmod(suexp.method.vat).failed == 0
