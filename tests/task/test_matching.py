"""Matching: losses of vectors, ranks against torchmetrics, pairs that do not match."""

import math
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
import torch
from torch import Tensor
from torchmetrics.functional.retrieval import retrieval_hit_rate, retrieval_reciprocal_rank

import suexp.task.matching as module
from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.build import build
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.task.matching import Matching, information, ranks
from suexp.task.softmax_information import specht

SMALL = [
    "task=matching",
    "model=bag_encoder",
    "model.dim=8",
    "data.tokenizer=bytes",
    "data.block_size=12",
    "data.batch_size=8",
    "threads=1",
    "trainer=cpu",
    "trainer.enable_progress_bar=false",
]


def task_and_batch(*overrides: str, rows: int = 8) -> tuple[Matching, dict[str, Tensor]]:
    config = spec_of([*SMALL, *overrides])
    data = instantiate(config.config["data"])
    torch.manual_seed(0)
    task = build(config.config, data)
    assert isinstance(task, Matching)
    train = data.splits()["train"]
    return task, data.collate([train[i] for i in range(rows)])


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_ranks_equal_torchmetrics(similarity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a = torch.randn(30, 6)
    b = a + 2 * torch.randn(30, 6)
    found = ranks(a, b, similarity)
    x, y = (t / t.norm(dim=1, keepdim=True) if similarity == "cosine" else t for t in (a, b))
    scores = (x @ y.T).exp()  # torchmetrics leaves out scores below 0
    for i, rank in enumerate(found):
        target = torch.arange(30) == i
        assert retrieval_reciprocal_rank(scores[i], target) == pytest.approx(1 / float(rank))
        assert retrieval_hit_rate(scores[i], target, top_k=10) == float(rank <= 10)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert torch.equal(ranks(a, b, similarity), found)


@pytest.mark.parametrize("temperature", [1.0, 0.05, 0.01])
def test_information_is_scipys_and_bounded_by_the_temperature(
    temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = torch.randn(20, 6), torch.randn(33, 6)
    found = information(a, b, "cosine", temperature)
    scores = torch.nn.functional.cosine_similarity(a[:, None].double(), b.double(), dim=-1)
    entropy = scipy.stats.entropy((scores / temperature).softmax(-1).numpy(), axis=-1)
    assert found.numpy() == pytest.approx(math.log(33) - entropy, abs=1e-4)
    assert found.max() <= min(specht(temperature), math.log(33)) + 1e-6
    monkeypatch.setattr(module, "BLOCK", 7)
    torch.testing.assert_close(information(a, b, "cosine", temperature), found)


def test_vectors_that_are_all_the_same_find_nothing() -> None:
    same = torch.ones(5, 3)
    assert ranks(same, same).tolist() == [3.0] * 5


@pytest.mark.parametrize("model", ["bag_encoder", "transformer"])
def test_the_objective_is_the_loss_of_the_vectors(model: str) -> None:
    extra = ["model.num_heads=2"] if model == "transformer" else []
    task, batch = task_and_batch(f"model={model}", *extra)
    vectors = task.encode(batch)
    assert {name: tuple(x.shape) for name, x in vectors.items()} == {"a": (8, 8), "b": (8, 8)}
    loss = task.objective(batch)
    torch.testing.assert_close(loss, task.loss(vectors["a"], vectors["b"]))
    loss.backward()
    assert all(p.grad is not None for p in task.model.parameters())


def test_pairs_that_do_not_match_are_no_partners() -> None:
    task, batch = task_and_batch()
    match = torch.tensor([True] * 5 + [False] * 3)
    vectors = task.encode(batch)
    expected = task.loss(vectors["a"], vectors["b"], match)
    torch.testing.assert_close(task.objective(batch | {"match": match}), expected)
    assert expected != task.objective(batch)


@pytest.mark.slow
def test_trains_and_reports(tmp_path: Path) -> None:
    overrides = [*SMALL, "trainer.max_steps=3", "trainer.val_check_interval=2", f"out={tmp_path}"]
    summary = execute(spec_of(overrides))
    assert summary.status == "finished", summary.error
    metrics = summary.metrics
    assert 0 < metrics["val/mrr"] <= 1
    assert 0 <= metrics["val/recall_at_1"] <= metrics["val/recall_at_10"] <= 1
    assert metrics["val/loss"] > 0


@pytest.mark.slow
def test_figures_are_those_of_the_whole_split(tmp_path: Path) -> None:
    found = []
    for size in (50, 700):
        overrides = [*SMALL, "trainer.max_steps=0", f"data.eval_batch_size={size}"]
        summary = execute(spec_of([*overrides, f"out={tmp_path}"]))
        found.append(summary.metrics)
    for name in ("val/loss", "val/recall_at_10", "val/mrr"):
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-5)


@pytest.mark.slow
def test_labelled_pairs_of_a_file(tmp_path: Path, shared_data: Path) -> None:
    file = shared_data / "oppo_xiaobu" / "dev.txt"
    overrides: list[Any] = [
        *SMALL,
        "data=files",
        "data.kind=pairs",
        f"data.train={file}",
        "data.format=tsv",
        "data.header=false",
        "data.columns.text=0",
        "data.columns.other=1",
        "data.columns.label=2",
        "trainer.max_steps=2",
        f"out={tmp_path}",
    ]
    summary = execute(spec_of(overrides))
    assert summary.status == "finished", summary.error
    assert 0 < summary.metrics["val/mrr"] < 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss=cross_entropy"], "task=matching needs contrast: .*use loss=info_nce"),
        (["data=pydoc"], "task=matching needs pairs: .*use data=docstring_pairs"),
        (
            ["task=causal_lm", "data=files", "data.train=a.tsv", "data.kind=pairs"],
            "task=causal_lm cannot be combined with data=files: .*task=matching",
        ),
    ],
)
def test_refusals(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(["task=matching", *overrides])
