"""Layers that are one have not drifted; others by the formula."""

from pathlib import Path

import pytest
import torch

from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import tiny


@pytest.mark.slow
def test_by_the_formula(tmp_path: Path) -> None:
    base = tiny(tmp_path, "callback=layer_drift")
    shared = ["model.sharing=all", "trainer.max_steps=3"]
    assert execute(spec_of([*base, *shared])).metrics["val/layer_drift"] == 0
    apart = [*base, "transform=unshare", 'parent=["model.sharing=all","trainer.max_steps=3"]']
    spec = spec_of(apart)
    summary = execute(spec)
    assert summary.status == "finished", summary.error
    state = torch.load(Run(spec).checkpoints()[0], weights_only=True)["state_dict"]
    layers = [
        torch.cat([v.flatten() for k, v in state.items() if k.startswith(f"model.blocks.{i}.")])
        for i in (0, 1)
    ]
    distance = (layers[0] - layers[1]).norm() / 2 / (layers[0] + layers[1]).norm() * 2
    assert summary.metrics["val/layer_drift"] == pytest.approx(float(distance), rel=1e-4)
    assert summary.metrics["val/layer_drift"] > 0
