"""Distilled similarities: the gap by hand, who reads what, who learns, and what is refused."""

import doctest
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import suexp.method.similarity_distill
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.method.similarity_distill import SimilarityDistill, cosine_gap
from suexp.method.source_noise import SourceNoise
from suexp.store.folder import Run
from tests.task.test_similar_sentence import SMALL, batch_of, pooled, task_of


def adopted(*methods: Any, teacher: tuple[str, ...] = ("model.dim=8",), **settings: Any) -> Any:
    """Return a student's task with its method, and the teacher's."""
    student, other = task_of("task.sim_weight=0"), task_of(*teacher)
    method = SimilarityDistill(**settings)
    student.wrap([method, *methods])
    method.adopt(student, {"teacher": other})
    return student, other, method


def by_hand(u: Tensor, v: Tensor) -> float:
    u, v, total = u.detach(), v.detach(), 0.0
    for i in range(len(u)):
        for j in range(len(u)):
            one, other = (F.cosine_similarity(x[i], x[j], dim=0) for x in (u, v))
            total += float(one - other) ** 2
    return total / len(u) ** 2


def test_the_gap_by_hand_and_of_rotations() -> None:
    u, v = torch.randn(7, 5, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)
    assert float(cosine_gap(u, v)) == pytest.approx(by_hand(u, v), rel=1e-9)
    q, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))
    assert float(cosine_gap(u, 3 * u @ q)) < 1e-30
    wider = F.pad(u @ q, (0, 4))
    assert float(cosine_gap(u, wider)) < 1e-30
    assert float(cosine_gap(torch.eye(2), torch.ones(2, 5))) == pytest.approx(0.5)


def test_the_loss_is_generation_and_a_hundred_gaps() -> None:
    student, teacher, method = adopted()
    batch = batch_of(student)
    assert method.weight == 100
    gap = by_hand(teacher.source_vectors(batch), pooled(student, batch))
    plain = student.objective(batch).detach()
    found = student.wrapped_objective()(batch).detach()
    assert float(found) == pytest.approx(float(plain) + 100 * gap, rel=1e-5)


def test_the_student_reads_noise_and_the_teacher_does_not() -> None:
    student, teacher, _ = adopted(SourceNoise(p_sample=1.0, p_word=1.0))
    batch = batch_of(student)
    heard: list[Tensor] = []
    hidden = student.model.hidden

    def listen(tokens: Tensor, *arguments: Any, **facts: Any) -> Tensor:
        heard.append(tokens)
        return hidden(tokens, *arguments, **facts)

    student.model.hidden = listen
    found = student.wrapped_objective()(batch).detach()
    assert len(heard) == 1
    assert (heard[0] != batch["tokens"][:, :-1]).any()
    noisy = {**batch, "inputs": F.pad(heard[0], (0, 1))}
    gap = by_hand(teacher.source_vectors(batch), pooled(student, noisy))
    expected = float(student.objective(noisy).detach()) + 100 * gap
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_only_the_student_learns_and_no_checkpoint_holds_the_teacher() -> None:
    student, teacher, method = adopted(teacher=("model.dropout=0.5",))
    teacher.train()
    method.adopt(student, {"teacher": teacher})
    batch = batch_of(student)
    first, again = (method.teacher_vectors(student, batch) for _ in range(2))
    assert torch.equal(first, again)  # nothing is dropped
    student.wrapped_objective()(batch).backward()
    assert all(p.grad is None and not p.requires_grad for p in teacher.model.parameters())
    assert float(student.model.pooler.weight.grad.abs().sum()) > 0
    assert not list(method.parameters())
    assert not any("method" in key for key in student.state_dict())


def test_a_weight_of_0_is_plain_training() -> None:
    student, _, _ = adopted(weight=0)
    batch = batch_of(student)
    assert torch.equal(student.wrapped_objective()(batch), student.objective(batch))


RUN = [*SMALL, "trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.limit_val_batches=2"]
RUN += ["trainer=cpu", "trainer.enable_progress_bar=false", "data.batch_size=4"]


def test_a_run_learns_from_another_and_tells_how_near_it_came(tmp_path: Path) -> None:
    more = ["method=[source_noise,similarity_distill]", "task.sim_weight=0"]
    more += ["callback=teacher_cosines"]
    more += ["sources={teacher:['model.dim=8','task.sim_weight=1','callback=none']}"]
    spec = spec_of([*RUN, *more, f"out={tmp_path}"])
    summary = execute(spec)
    assert summary.status == "finished", summary.error
    assert 0 < summary.metrics["val/cosine_rms"] < 2
    rows = Run(spec).tables()["cosines"]
    similar = [row["similar"] for row in rows]
    assert similar == sorted(similar, reverse=True)
    assert 8 <= sum(similar) <= 200
    assert 1 <= len(similar) - sum(similar) <= 200
    assert all(-1.0001 <= row[name] <= 1.0001 for row in rows for name in ("teacher", "student"))


def test_mistakes_and_the_example() -> None:
    with pytest.raises(ValueError, match="weight"):
        SimilarityDistill(weight=-1)
    student, teacher = task_of(), task_of("data.begin=false")
    with pytest.raises(ValueError, match="needs a teacher: no run is named elsewhere"):
        SimilarityDistill(source="elsewhere").adopt(student, {"teacher": teacher})
    with pytest.raises(ValueError, match="the teacher has 259 different tokens, the student 260"):
        SimilarityDistill().adopt(student, {"teacher": teacher})
    with pytest.raises(ValueError, match="gives no vectors of sentences"):
        SimilarityDistill().adopt(student, {"teacher": torch.nn.Identity()})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="has no teacher yet"):
        SimilarityDistill().teacher_vectors(student, batch_of(student))
    with pytest.raises(UserError, match=r"method=similarity_distill needs sources\.teacher"):
        resolve([*SMALL, "method=similarity_distill"])
    with pytest.raises(UserError, match="needs similar sentences: it compares vectors"):
        resolve(["task=seq2seq", "method=similarity_distill", "sources={teacher:['seed=1']}"])
    assert doctest.testmod(suexp.method.similarity_distill).failed == 0
