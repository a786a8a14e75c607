"""Similar sentences that are written: ranked, counted, and in a run."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from suexp.callback.similar_samples import SimilarSamples, distinct_pairs, ranked_by_cosine
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.task.test_similar_sentence import SMALL, batch_of, task_of

RUN = [*SMALL, "trainer.max_steps=2", "trainer.val_check_interval=1", "trainer.limit_val_batches=1"]
RUN += ["trainer=cpu", "trainer.enable_progress_bar=false", "data.batch_size=4"]


@torch.no_grad()
def test_candidates_are_different_new_and_sorted_by_their_cosine() -> None:
    task = task_of()
    texts = ["Read it.", "Write it now.", "Read it.", "Find all of it.", "", "Write  it now."]
    encode = task.data.tokenizer_.encode
    found = ranked_by_cosine(task, "Read it.", [encode(text) for text in texts])
    assert {text for text, _ in found} == {"Write it now.", "Find all of it."}
    assert found[0][1] >= found[1][1]
    for text, cosine in found:
        a, b = task.vectors_of(["Read it.", text])
        assert cosine == pytest.approx(float(F.cosine_similarity(a, b, dim=0)), abs=1e-5)
    assert ranked_by_cosine(task, "Read it.", [encode("Read it."), []]) == []


def test_distinct_pairs_by_hand() -> None:
    assert distinct_pairs([[1, 2, 3], [1, 2], [5]]) == pytest.approx(2 / 3)
    assert distinct_pairs([[7], []]) == 0


@torch.no_grad()
def test_hidden_words_are_read_and_the_draws_are_the_same_every_time() -> None:
    task = task_of("task.max_target=4")
    batch = batch_of(task, 1)
    plain = SimilarSamples(candidates=3)
    first = plain.write(task, batch)
    torch.manual_seed(5)
    assert plain.write(task, batch) == first
    assert [len(some) for some in first] == [3, 3]
    read: list[torch.Tensor] = []
    write = task.write
    task.write = lambda batch, generator: read.append(batch["tokens"]) or write(batch, generator)
    SimilarSamples(candidates=3, hide=1.0).write(task, batch)
    source = batch["keep"] & (batch["segments"] == 0)
    special = torch.tensor([*task.data.tokenizer_.special])
    ordinary = (source & ~torch.isin(batch["tokens"], special)).repeat_interleave(3, 0)
    assert (read[0][ordinary] == task.data.tokenizer_.mask_id).all()


def test_a_run_reports_it(tmp_path: Path) -> None:
    more = [
        "callback=similar_samples",
        "callbacks.similar_samples.sentences=3",
        "task.max_target=4",
    ]
    more += ["callbacks.similar_samples.candidates=4", "callbacks.similar_samples.best=2"]
    spec = spec_of([*RUN, *more, f"out={tmp_path}"])
    summary = execute(spec)
    assert summary.status == "finished", summary.error
    rows = Run(spec).tables()["samples"]
    assert len({row["sentence"] for row in rows}) <= 3
    assert {row["rank"] for row in rows} <= {1, 2}
    assert 0 < summary.metrics["val/samples_distinct_2"] <= 1
    assert 0 < summary.metrics["val/samples_new"] <= 1
    assert -1 <= summary.metrics["val/samples_cosine"] <= 1


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="hide"):
        SimilarSamples(hide=2)
    with pytest.raises(ValueError, match="candidates"):
        SimilarSamples(candidates=0)
    with pytest.raises(UserError, match="nothing is written without; use decoding=sample"):
        resolve([*SMALL, "callback=similar_samples", "~decoding", "task.decoding=null"])
    task = task_of("task.decoding=null")
    with pytest.raises(UserError, match="use decoding=sample"):
        SimilarSamples().write(task, batch_of(task))
