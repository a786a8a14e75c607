import math

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from suexp.errors import UserError
from suexp.task.estimation import EstimationTask


class Mean(EstimationTask):
    """The mean of a uniform number, 1/2."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.add_total("value")

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        numbers = torch.rand(count, dtype=self.real, generator=generator)
        return {"value": numbers.sum()}

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        mean = float(totals["value"] / totals["draws"])
        self.record_rows("means", [{"draws": int(totals["draws"]), "mean": mean}])
        return {"mean": mean, "draws": float(totals["draws"])}


def test_estimates_a_mean(estimate):
    final = estimate(Mean(), samples=10_000, batch_size=300)
    assert final["test/draws"] == 10_000
    assert abs(final["test/mean"] - 0.5) < 4 * math.sqrt(1 / 12 / 10_000)


def test_seed_decides_and_batches_differ(estimate):
    first, again, other = (estimate(Mean(seed), 100, 50)["test/mean"] for seed in (0, 0, 1))
    assert first == again != other
    task = Mean()
    draws = [task.draw(3, task.generator(batch))["value"].item() for batch in (0, 1)]
    assert draws[0] != draws[1]


def test_interrupted_sums_go_on_where_they_stopped(estimate):
    whole = estimate(Mean(), 100, 10)
    half = Mean()
    estimate(half, 50, 10)
    rest = Mean()
    rest.load_state_dict(half.state_dict())
    assert estimate(rest, 100, 10) == whole
    assert rest.tables["means"] == [{"draws": 100, "mean": whole["test/mean"]}]


def test_a_second_test_counts_nothing_twice(estimate):
    task = Mean()
    assert estimate(task, 100, 10) == estimate(task, 100, 10)
    assert len(task.tables["means"]) == 1


def test_state_survives_a_checkpoint(tmp_path, estimate):
    task = Mean()
    estimate(task, 20, 10)
    torch.save(task.state_dict(), tmp_path / "totals.pt")
    state = torch.load(tmp_path / "totals.pt", weights_only=True)
    restored = Mean()
    restored.load_state_dict(state)
    assert restored.batches_done == 2
    assert torch.equal(restored.totals["value"], task.totals["value"])


def test_sums_keep_their_precision_in_a_module_of_16_bits(estimate):
    task = Mean().to(torch.bfloat16)
    assert estimate(task, 1000, 10)["test/draws"] == 1000
    assert task.totals["value"].dtype == torch.float64


@pytest.mark.parametrize("loader", [None, [{"index": torch.arange(2)}]])
def test_refuses_to_fit(loader):
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        max_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    with pytest.raises(
        UserError, match=r"^estimation tasks have nothing to fit; use trainer.test$"
    ):
        trainer.fit(Mean(), loader)
