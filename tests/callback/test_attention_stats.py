"""Entropy, information, scores and divergences of attention are those of their definitions."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from torch import Tensor

from suexp.attention import Linear, Softmax, TalkingHeads
from suexp.attention.base import Attention
from suexp.callback.attention_stats import AttentionStats, Statistics, watch
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.mask import Bidirectional, Causal, Padding
from suexp.mask.base import Mask
from suexp.store.folder import Run
from tests.contracts.test_model import build as build_model
from tests.contracts.test_model import resolved
from tests.support.tiny import tiny, unchecked

ON = "callback=attention_stats"


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def measured(attention: Attention, q: Tensor, k: Tensor, mask: Mask) -> dict[str, float]:
    stats = Statistics([None])
    stats.add(0, attention, {"q": q, "k": k, "mask": mask, "bias": None}, own=True)
    return stats.metrics()


def test_entropy_is_scipys_over_the_keys_that_a_query_may_see() -> None:
    q, k = draw(2, 3, 7, 4), draw(2, 3, 7, 4)
    keep = torch.ones(2, 7, dtype=torch.bool)
    keep[1, 5:] = False
    found = measured(Softmax(), q, k, Causal() & Padding(keep))
    entropies, keys, variances, largest = [], [], [], 0.0
    for b, h, i in itertools.product((0, 1), (0, 1, 2), range(7)):
        if not keep[b, i]:
            continue
        scores = (q[b, h, i] @ k[b, h, : i + 1].mT) / 2
        entropies.append(scipy.stats.entropy(scores.softmax(-1).numpy()))
        keys.append(math.log(i + 1))
        variances += [float(scores.var(correction=0))] if i else []
        largest = max(largest, float(scores.abs().max()))
    mean = sum(entropies) / len(entropies)
    assert found["attention_entropy"] == pytest.approx(mean, abs=1e-10)
    assert found["attention_keys"] == pytest.approx(sum(keys) / len(keys), abs=1e-10)
    information = found["attention_keys"] - mean
    assert found["attention_information"] == pytest.approx(information, abs=1e-10)
    std = math.sqrt(sum(variances) / len(variances))
    assert found["score_std"] == pytest.approx(std, abs=1e-10)
    assert found["score_max"] == pytest.approx(largest, abs=1e-10)


def test_equal_scores_have_no_information_and_huge_ones_all_of_it() -> None:
    k = draw(1, 2, 9, 4)
    equal = measured(Softmax(), torch.zeros_like(k), k, Bidirectional())
    assert equal["attention_information"] == pytest.approx(0, abs=1e-12)
    assert equal["attention_entropy"] == pytest.approx(math.log(9), abs=1e-12)
    sharp = measured(Softmax(), (1e6 * k).float(), k.float(), Bidirectional())
    assert sharp["attention_entropy"] == pytest.approx(0, abs=1e-6)
    assert math.isfinite(sharp["score_std"])


def test_rows_that_see_nothing_do_not_count() -> None:
    q = k = draw(2, 1, 6, 4)
    keep = torch.ones(2, 6, dtype=torch.bool)
    keep[1] = False
    both = measured(Softmax(), q, k, Bidirectional() & Padding(keep))
    first = measured(Softmax(), q[:1], k[:1], Bidirectional())
    assert both == pytest.approx(first, abs=1e-12)


def test_parts_join_to_the_whole() -> None:
    q, k = draw(4, 2, 6, 4), draw(4, 2, 6, 4)
    whole, joined = Statistics([None]), Statistics([None])
    call = {"mask": Causal(), "bias": None}
    whole.add(0, Softmax(), {"q": q, "k": k, **call}, own=True)
    for part in (slice(0, 1), slice(1, 4)):
        stats = Statistics([None])
        stats.add(0, Softmax(), {"q": q[part], "k": k[part], **call}, own=True)
        joined.merge(stats.sums, stats.largest)
    joined.merge([{}], [None])  # a process without a batch
    assert joined.metrics() == pytest.approx(whole.metrics(), abs=1e-12)
    assert joined.rows() == [pytest.approx(row, abs=1e-12) for row in whole.rows()]


def test_attention_without_explicit_weights_answers_too() -> None:
    q, k = draw(2, 2, 6, 4), draw(2, 2, 6, 4)
    attention = Linear()
    found = measured(attention, q, k, Causal())
    assert 0 < found["attention_entropy"] < found["attention_keys"]
    assert "score_std" not in found
    eye = torch.eye(6, dtype=torch.float64).expand(2, 2, 6, 6)
    entropy = torch.special.entr(attention(q, k, eye, Causal())).sum(-1).mean()
    assert found["attention_entropy"] == pytest.approx(float(entropy), abs=1e-10)


def test_mixed_weights_below_0_count_as_0() -> None:
    attention = TalkingHeads(2, talking_init="random").double()
    with torch.no_grad():
        found = measured(attention, draw(2, 2, 6, 4), draw(2, 2, 6, 4), Bidirectional())
    assert 0 < found["attention_entropy"] < math.log(6)


@torch.no_grad()
@pytest.mark.parametrize("choice", ["softmax", "performer", "talking_heads", "entropy_invariant"])
def test_watching_changes_nothing_and_compares_neighbours(choice: str) -> None:
    model = build_model(
        resolved({"attention": choice, "position": "rope", "mask": "causal"})
    ).eval()
    tokens = torch.randint(11, (3, 12))
    expected = model(tokens)
    weights: list[Tensor] = []

    def keep(module: Any, args: tuple[Any, ...], out: Tensor) -> None:
        q, k, _, mask, _ = args
        eye = torch.eye(12).expand(3, 2, 12, 12)
        weights.append(module.forward(q, k, eye, mask).clamp(min=0).double())

    for block in model.blocks:
        block.attention.attention.register_forward_hook(keep)
    with watch(model) as stats:
        assert torch.equal(model(tokens), expected)
    rows = stats.rows()
    assert [(row["layer"], row["head"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert "js" not in rows[0]
    p, q = (w / w.sum(-1, keepdim=True) for w in weights)
    distance = scipy.spatial.distance.jensenshannon(p.numpy(), q.numpy(), axis=-1)
    assert stats.metrics()["attention_js"] == pytest.approx((distance**2).mean(), abs=1e-5)
    with watch(model):
        pass
    assert torch.equal(model(tokens), expected)


def test_a_run_records_it_by_layer_and_head_at_both_ends(tmp_path: Path) -> None:
    overrides = (ON, "callbacks.attention_stats.at_start=true", "trainer.max_steps=4")
    config = spec_of(tiny(tmp_path, *overrides))
    summary = execute(config)
    assert summary.status == "finished", summary.error
    metrics = summary.metrics
    for split in ("start", "val"):
        assert metrics[f"{split}/attention_information"] == pytest.approx(
            metrics[f"{split}/attention_keys"] - metrics[f"{split}/attention_entropy"], abs=1e-9
        )
        assert 0 < metrics[f"{split}/attention_js"] < math.log(2)
    keys = sum(math.log(i) for i in range(1, 17)) / 16
    assert metrics["val/attention_keys"] == pytest.approx(keys, abs=1e-6)
    rows = Run(config).tables()["attention"]
    assert len(rows) == 2 * 2 * 2
    assert {row["when"] for row in rows} == {"start", "end"}
    off = execute(spec_of(tiny(tmp_path, "trainer.max_steps=4")))
    assert off.metrics["val/loss"] == metrics["val/loss"]


def test_a_run_of_no_steps_is_measured(tmp_path: Path) -> None:
    child = ("parent=['trainer.max_steps=2']", "trainer.max_steps=0", "data.block_size=24", ON)
    metrics = execute(spec_of(tiny(tmp_path, *child))).metrics
    keys = sum(math.log(i) for i in range(1, 25)) / 24
    assert metrics["val/attention_keys"] == pytest.approx(keys, abs=1e-6)


@pytest.mark.slow
def test_an_encoder_and_a_decoder(tmp_path: Path) -> None:
    choice = ("task=seq2seq", "model=encoder_decoder", "mask=causal", "data.block_size=160")
    small = (
        "trainer.max_steps=1",
        "trainer.val_check_interval=1",
        "decoding=greedy",
        "model.num_layers=2",
    )
    arguments = [
        x for x in tiny(tmp_path, ON) if not x.startswith(("task.", "data.block", "data.max"))
    ]
    config = spec_of([*arguments, *choice, *small])
    summary = execute(config)
    assert summary.status == "finished", summary.error
    rows = Run(config).tables()["attention"]
    assert [row["layer"] for row in rows[::2]] == [0, 1, 2, 3, 4]
    # The encoder's only layer has no neighbour, and looking up is another thing than attending.
    assert ["js" in row for row in rows[::2]] == [False, False, False, True, True]


def test_a_model_without_attention_is_refused(tmp_path: Path) -> None:
    arguments = ["task=classification", "model=mlp", "data=digits", f"out={tmp_path}"]
    summary = execute(unchecked([*arguments, "trainer.max_steps=1"], "attention_stats"))
    assert summary.mistake
    assert "no attention" in summary.error
    with pytest.raises(ValueError, match="at least 1"):
        AttentionStats(batches=0)
