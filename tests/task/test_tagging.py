import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.build import build
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.task.tagging import Tagging

SMALL = (
    "task=tagging",
    "model=conv_tagger",
    "model.dim=8",
    "model.num_layers=1",
    "data.max_bytes=20000",
    "data.batch_size=16",
    "optimizer.lr=1e-2",
    "trainer=cpu",
    "trainer.max_steps=20",
    "trainer.val_check_interval=10",
    "trainer.limit_val_batches=1",
    "trainer.enable_progress_bar=false",
    "threads=1",
)


def tagging(*overrides: str) -> tuple[Tagging, dict[str, torch.Tensor]]:
    config = spec_of([*SMALL, *overrides])
    data = instantiate(config.config["data"])
    torch.manual_seed(0)
    task = build(config.config, data)
    assert isinstance(task, Tagging)
    return task, data.collate(data.splits()["train"].__getitems__(list(range(8))))


@pytest.mark.parametrize("model", ["conv_tagger", "bilstm", "transformer model.num_heads=2"])
@pytest.mark.parametrize("loss", ["crf", "memm", "softmax_tagging"])
def test_every_model_trains_with_every_loss(model: str, loss: str) -> None:
    overrides = [o for o in SMALL if not o.startswith("model")]
    config = spec_of([*overrides, *f"model={model} model.dim=8".split(), f"loss={loss}"])
    data = instantiate(config.config["data"])
    task = build(config.config, data)
    assert isinstance(task, Tagging)
    batch = data.collate(data.splits()["train"].__getitems__([0, 1, 2]))
    task.objective(batch).backward()
    for module in task.trained:
        for parameter in module.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()


@pytest.mark.slow
def test_a_run_learns_and_reports_every_decoding(tmp_path: Path) -> None:
    overrides = ["loss=memm", "loss.bidirectional=true", "loss.constraints=sbie"]
    config = spec_of([*SMALL, *overrides, "task.timed_steps=2", "task.timed_lengths=[8,16]",
                      f"out={tmp_path}"])  # fmt: skip
    summary = execute(config)
    assert summary.status == "finished", summary.error
    metrics = summary.metrics
    history = Run(config).history()
    assert metrics["val/loss"] < next(line["val/loss"] for line in history if "val/loss" in line)
    assert metrics["test/f1"] == metrics["test/f1_exact"]
    assert 0 <= metrics["test/f1_score"] <= 1
    assert 0 < metrics["head_time"] < metrics["step_time"]
    lines = (Run(config).folder / "table.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["n"] for row in rows if row["table"] == "head"] == [8, 16]


def test_figures_are_those_of_all_batches_together() -> None:
    task, batch = tagging("loss=softmax_tagging")
    task.spans["argmax"].reset()
    parts = [{k: v[i : i + 4] for k, v in batch.items()} for i in (0, 4)]
    for part in [batch, *parts]:
        task._evaluate(part, ["argmax"])
        if part is batch:
            whole = task.spans["argmax"].compute(), task.mean_loss.compute()
            task.spans["argmax"].reset()
            task.mean_loss.reset()
    assert task.spans["argmax"].compute() == whole[0]
    torch.testing.assert_close(task.mean_loss.compute(), whole[1])
    tokens = (batch["tags"] != -100).sum()
    logits = task.model(batch["tokens"], keep=batch["keep"])
    plain = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["tags"].flatten())
    torch.testing.assert_close(whole[1], plain)
    right = (logits.argmax(-1) == batch["tags"]).sum() / tokens
    torch.testing.assert_close(whole[0][0], right)


def test_the_frame_of_a_tokenizer_is_not_judged(in_tmp: Path) -> None:
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcde"]
    Path("vocab.txt").write_text("\n".join(vocab))
    Path("t.txt").write_text("ab c de\nabc\nd e\n" * 4)
    files = ["data=files", "data.kind=tagging", "data.train=t.txt", "data.validation=t.txt"]
    wordpiece = ["data.tokenizer=wordpiece", "data.vocab=vocab.txt", "data.max_bytes=null"]
    task, batch = tagging(*files, *wordpiece)
    assert (batch["tokens"][:, 0] == 2).all()
    logits, tags, mask = task._judged(batch)
    assert logits.shape[:2] == tags.shape
    assert mask.sum() == (batch["tags"] != -100).sum()
    assert mask[:, 0].all()
    task.objective(batch).backward()


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["crf", "memm"])
def test_transitions_are_trained_and_go_on_from_a_parent(tmp_path: Path, loss: str) -> None:
    base = [*SMALL, f"loss={loss}", f"out={tmp_path}"]
    child = spec_of([*base, "trainer.max_steps=0", 'parent=["trainer.max_steps=20"]'])
    summary = execute(child)
    parent = Run(child.origins["parent"]).summary()
    assert parent is not None
    for name in ("test/loss", "test/f1"):
        assert summary.metrics[name] == pytest.approx(parent.metrics[name], abs=1e-6)
    states = [
        torch.load(Run(config).checkpoints()[0], weights_only=True)["state_dict"]
        for config in (child, child.origins["parent"])
    ]
    name = "loss.transitions.table"
    assert torch.equal(states[0][name], states[1][name])


@pytest.mark.slow
def test_resume_is_bit_equal(tmp_path: Path) -> None:
    from suexp.job.checkpoint import Interrupted

    config = spec_of([*SMALL, f"out={tmp_path / 'a'}", "trainer.log_every_n_steps=1"])
    whole = execute(config)
    config = spec_of([*SMALL, f"out={tmp_path / 'b'}", "trainer.log_every_n_steps=1",
                      "trainer.checkpoint_seconds=0"])  # fmt: skip
    objective, count = Tagging.objective, itertools.count()

    def interrupted(self: Tagging, batch: Any) -> torch.Tensor:
        if next(count) == 9:
            raise Interrupted
        return objective(self, batch)

    Tagging.objective = interrupted  # type: ignore[method-assign]
    try:
        with pytest.raises(Interrupted):
            execute(config)
    finally:
        Tagging.objective = objective  # type: ignore[method-assign]
    again = execute(config)
    for name in ("train/loss", "test/loss", "test/f1"):
        assert again.metrics[name] == whole.metrics[name]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss=cross_entropy"], "task=tagging needs tagging loss: its loss judges a row"),
        (["data=pydoc"], "needs tags: "),
        (["task=classification"], "needs labels: "),
        (["task=causal_lm", "model=transformer", "loss=cross_entropy"], "cannot be combined with"),
        (["task=causal_lm", "data=pydoc", "model=transformer", "loss=crf"], "loss=crf needs tags"),
    ],
)
def test_refused_at_composition(overrides: list[str], message: str) -> None:
    base = ["task=tagging", "data=spaceless", "model=conv_tagger"]
    with pytest.raises(UserError, match=message):
        resolve([*base, *overrides])


def test_a_scheme_that_does_not_fit_is_one_line() -> None:
    with pytest.raises(UserError, match=r"label 'E' begins with no tag of scheme bio"):
        tagging("task.scheme=bio")
