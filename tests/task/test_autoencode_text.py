from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from suexp.callback.code_swap import CodeSwap, replaced
from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.build import build
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run

SMALL = ("task=autoencode_text", "data.tokenizer=bytes", "data.block_size=24", "model.dim=16")
SIZES = ("model.num_layers=3", "model.num_heads=2", "model.num_latent_layers=2", "threads=1")
RUN = [*SMALL, *SIZES, "trainer=cpu", "trainer.max_steps=2", "trainer.val_check_interval=1"]
RUN += ["trainer.limit_val_batches=2", "trainer.enable_progress_bar=false", "data.batch_size=4"]
RUN += ["data.eval_batch_size=8"]
PLAIN = ("model.latent=none", "model.num_latent_layers=0")


def task_of(*overrides: str) -> Any:
    torch.manual_seed(0)
    config = resolve([*SMALL, *SIZES, *overrides]).config
    return build(config, instantiate(config["data"])).eval()


def batch_of(task: Any, count: int = 6) -> dict[str, Tensor]:
    rows = task.data.splits()["validation"].__getitems__(list(range(count)))
    batch: dict[str, Tensor] = task.data.collate(rows)
    return batch


@torch.no_grad()
def by_hand(task: Any, batch: dict[str, Tensor]) -> tuple[float, int]:
    """Sum of the losses, row by row and without padding inside a text, and the tokens."""
    width, total, count = batch["tokens"].shape[1], 0.0, 0
    for tokens, keep in zip(batch["tokens"], batch["keep"], strict=True):
        logits = task.model(torch.cat((tokens, tokens))[None], torch.cat((keep, keep))[None])
        length = int(keep.sum())
        target = tokens[1:length]
        found = logits[0, width : width + length - 1]
        total += float(F.cross_entropy(found, target, reduction="sum"))
        count += len(target)
    return total, count


def test_loss_is_the_mean_over_the_copies_tokens() -> None:
    task = task_of()
    batch = batch_of(task)
    total, count = by_hand(task, batch)
    assert int(task.terms(batch)) == count
    assert task.objective(batch).item() == pytest.approx(total / count, rel=1e-5)


def test_a_gaussians_divergence_is_added_per_token() -> None:
    task = task_of("model.latent=gaussian", "task.beta=0.5")
    batch = batch_of(task)
    total, count = by_hand(task, batch)
    kl = task.read(batch)[0].kl.detach()
    expected = (total + 0.5 * float(kl.sum())) / count
    assert task.objective(batch).item() == pytest.approx(expected, rel=1e-5)
    free = task_of("model.latent=gaussian", "task.beta=0.5", "task.free_bits=0.2")
    assert 0 < (kl < 0.2).float().mean() < 1  # some are below, some are not
    expected = (total + 0.5 * float(kl.clamp(min=0.2).sum())) / count
    assert free.objective(batch).item() == pytest.approx(expected, rel=1e-5)


def test_beta_is_a_ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of("model.latent=gaussian", "task.beta={start: 0.0, end: 2.0, steps: 10}")
    batch = batch_of(task)
    losses = []
    for step in (0, 5, 10):
        monkeypatch.setattr(type(task), "global_step", step)
        losses.append(task.objective(batch).item())
    total, count = by_hand(task, batch)
    assert losses[0] == pytest.approx(total / count, rel=1e-5)
    kl = task.read(batch)[0].kl.sum().item() / count
    assert losses[1] - losses[0] == pytest.approx(kl, rel=1e-3)
    assert losses[2] - losses[0] == pytest.approx(2 * kl, rel=1e-3)


def test_a_constant_divergence_trains_nothing_and_a_codebook_has_a_penalty() -> None:
    task = task_of("task.beta=100", "model.latent=vmf")
    assert task.objective(batch_of(task)).item() < 10
    vq = task_of("model.latent=vq")
    batch = batch_of(vq)
    total, count = by_hand(vq, batch)
    penalty = vq.read(batch)[0].penalty
    weights = batch["keep"].sum(1) - 1
    expected = total / count + ((penalty * weights).sum() / weights.sum()).item()
    assert vq.objective(batch).item() == pytest.approx(expected, rel=1e-5)


def test_parts_of_a_batch_add_up() -> None:
    """As accumulation and several processes weigh them: by their tokens."""
    task = task_of("model.latent=gaussian")
    batch = batch_of(task)
    whole = task.objective(batch) * task.terms(batch)
    parts = [{k: v[i : i + 3] for k, v in batch.items()} for i in (0, 3)]
    torch.testing.assert_close(sum(task.objective(p) * task.terms(p) for p in parts), whole)


def test_what_is_written_from_codes_is_what_the_whole_row_predicts() -> None:
    task = task_of()
    batch = batch_of(task, 3)
    codes = task.model.encode(batch["tokens"], batch["keep"])
    width, end = task.data.block_size, task.data.tokenizer_.eot_id
    for row, text in enumerate(task.write(codes)):
        assert len(text) < width
        copy = torch.tensor([end, *text, end])[:width]
        padded = F.pad(copy, (0, width - len(copy)), value=task.data.tokenizer_.pad_id)
        keep = torch.arange(width) < len(copy)
        logits = task.model(
            torch.cat((batch["tokens"][row], padded))[None],
            torch.cat((batch["keep"][row], keep))[None],
        )[0, width:]
        logits[:, [task.data.tokenizer_.pad_id, task.data.tokenizer_.mask_id]] = -torch.inf
        assert logits[: len(copy) - 1].argmax(-1).tolist() == copy[1:].tolist()


def test_without_codes_all_texts_are_written_alike() -> None:
    task = task_of(*PLAIN)
    batch = batch_of(task, 3)
    codes = task.model.encode(batch["tokens"], batch["keep"])
    assert codes.shape == (3, 0, 16)
    first, *others = task.write(codes)
    assert others == [first, first]


def test_swapped_losses_by_hand() -> None:
    task = task_of()
    for parameter in task.model.bottlenecks.parameters():
        torch.nn.init.normal_(parameter, std=1.0)  # codes that matter
    batch = batch_of(task, 4)
    with torch.no_grad():
        found = CodeSwap().losses(task, batch)
        total, count = by_hand(task, batch)
        codes = task.model.encode(batch["tokens"], batch["keep"])
        others = codes[[1, 2, 3, 0]]
        swapped = [codes, others, codes.clone(), codes.clone()]
        swapped[2][:, 0], swapped[3][:, 1] = others[:, 0], others[:, 1]
        expected = []
        for each in swapped:
            reading, target = task.read(batch, each)
            expected.append(F.cross_entropy(reading.logits, target).double())
    assert found[:, 1].tolist() == 4 * [count]
    assert found[0, 0].item() == pytest.approx(total, rel=1e-5)
    torch.testing.assert_close(found[:, 0] / count, torch.stack(expected), atol=1e-6, rtol=1e-5)
    assert (found[1:, 0] - found[0, 0]).abs().min() > 1e-3


def test_replaced_codes() -> None:
    codes, others = torch.zeros(2, 4, 3), torch.ones(2, 4, 3)
    assert replaced(codes, others, range(2)).sum((0, 2)).tolist() == [6, 6, 0, 0]
    assert replaced(codes, others, [3]).sum((0, 2)).tolist() == [0, 0, 0, 6]
    assert codes.sum() == 0


LATENTS = ["vmf", "gaussian", "vq", "deterministic"]


@pytest.mark.parametrize("latent", LATENTS)
def test_a_run_reports_it(latent: str, tmp_path: Path) -> None:
    swap = ["callback=code_swap", "callbacks.code_swap.rows=10"]
    summary = execute(config := spec_of([*RUN, *swap, f"model.latent={latent}", f"out={tmp_path}"]))
    assert summary.status == "finished", summary.error
    metrics = summary.metrics
    expected = {"val/loss", "val/accuracy", "val/shuffled_loss", "val/code_gain"}
    expected |= {"val/swap_loss_1", "val/swap_loss_2"}
    assert expected <= {*metrics}
    assert ("val/kl" in metrics) == (latent != "deterministic")
    gain = metrics["val/shuffled_loss"] - metrics["val/loss"]
    assert metrics["val/code_gain"] == pytest.approx(gain, abs=1e-5)
    tables = Run(config).tables()
    assert [row["layer"] for row in tables["code_swap"]] == [1, 2]
    assert len(tables["code_texts"]) == 4
    for row in tables["code_texts"]:
        assert {"back", "drawn", "front", "own", "text"} <= {*row}


def test_mistakes() -> None:
    with pytest.raises(UserError, match="needs text codes: it swaps codes of texts"):
        resolve([*SMALL, *SIZES, *PLAIN, "callback=code_swap"])
    with pytest.raises(UserError, match=r"needs sentences: .*use data=docstring_sentences"):
        resolve(["task=autoencode_text", "data=pydoc"])
    with pytest.raises(UserError, match=r"needs text autoencoder: .*use model=univae"):
        resolve(["task=autoencode_text", "model=transformer"])
    with pytest.raises((ValueError, UserError), match=r"task\.beta must be at least 0, not -1"):
        task_of("task.beta=-1")
    with pytest.raises(UserError, match=r"task\.free_bits must be at least 0, not -1"):
        resolve([*SMALL, "task.free_bits=-1"])
    with pytest.raises(UserError, match="its rows are single sentences"):
        resolve(["task=causal_lm", "data=docstring_sentences"])
