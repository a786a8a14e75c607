"""Ranks of a text's partner by hidden states, beside ranks that are counted one by one."""

from operator import eq, gt
from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.callback.retrieval import Retrieval
from suexp.code.instantiate import instantiate
from suexp.data.pydoc import PyDoc
from suexp.job.build import build
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from tests.support.tiny import tiny

ON = ("callback=retrieval", "callbacks.retrieval.pairs=12", "data.tokenizer=bytes")


def run(tmp_path: Path, *overrides: str) -> tuple[dict[str, Any], dict[str, Any]]:
    settings = tiny(tmp_path, "trainer.max_steps=2", *overrides)
    settings.remove("task.sample_tokens=0")
    config = spec_of(settings)
    return execute(config), config


@pytest.mark.slow
@pytest.mark.parametrize("model", ["transformer", "tta"])
def test_ranks_are_those_of_the_trained_states(tmp_path: Path, model: str) -> None:
    task_of = {"transformer": (), "tta": ("task=autoencode_lm",)}
    summary, config = run(tmp_path, *ON, *task_of[model])
    assert summary.status == "finished", summary.error
    task: Any = build(config.config, instantiate(config.config["data"]))
    last = Run(config).checkpoints()[0]
    task.load_state_dict(torch.load(last, weights_only=True)["state_dict"])
    pairs = instantiate(config.config["callbacks"]["retrieval"]["data"])
    rows = pairs.splits()["validation"]

    def state(tokens: Any) -> torch.Tensor:
        return task.eval().model.hidden(tokens[None])[0].mean(0)

    with torch.no_grad():
        states = [
            (state(batch["tokens_a"][0]), state(batch["tokens_b"][0]))
            for batch in (pairs.collate([rows[i]]) for i in range(12))  # alone, without padding
        ]
    found = []
    for i, (a, _) in enumerate(states):
        scores = [float(torch.cosine_similarity(a, b, 0)) for _, b in states]
        above, equal = (sum(test(s, scores[i]) for s in scores) for test in (gt, eq))
        found.append(above + (1 + equal) / 2)  # texts that are the same share their ranks
    metrics = summary.metrics
    assert metrics["val/retrieval_mrr"] == pytest.approx(sum(1 / r for r in found) / 12, abs=1e-6)
    assert metrics["val/retrieval_recall_at_1"] == pytest.approx(found.count(1) / 12)
    bare, _ = run(tmp_path, *task_of[model])
    assert bare.metrics["val/loss"] == metrics["val/loss"]


@pytest.mark.slow
def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pairs=1: at least 2"):
        Retrieval(PyDoc(), pairs=1)
    other = (*ON, "callbacks.retrieval.data.tokenizer=bpe")
    summary, _ = run(tmp_path, *other)
    assert summary.mistake
    assert "its pairs have 4096 different tokens, the model's data 259" in summary.error
    settings = tiny(tmp_path, *ON, "position=learned", "trainer.max_steps=2")
    config = spec_of(settings)
    config.config["callbacks"]["retrieval"]["data"]["block_size"] = 64  # composing refuses it
    summary = execute(config)
    assert summary.error.startswith("callback=retrieval: a text of 64 tokens is longer")
