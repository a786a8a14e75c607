import functools
import json
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from suexp.attention.base import Attention
from suexp.attention.linear import Linear
from suexp.attention.performer import Performer
from suexp.attention.softmax import Softmax
from suexp.config.compose import resolve
from suexp.costs import Layer, formulas_of
from suexp.errors import UserError
from suexp.init.default import Default
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.mask.bidirectional import Bidirectional
from suexp.mask.causal import Causal
from suexp.model.transformer import Transformer
from suexp.nn.flops import counted
from suexp.nn.saved import SavedBytes
from suexp.norm.layer import Layer as LayerNorm
from suexp.position.learned import Learned
from suexp.position.none import NONE
from suexp.task._bench import Bench, OutOfMemoryError, crossing
from suexp.task._child import MALLOC, Child, DiedError
from suexp.task.cost import Cost
from tests.task.failing import Broken, Hungry, Killed, Worker


def model(dim=16, heads=2, position=None, mask=None, **changes):
    given = {"dim": dim, "num_heads": heads, "head_dim": dim // heads, "ffn": "gelu"}
    return functools.partial(
        Transformer,
        attention=Softmax(),
        position=position or NONE(),
        norm=LayerNorm(dim),
        mask=mask or Bidirectional(),
        init=Default(),
        **{**given, "ffn_multiplier": 4, **changes},
    )


CORES = {
    "materialised": Softmax(kernel="materialised"),
    "sdpa": Softmax(),
    "linear": Linear(),
    "left_out": None,
}


def cost(cores=CORES, network=None, **changes):
    options = {"lengths": [8, 16], "rounds": 1, "warmup": 0, "least_seconds": 0.0}
    return Cost(network or model(), cores, **{**options, **changes})


# Known answers.


@pytest.mark.parametrize("n", [64, 512, 4096])
def test_the_counter_sees_what_the_formula_says(n):
    cores = {"materialised": Softmax(kernel="materialised")}
    bench = Bench(model(256, 4), cores, 1, False, 0, 0.0, torch.device("cpu"), None)
    with FakeTensorMode(allow_non_fake_inputs=True) if n > 64 else nullcontext():
        seen = bench.flops("materialised", n)
    assert seen == 2 * (12 * n * 256**2 + 2 * n**2 * 256)


@pytest.mark.parametrize(
    "changes", [{}, {"ffn": "swiglu", "ffn_multiplier": 6}, {"norm_order": "post"}, {"ffn": "relu"}]
)
@pytest.mark.parametrize(
    "core", [Softmax(), Softmax(kernel="materialised"), Linear(), Performer(16)], ids=repr
)
def test_formulas_of_a_layer(core, changes):
    n, network = 128, model(64, 4, **changes)
    layer = Layer(
        64,
        4,
        ffn_multiplier=changes.get("ffn_multiplier", 4),
        gated=changes.get("ffn") == "swiglu",
        attention=formulas_of(core),
    )
    block = network(vocab_size=1, num_layers=1, attention=core).blocks[0]
    x = torch.randn(1, n, 64, requires_grad=True)
    with SavedBytes(block.parameters()) as meter:
        out = block(x, Bidirectional())
        held = meter.live
    del out
    if changes.get("ffn") != "relu":  # which keeps its result only
        assert held / 4 == pytest.approx(layer.saved(n), rel=0.01)
    with counted() as counter:
        block(x, Bidirectional())
    assert sum(layer.flops(n).values()) == counter.get_total_flops()
    matrices = sum(w.numel() for w in block.parameters() if w.ndim == 2)
    assert layer.parameters() == matrices


@pytest.mark.parametrize("n", [256, 1024])
def test_fused_attention_keeps_one_matrix_less(n):
    cores = {"materialised": Softmax(kernel="materialised"), "sdpa": Softmax()}
    bench = Bench(model(64, 4), cores, 1, False, 0, 0.0, torch.device("cpu"), None)
    materialised, fused = (bench.saved_bytes(name, n) for name in cores)
    assert materialised - fused == 4 * (4 * n**2 - 4 * n)  # one matrix, less its logarithms' sums


def test_a_layer_without_attention_is_linear_in_the_length():
    task = cost({}, model(256, 4))
    counts = [sum(task._layers["none"].flops(n).values()) for n in (64, 128, 4096)]
    assert counts[1] / counts[0] == 2
    assert counts[2] / counts[0] == 64


@pytest.mark.slow
def test_counts_of_base(estimate):
    dim, heads, expected = 768, 12, (1536, 4608)
    wide = Linear(feature_multiplier=4, num_heads=heads, head_dim=64)
    task = cost({**CORES, "wide": wide}, model(dim, heads), measure=False, lengths=[128, 4608])
    final = estimate(task, 1, 1)
    for name in ("sdpa", "materialised"):
        assert final[f"test/predicted_attention_crossover_{name}"] == expected[0]
        assert final[f"test/predicted_core_crossover_{name}"] == expected[1]
        assert final[f"test/predicted_cheaper_linear_than_{name}"] == 64
        assert final[f"test/predicted_cheaper_wide_than_{name}"] == 256
    assert final["test/flops_error"] == 0
    assert final["test/bound_n4608"] == pytest.approx(1 + 4608 / (6 * dim))
    assert final["test/head_share"] == pytest.approx(16.2 / (16.2 + 84.9 * (1 + 1 / 36)), 0.01)
    assert not [name for name in final if "seconds" in name or "saved" in name]


@pytest.mark.slow
def test_measures_every_part(estimate):
    task = cost(rounds=2)
    final = estimate(task, samples=2, batch_size=1)
    rows = {(row["core"], row["n"], row["part"]): row for row in task.tables["cost"]}
    assert len(rows) == 2 * (4 * 4 - 1)
    for (name, n, part), row in rows.items():
        assert 0 < row["seconds"] <= row["seconds_median"] < 1
        assert not row["oom"]
        if part == "layer":
            assert final[f"test/seconds_{name}_n{n}"] == row["seconds"]
            assert final[f"test/saved_{name}_n{n}"] > 0
    assert ("none", 8, "core") not in rows
    assert final["test/flops_error"] == 0
    assert {"test/attention_crossover_sdpa", "test/cheaper_linear_than_sdpa"} <= final.keys()
    assert "test/attention_crossover_linear" not in final
    saved = task._layers["linear"].saved(16) * 4
    assert final["test/saved_linear_n16"] == pytest.approx(saved, rel=0.01)
    assert {row["tokens_per_second"] > 0 for row in task.tables["layer"]} == {True}
    assert task._bench is None  # its process has ended


def test_a_lack_of_memory_is_told_from_other_errors():
    cores = {"hungry": Hungry(), "broken": Broken()}
    bench = Bench(model(), cores, 1, False, 0, 0.0, torch.device("cpu"), None)
    assert bench.seconds("hungry", 8)
    for method in (bench.seconds, bench.flops, bench.saved_bytes, bench.peak_bytes):
        with pytest.raises(OutOfMemoryError):
            method("hungry", 16)
        with pytest.raises(RuntimeError, match="broken"):
            method("broken", 16)


@pytest.mark.slow
def test_what_does_not_fit_is_a_result(estimate):
    task = cost({"big": Killed(), "sdpa": Softmax()}, lengths=[8, 16, 32])
    final = estimate(task, 1, 1)
    assert "test/seconds_big_n8" in final
    assert "test/seconds_big_n16" not in final
    assert {"test/seconds_sdpa_n32", "test/seconds_none_n32"} <= final.keys()
    assert [row["n"] for row in task.tables["cost"] if row["oom"]] == [16, 32]


@pytest.mark.slow
def test_the_process_has_its_own_allocator():
    child = Child(Worker())
    assert child.call("settings", list(MALLOC)) == list(MALLOC.values())
    with pytest.raises(ZeroDivisionError):
        child.call("divide", 1, 0)
    assert child.call("divide", 1, 2) == 0.5
    assert not set(MALLOC) & set(os.environ)
    with pytest.raises(DiedError):
        child.call("die")
    child.close()


def test_rope_and_mixed_precision_and_causal_masks():
    from suexp.position.rope import Rope

    network = model(position=Rope(8), mask=Causal())
    for autocast in (None, torch.bfloat16):
        bench = Bench(network, {"x": Linear()}, 2, True, 0, 0.0, torch.device("cpu"), autocast)
        assert set(bench.seconds("x", 8)) == {"layer", "attention", "core", "ffn"}


def test_where_lines_cross():
    assert crossing([10, 20, 40], [0.5, 1.5, 3.0]) == 15
    assert crossing([10, 20, 40], [0.9, 1.5, 0.5]) == float("inf")
    assert crossing([10, 20, 40], [0.2, 0.4, 0.8]) == 50
    assert crossing([10, 20], [2.0, 3.0]) == 0


class Silent(Attention):
    """Says nothing of its cost."""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lengths": [0]}, "must be at least 1"),
        ({"network": model(position=Learned(8, 16))}, "longer than the 8 positions"),
        ({"cores": {"silent": Silent()}}, "attention=silent gives no cost formula"),
    ],
)
def test_refuses(wrong, message):
    with pytest.raises((ValueError, UserError), match=message):
        cost(**wrong)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("position=alibi", "position=none"),
        ("mask=window", "mask=bidirectional"),
        ("model=mlp", "model=transformer"),
        ("data=pydoc", "data=counter"),
    ],
)
def test_refuses_combinations(choice, message):
    with pytest.raises(UserError, match=message):
        resolve(["task=cost", choice])


@pytest.mark.slow
def test_runs_from_the_command_line(tmp_path: Path):
    arguments = ["task=cost", "attention=performer", "model.dim=16", "task.lengths=[8,16]"]
    arguments += ["data.num_samples=2", "data.batch_size=1", "task.least_seconds=0", "threads=1"]
    arguments += ["task.measure=false", "trainer.enable_progress_bar=false", f"out={tmp_path}"]
    summary = execute(spec_of(arguments), lambda _: None)
    assert summary.status == "finished"
    assert summary.metrics["test/flops_error"] == 0
    (table,) = tmp_path.glob("runs/*/table.jsonl")
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    assert "chosen" in {row["core"] for row in rows}
