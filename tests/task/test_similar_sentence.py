"""Similar sentences: what a vector depends on, both losses by hand, recall, what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.build import build
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.nn import nearest
from suexp.task.similar_sentence import SimilarSentence, firsts, nearest_is_similar

SMALL = ["task=similar_sentence", "data.tokenizer=bytes", "data.block_size=120", "model.dim=16"]
SMALL += ["model.num_layers=2", "model.num_heads=2", "model.num_segments=2", "threads=1"]
SMALL += ["model.pooler=linear", "loss.layout=interleaved", "data.eval_batch_size=4"]


def task_of(*overrides: str) -> Any:
    torch.manual_seed(0)
    config = resolve([*SMALL, *overrides]).config
    task = build(config, instantiate(config["data"]))
    assert isinstance(task, SimilarSentence)
    for parameter in task.model.parameters():  # biases and gains that show
        torch.nn.init.normal_(parameter, std=0.3)
    return task.eval()


def batch_of(task: Any, pairs: int = 3, split: str = "validation") -> dict[str, Tensor]:
    rows = task.data.splits()[split].__getitems__(list(range(pairs)))
    return task.data.collate(rows)


def pooled(task: Any, batch: dict[str, Tensor]) -> Tensor:
    hidden, _ = task._read(batch)
    return task.model.pooler(hidden[:, 0])


@pytest.mark.parametrize("position", ["rope", "learned"])
@torch.no_grad()
def test_the_vector_is_that_of_the_source_alone_whatever_the_target(position: str) -> None:
    task = task_of(f"position={position}")
    batch = batch_of(task)
    found = pooled(task, batch)
    torch.testing.assert_close(found, task.source_vectors(batch), atol=1e-5, rtol=0)
    tokenizer = task.data.tokenizer_
    for row in range(len(found)):
        width = int(batch["prefix_length"][row])
        alone = {name: value[row : row + 1] for name, value in batch.items()}
        cut = {k: v[:, : width + 1] for k, v in alone.items() if v.ndim == 2}
        torch.testing.assert_close(pooled(task, {**alone, **cut})[0], found[row], atol=1e-5, rtol=0)
        text = tokenizer.decode(batch["tokens"][row, :width].tolist())
        torch.testing.assert_close(task.vectors_of([text])[0], found[row], atol=1e-5, rtol=0)
    edited = batch["tokens"].where(batch["segments"] == 0, 65)
    assert torch.equal(pooled(task, {**batch, "tokens": edited}), found)
    source = batch["tokens"].clone()
    source[0, 2] = 90
    assert (pooled(task, {**batch, "tokens": source})[0] != found[0]).any()


@torch.no_grad()
def test_the_targets_logits_do_not_depend_on_what_comes_later() -> None:
    task = task_of()
    batch = batch_of(task, 1)
    logits, _ = task.predict(batch, "target")
    first, length = int(batch["prefix_length"][0]), int(batch["segments"][0].sum())
    for t in (0, length // 2, length - 1):
        changed = {name: value.clone() for name, value in batch.items()}
        changed["tokens"][0, first + t :] = 65
        again, _ = task.predict(changed, "target")
        assert torch.equal(again[: t + 1], logits[: t + 1])


def in_keras(task: Any, batch: dict[str, Tensor], scale: float) -> tuple[Tensor, Tensor]:
    """The author's two losses, as roformer-sim's train/stage1.py writes them."""
    hidden = task.model.hidden(
        batch["tokens"], batch["keep"], batch["segments"], prefix_length=batch["prefix_length"]
    )
    y_pred = task.model.logits(hidden).log_softmax(-1)[:, :-1]
    y_true, y_mask = batch["tokens"][:, 1:], batch["segments"][:, 1:]
    chosen = -y_pred.gather(2, y_true[..., None])[..., 0]
    generation = (chosen * y_mask).sum() / y_mask.sum()
    vectors = F.normalize(hidden[:, 0] @ task.model.pooler.weight.T + task.model.pooler.bias)
    similarities = vectors @ vectors.T
    similarities = (similarities - torch.eye(len(vectors)) * 1e12) * scale
    idxs = torch.arange(len(vectors))
    labels = idxs + 1 - idxs % 2 * 2
    return generation, F.cross_entropy(similarities, labels)


@pytest.mark.parametrize("scale", [30, 20])
def test_both_losses_are_the_authors(scale: int) -> None:
    """Noise off, scale 30, learned positions: SimBERT's loss."""
    task = task_of("position=learned", f"loss.temperature={1 / scale}")
    batch = batch_of(task)
    batch["cluster"] = torch.arange(3).repeat_interleave(2)  # all different, as theirs are
    generation, contrast = in_keras(task, batch, scale)
    torch.testing.assert_close(task.objective(batch), generation + contrast)
    task.gen_weight, task.sim_weight = 2.0, 0.5
    torch.testing.assert_close(task.objective(batch), 2 * generation + contrast / 2)


def test_rows_of_a_cluster_do_not_compete() -> None:
    task = task_of()
    batch = batch_of(task, 4)
    cluster = torch.tensor([5, 5, 7, 7, 5, 5, 9, 9])
    vectors = pooled(task, batch)
    unit = F.normalize(vectors, dim=-1)
    expected = []
    for row in range(8):
        partner = row ^ 1
        rivals = [i for i in range(8) if i == partner or cluster[i] != cluster[row]]
        scores = 20 * unit[rivals] @ unit[row]
        expected.append(scores.logsumexp(0) - 20 * unit[partner] @ unit[row])
    found = task.contrast(vectors, cluster)
    torch.testing.assert_close(found, torch.stack(expected).mean())
    assert found < task.contrast(vectors, torch.arange(4).repeat_interleave(2))


@pytest.mark.parametrize("weight", ["task.gen_weight=0", "task.sim_weight=0"])
def test_a_loss_of_weight_0_leaves_no_parameter_without_a_gradient(weight: str) -> None:
    task = task_of(weight, "model.tie_embeddings=false")
    task.objective(batch_of(task)).backward()
    assert all(parameter.grad is not None for parameter in task.model.parameters())
    pooler = task.model.pooler.weight.grad.abs().sum()
    output = task.model.output.weight.grad.abs().sum()
    assert (pooler == 0) == (weight == "task.sim_weight=0")
    assert (output == 0) == (weight == "task.gen_weight=0")


def test_padding_changes_nothing_and_half_precision_is_finite() -> None:
    task = task_of()
    batch = batch_of(task)
    longer = {k: F.pad(v, (0, 5)) if v.ndim == 2 else v for k, v in batch.items()}
    torch.testing.assert_close(task.objective(longer), task.objective(batch))
    with torch.autocast("cpu", torch.bfloat16):
        loss = task.objective(batch)
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in task.model.parameters())


def test_the_parts_of_an_accumulated_step_keep_partners_together() -> None:
    task = task_of()
    task.batches_per_step = 3
    batch = batch_of(task, 6)
    parts = task.parts(batch)
    assert [len(part["tokens"]) for part in parts] == [4, 4, 4]
    assert all(torch.equal(part["cluster"][::2], part["cluster"][1::2]) for part in parts)


def test_recall_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = torch.tensor([[1.0, 0], [2, 0.1], [0, 1], [0.1, 1], [-1, -1]])
    cluster = torch.tensor([0, 0, 1, 0, 2])
    expected = [True, True, False, False, False]
    assert nearest_is_similar(vectors, cluster).tolist() == expected
    monkeypatch.setattr(nearest, "BLOCK", 2)
    assert nearest_is_similar(vectors, cluster).tolist() == expected
    assert firsts(torch.tensor([4, 2, 4, 9, 2])).tolist() == [1, 0, 3]


def test_a_run_reports_its_figures(tmp_path: Path) -> None:
    more = ["trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.limit_val_batches=2"]
    more += ["trainer=cpu", "trainer.enable_progress_bar=false", "data.batch_size=4"]
    summary = execute(spec_of([*SMALL, *more, f"out={tmp_path}"]))
    assert summary.status == "finished", summary.error
    metrics = summary.metrics
    assert 0 <= metrics["val/recall_at_1"] <= 1
    assert metrics["val/loss"] > 0
    assert metrics["val/contrast"] >= 0
    assert metrics["val/target_leak"] <= 1e-5


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    """Rows are pairs, so no sampler can part partners; the contrast is that of the whole batch."""
    from suexp.launch.processes import run_one

    more = ["trainer.max_steps=2", "trainer.val_check_interval=2", "data.batch_size=4"]
    more += ["trainer.limit_val_batches=2", "optimizer.lr=0.01"]
    several = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    found = []
    for name, devices in (("one", ["trainer=cpu"]), ("two", several)):
        summary = run_one(spec_of([*SMALL, *devices, *more, f"out={tmp_path / name}"]))
        assert summary is not None
        assert summary.status == "finished", summary.error
        found.append(summary.metrics)
    assert found[1]["train/loss"] == pytest.approx(found[0]["train/loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["mask=causal"], "the first token would see nothing of its sentence; use mask=prefix"),
        (["mask=bidirectional"], "a token must not see the one it predicts; use mask=prefix"),
        (["mask.length=4"], "set mask.length=null"),
        (["loss=cross_entropy"], "its vectors are compared; use loss=info_nce"),
        (["data=docstring_summary"], "its rows are pairs in both directions"),
        (["data.kind=seq2seq"], "its rows are pairs in both directions"),
        (["attention=linear"], "all others or all earlier ones"),
        (["method=grad_cache"], "needs loss on vectors"),
        (["method=naive_accumulation"], "a chunk may part two partners"),
        (["method=distill", "parent=['seed=1']"], "use method=similarity_distill"),
    ],
)
def test_combinations_that_cannot_work(overrides: list[str], line: str) -> None:
    small = [item for item in SMALL if not item.startswith("loss.")]
    with pytest.raises(UserError, match=line) as error:
        resolve([*small, *overrides])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["data.batch_size=1"], "one pair has no negatives; use data.batch_size=2"),
        (["task.gen_weight=0", "task.sim_weight=0"], "are both 0: nothing to learn"),
        (["task.sim_weight=-1"], "sim_weight"),
    ],
)
def test_bad_numbers(overrides: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        task_of(*overrides)
    task_of("data.batch_size=1", "task.sim_weight=0")
