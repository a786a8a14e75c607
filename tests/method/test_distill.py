"""Distillation: the loss by hand, who gets gradients, and what is refused."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.method._divergence import divergence
from suexp.method.distill import Distill
from tests.method.test_theseus import DIGITS, batch, logits, model, task_of


def adopted(student: nn.Module, teacher: nn.Module, **settings: Any) -> tuple[Distill, Any]:
    method, task = Distill(**settings), task_of(student)
    task.wrap([method])
    method.adopt(task, {"parent": task_of(teacher)})
    return method, task


def by_hand(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    p, q = (teacher / temperature).softmax(-1), (student / temperature).softmax(-1)
    return temperature**2 * (p * (p / q).log()).sum(-1).mean()


def test_loss_by_hand() -> None:
    student, teacher = model(2, 1), model(4, dropout=0.5)
    method, task = adopted(student, teacher, alpha=0.3, temperature=4)
    rows = batch()
    hard = F.cross_entropy(logits(student), rows["label"])
    expected = 0.7 * hard + 0.3 * by_hand(logits(student), logits(teacher.eval()), 4)
    torch.testing.assert_close(method.objective(task, rows, task.objective), expected)


def test_alpha_0_is_the_plain_loss_and_an_equal_teacher_costs_nothing() -> None:
    student = model(2, 1)
    method, task = adopted(student, model(4), alpha=0)
    plain = task.objective(batch())
    assert torch.equal(method.objective(task, batch(), task.objective), plain)
    method, task = adopted(student, model(2, 1), alpha=1)
    soft = method.objective(task, batch(), task.objective)
    torch.testing.assert_close(soft, torch.zeros(()), atol=1e-6, rtol=0)


def test_the_gradient_keeps_its_size_as_the_temperature_grows() -> None:
    """It tends to (z - v) / C for centred logits: Hinton et al., section 2.1."""
    z, v = 0.1 * torch.randn(2, 3, 7)
    z, v = z - z.mean(-1, keepdim=True), v - v.mean(-1, keepdim=True)
    z.requires_grad_()
    for temperature in (5, 20):
        (gradient,) = torch.autograd.grad(3 * divergence(z, v, temperature), z)
        torch.testing.assert_close(gradient, (z - v).detach() / 7, atol=1e-3, rtol=0)


def test_only_the_student_learns() -> None:
    student, teacher = model(2, 1), model(4)
    method, task = adopted(student, teacher, alpha=1)
    method.objective(task, batch(), task.objective).backward()
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert all(p.grad is not None for p in student.parameters())
    assert len(student._forward_hooks) == 0
    assert task.state_dict().keys() == {f"model.{name}" for name in student.state_dict()} | {
        key for key in task.state_dict() if not key.startswith("model.")
    }
    assert not any("method" in key for key in task.state_dict())


def test_padding_does_not_count() -> None:
    student, teacher = torch.randn(2, 2, 5, 7)
    keep = torch.tensor([[True] * 5, [True, True, False, False, False]])
    expected = by_hand(student[keep], teacher[keep], 2)
    torch.testing.assert_close(divergence(student, teacher, 2, keep), expected)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="alpha must lie in"):
        Distill(alpha=2)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        Distill(temperature=0)
    with pytest.raises(ValueError, match="needs a teacher: no run is named elsewhere"):
        Distill(source="elsewhere").adopt(task_of(model(2)), {"parent": task_of(model(2))})
    method, task = adopted(model(2), model(2, num_outputs=5))
    with pytest.raises(ValueError, match="needs the same classes"):
        method.objective(task, batch(), task.objective)
    with pytest.raises(ValueError, match="needs a model whose forward returns logits"):
        method.objective(task, batch(), lambda _: torch.zeros(()))
    with pytest.raises(UserError, match="method=distill needs parent"):
        resolve([*DIGITS, "method=distill"])
    other = [*DIGITS, "method=distill", "method.distill.source=teacher"]
    with pytest.raises(UserError, match=r"method=distill needs sources\.teacher"):
        resolve([*other, "sources={tutor:['seed=1']}"])
    assert (
        resolve([*other, "sources={teacher:['seed=1']}"]).config["sources"]["teacher"]["seed"] == 1
    )
