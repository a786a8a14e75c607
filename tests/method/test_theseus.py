"""BERT-of-Theseus: the spec's known answers, and what its predecessor must be like."""

import copy
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suexp.attention import Softmax
from suexp.config.compose import resolve
from suexp.data.digits import Digits
from suexp.errors import UserError
from suexp.init import Default
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.loss import CrossEntropy
from suexp.mask import Bidirectional, Causal
from suexp.method.base import Skip
from suexp.method.theseus import Theseus
from suexp.model import Transformer
from suexp.norm import Layer
from suexp.optimizer import AdamW
from suexp.position import Learned, Rope
from suexp.store.folder import Run
from suexp.task.classification import Classification
from tests.job.test_checkpoint import assert_equal
from tests.support.processes import start, stop_at, two_processes


def model(layers: int, seed: int = 0, **changes: Any) -> Transformer:
    torch.manual_seed(seed)
    arguments: dict[str, Any] = {
        "vocab_size": 11,
        "attention": Softmax(),
        "position": Learned(12, 16),
        "norm": Layer(16),
        "mask": Bidirectional(),
        "init": Default(),
        "dim": 16,
        "num_layers": layers,
        "num_heads": 2,
        "norm_order": "post",
        "num_outputs": 3,
    }
    return Transformer(**(arguments | changes))


def batch(rows: int = 5, length: int = 7) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    keep = torch.ones(rows, length, dtype=torch.bool)
    keep[1, 4:] = False
    return {
        "tokens": torch.randint(11, (rows, length), generator=generator),
        "keep": keep,
        "label": torch.arange(rows) % 3,
    }


def task_of(successor: nn.Module) -> Classification:
    return Classification(
        model=successor, loss=CrossEntropy(), optimizer=None, scheduler=None, data=Digits()
    )


def adopted(
    successor: nn.Module, predecessor: nn.Module | None, **settings: Any
) -> tuple[Theseus, Classification]:
    method, task = Theseus(**settings), task_of(successor)
    task.wrap([method])
    method.adopt(task, {} if predecessor is None else {"parent": task_of(predecessor)})
    return method, task


def logits(network: nn.Module) -> Tensor:
    rows = batch()
    return network(rows["tokens"], keep=rows["keep"])


def weights(*draws: float) -> Tensor:
    """Of the embeddings, then of the layers."""
    return torch.tensor(draws, dtype=torch.float32).view(-1, 1)


# 1. Rate 1 is the successor, rate 0 the predecessor, bit for bit.


@pytest.mark.parametrize("norm_order", ["pre", "post"])
def test_all_drawn_is_the_successor_none_the_predecessor(norm_order: str) -> None:
    predecessor, successor = model(6, norm_order=norm_order), model(2, 1, norm_order=norm_order)
    method, task = adopted(successor, predecessor)
    pure, old = logits(successor), logits(predecessor)
    assert not torch.allclose(pure, old)
    with method.hybrid(successor, weights(1, 1, 1)):
        assert torch.equal(logits(successor), pure)
    with method.hybrid(successor, weights(0, 0, 0)):
        assert torch.equal(logits(successor), old)
    assert torch.equal(logits(successor), pure)  # and nothing stays behind
    assert "embed" not in vars(successor)
    assert "relate" not in vars(successor)
    assert len(successor.blocks) == 2
    assert task.state_dict().keys() == task_of(copy.deepcopy(successor)).state_dict().keys()


def test_rate_one_trains_as_without_the_method() -> None:
    successor = model(2, 1)
    method, task = adopted(
        successor, model(6), replacing_rate=1, freeze_classifier=False, predecessor_dropout=False
    )
    plain = task.objective(batch())
    assert torch.equal(method.objective(task, batch(), task.objective), plain)


def test_the_predecessor_keeps_positions_and_heads_of_its_own() -> None:
    predecessor = model(4, position=Rope(8), num_heads=2)
    successor = model(2, 1, position=Rope(4, base=50.0), num_heads=4)
    method, _ = adopted(successor, predecessor)
    old = logits(predecessor)
    with method.hybrid(successor, weights(0, 0, 0)):
        assert torch.equal(logits(successor), old)


# 2. Copies of the predecessor's layers give the same for every draw.


@pytest.mark.parametrize("granularity", ["batch", "sample"])
@pytest.mark.parametrize("mix", ["bernoulli", "uniform"])
def test_equal_layers_do_not_care_what_is_drawn(granularity: str, mix: str) -> None:
    predecessor = model(3)
    method, task = adopted(
        copy.deepcopy(predecessor), predecessor, granularity=granularity, mix=mix
    )
    expected, rows = logits(predecessor), 1 if granularity == "batch" else 5
    for step in range(20):
        with method.hybrid(task.model, method.draw(step, 4, rows)):
            torch.testing.assert_close(logits(task.model), expected, atol=1e-6, rtol=0)


# 3. What is frozen stays, what is not drawn stays.


def test_only_what_is_drawn_moves() -> None:
    predecessor, successor = model(4), model(2, 1)
    method, task = adopted(successor, predecessor)
    kept = {k: v.clone() for k, v in predecessor.state_dict().items()}
    from suexp.nn.param_groups import param_groups

    optimizer = AdamW(param_groups(successor), lr=0.1, weight_decay=0.5)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {
        id(p) for name, p in successor.named_parameters() if not name.startswith("classifier")
    }

    def step(*draws: float) -> set[str]:
        before = {k: v.clone() for k, v in successor.state_dict().items()}
        optimizer.zero_grad()
        with method.hybrid(successor, weights(*draws)):
            task.objective(batch()).backward()
        optimizer.step()
        after = successor.state_dict()
        return {
            ".".join(k.split(".")[:2]) for k, v in before.items() if not torch.equal(v, after[k])
        }

    assert step(1, 1, 1) == {
        "embedding.weight",
        "position.embedding",
        "blocks.0",
        "blocks.1",
    }
    # They have momentum now, and would decay: without a gradient they are not touched.
    assert step(0, 1, 0) == {"blocks.0"}
    assert all(p.grad is None for p in successor.blocks[1].parameters())
    assert step(1, 0, 0) == {"embedding.weight", "position.embedding"}
    assert all(torch.equal(v, kept[k]) for k, v in predecessor.state_dict().items())
    assert torch.equal(successor.classifier.weight, kept["classifier.weight"])
    assert all(p.grad is None for p in predecessor.parameters())


def test_shared_embeddings_are_the_predecessors_and_frozen() -> None:
    predecessor, successor = model(4), model(2, 1)
    method, _ = adopted(successor, predecessor, replace_embeddings=False)
    assert torch.equal(successor.embedding.weight, predecessor.embedding.weight)
    assert torch.equal(successor.position.embedding.weight, predecessor.position.embedding.weight)
    trained = {name.split(".")[0] for name, p in successor.named_parameters() if p.requires_grad}
    assert trained == {"blocks"}
    with method.hybrid(successor, weights(1, 0, 0)):
        assert torch.equal(logits(successor), logits(predecessor))


# 4. How often, and independently.


@pytest.mark.slow
def test_modules_are_drawn_independently_at_the_rate() -> None:
    method, count = Theseus(replacing_rate=0.3), 10_000
    draws = torch.stack([method.draw(step, 4, 1)[:, 0] for step in range(count)])
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    error = 4 * math.sqrt(0.3 * 0.7 / count)
    assert ((draws.mean(0) - 0.3).abs() < error).all()
    correlation = torch.corrcoef(draws.T) - torch.eye(4)
    assert correlation.abs().max() < 0.04


def test_rows_are_drawn_independently_and_shared_out_like_the_rows() -> None:
    method = Theseus(granularity="sample", seed=5)
    draws = method.draw(3, 4, 10_000)
    assert ((draws.mean(1) - 0.5).abs() < 4 * 0.5 / 100).all()
    assert (torch.corrcoef(draws) - torch.eye(4)).abs().max() < 0.04
    assert torch.equal(method.draw(3, 4, 10_001)[:, :10_000], draws)  # for an uneven share
    assert not torch.equal(method.draw(4, 4, 10_000), draws)
    assert not torch.equal(Theseus(granularity="sample", seed=6).draw(3, 4, 10_000), draws)


def test_rows_of_accumulated_batches_have_draws_of_their_own() -> None:
    def loss(batches: int) -> float:
        _, task = adopted(model(2, 1), model(4), granularity="sample", seed=5)
        task.batches_per_step = batches
        return task.training_step(batch(6), 0).item()

    assert loss(3) == pytest.approx(loss(1), rel=1e-6)


def test_kinds_of_mixing() -> None:
    uniform = Theseus(mix="uniform").draw(0, 4, 10_000)
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.01)
    assert uniform.std().item() == pytest.approx(math.sqrt(1 / 12), abs=0.01)
    annealed = Theseus(mix="anneal", schedule="linear", replacing_rate=0, linear_k=0.25)
    assert [annealed.draw(t, 2, 1)[0, 0].item() for t in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert (Theseus(mix="uniform", steps_for_replacing=7).draw(7, 4, 3) == 1).all()


def test_a_blend_is_the_weighted_sum_of_both_modules() -> None:
    predecessor, successor = model(1), model(1, 1)
    method, _ = adopted(successor, predecessor)
    tokens, places = torch.arange(6)[None], torch.arange(6)
    mask = Bidirectional()
    share = torch.tensor([0.25])
    x = 0.25 * successor.embed(tokens, None, places) + 0.75 * predecessor.embed(
        tokens, None, places
    )
    expected = 0.25 * successor.blocks[0](x, mask) + 0.75 * predecessor.blocks[0](x, mask)
    with method.hybrid(successor, share.expand(2, 1)):
        torch.testing.assert_close(successor.hidden(tokens), expected)


def test_a_row_is_what_its_own_draw_says() -> None:
    predecessor, successor = model(4), model(2, 1)
    method, _ = adopted(successor, predecessor)
    draws = torch.tensor([[0, 1, 0, 1, 1], [0, 1, 1, 0, 1], [0, 1, 0, 0, 0]]).float()
    with method.hybrid(successor, draws):
        mixed = logits(successor)
    for row in range(5):
        with method.hybrid(successor, draws[:, row : row + 1]):
            torch.testing.assert_close(mixed[row], logits(successor)[row], atol=1e-6, rtol=1e-5)


# 5. Gradients pass through frozen modules.


def test_gradients_pass_through_the_predecessor() -> None:
    successor = model(3, 1)
    method, task = adopted(successor, model(6))
    with method.hybrid(successor, weights(0, 1, 0, 0)):
        task.objective(batch()).backward()
    assert all(p.grad.abs().max() > 0 for p in successor.blocks[0].feed_forward.parameters())
    assert all(p.grad is None for p in successor.blocks[2].parameters())


def test_a_step_without_a_drawn_module_is_skipped() -> None:
    successor = model(2, 1)
    method, task = adopted(successor, model(4), replacing_rate=1e-9)
    with pytest.raises(Skip):
        method.objective(task, batch(), task.objective)
    assert task.training_step(batch(), 0) is None
    method, task = adopted(model(2, 1), model(4), replacing_rate=1e-9, freeze_classifier=False)
    loss = task.training_step(batch(), 0)
    assert loss is not None
    loss.backward()
    assert task.model.classifier.weight.grad.abs().max() > 0


# 6. The linear schedule.


def test_linear_schedule_reaches_one() -> None:
    method = Theseus(schedule="linear", replacing_rate=0.3, linear_k=0.0006)
    first = next(t for t in range(3000) if method.rate(t) == 1)
    assert first == math.ceil((1 - 0.3) / 0.0006) == 1167
    assert method.rate(100) == pytest.approx(0.36)
    assert Theseus(steps_for_replacing=10).rate(9) == 0.5
    assert Theseus(steps_for_replacing=10).rate(10) == 1


# 7. The paper's own encoder (JetRunner/BERT-of-Theseus, which is not on PyPI) runs this loop.


def test_equals_the_papers_encoder_loop() -> None:
    predecessor, successor = model(6, norm_order="post"), model(3, 1, norm_order="post")
    method, _ = adopted(successor, predecessor, replace_embeddings=False)
    tokens, mask = batch()["tokens"], Bidirectional()
    for step in range(8):
        draws = method.draw(step, 4, 1)
        # for i in range(scc_n_layer): if bernoulli.sample() == 1: scc_layer[i], else the
        # predecessor's layers [i * ratio : (i + 1) * ratio]; then each of them in turn.
        layers: list[nn.Module] = []
        for i in range(3):
            if draws[i + 1, 0] == 1:
                layers.append(successor.blocks[i])
            else:
                layers += [predecessor.blocks[i * 2 + offset] for offset in range(2)]
        x = predecessor.embed(tokens, None, torch.arange(7))
        for layer in layers:
            x = layer(x, mask)
        with method.hybrid(successor, draws):
            torch.testing.assert_close(successor.hidden(tokens), x, atol=1e-5, rtol=0)


# Other tasks, types and devices.


def test_a_language_model_with_tied_embeddings() -> None:
    changes = {"num_outputs": None, "mask": Causal(), "norm_order": "pre", "position": Rope(8)}
    predecessor, successor = model(4, **changes), model(2, 1, **changes)
    method, _ = adopted(successor, predecessor)
    tokens = torch.arange(8)[None]
    with method.hybrid(successor, weights(1, 0, 1)):
        F.cross_entropy(successor(tokens)[0], tokens[0]).backward()
    assert successor.embedding.weight.grad.abs().max() > 0
    assert successor.blocks[0].attention.qkv.weight.grad is None


def test_bfloat16_beside_float32() -> None:
    successor = model(2, 1)
    method, task = adopted(successor, model(4), granularity="sample")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = method.objective(task, batch(), task.objective)
    loss.backward()
    assert torch.isfinite(loss)
    task.to(torch.bfloat16)  # precision=bf16-true: the predecessor follows
    with method.hybrid(task.model, method.draw(0, 3, 5)):
        assert logits(task.model).dtype == torch.bfloat16


def test_dropout_of_the_predecessor() -> None:
    rows = {"dropout": 0.5}
    for on in (True, False):
        predecessor = model(2, **rows)
        method, task = adopted(model(1, 1, **rows), predecessor, predecessor_dropout=on)
        assert all(module.training is on for module in predecessor.modules())
        with method.hybrid(task.model, weights(0, 0)):
            task.model.dropout.training = False
            same = torch.equal(logits(task.model), logits(task.model))
        assert same is not on


# Mistakes.


@pytest.mark.parametrize(
    ("parent", "child", "settings", "message"),
    [
        (6, 4, {}, r"predecessor has 6 layers, not divisible into 4 modules; .* 1, 2, 3, 6"),
        (2, 4, {}, r"the successor has 4 layers, its predecessor only 2"),
        (None, 2, {}, r"method=theseus needs a predecessor: .*parent=\[\.\.\.\]"),
    ],
)
def test_layers_that_do_not_fit(
    parent: int | None, child: int, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        adopted(model(child), None if parent is None else model(parent), **settings)


def test_networks_that_do_not_fit() -> None:
    wide = model(4, dim=32, norm=Layer(32), position=Learned(12, 32))
    with pytest.raises(ValueError, match=r"same width; use method=distill"):
        adopted(model(2), wide)
    with pytest.raises(ValueError, match=r"model.classifier cannot be .*freeze_classifier=false"):
        adopted(model(2), model(4, num_outputs=5))
    with pytest.raises(ValueError, match=r"model.position cannot be .*replace_embeddings=true"):
        adopted(model(2), model(4, position=Learned(20, 16)), replace_embeddings=False)
    shared = model(4)
    shared.blocks[1] = shared.blocks[0]
    with pytest.raises(ValueError, match="share their weights: unshare them first"):
        adopted(model(2), shared)
    with pytest.raises(ValueError, match="replaces blocks, which Linear has not"):
        adopted(model(2), nn.Linear(1, 1))


@pytest.mark.parametrize(
    "settings",
    [
        {"replacing_rate": 0},
        {"replacing_rate": 1.5},
        {"linear_k": -1},
        {"linear_k": 0, "schedule": "linear"},
        {"steps_for_replacing": -1},
    ],
)
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Theseus(**settings)


DIGITS = (
    "task=classification",
    "data=digits",
    "data.patch=2",
    "model.dim=8",
    "model.num_heads=2",
    "position=learned",
    "position.max_length=16",
    "trainer=cpu",
    "trainer.max_steps=6",
    "trainer.val_check_interval=3",
    "trainer.limit_val_batches=1",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
    "threads=1",
)
STAGED = (
    "model.num_layers=1",
    "transform=truncate",
    "method=theseus",
    'parent=["model.num_layers=2"]',
)


def test_refused_when_composed() -> None:
    with pytest.raises(UserError, match=r"method=theseus needs parent: .*parent=\["):
        resolve([*DIGITS, "method=theseus"])
    with pytest.raises(UserError, match="no blocks to replace"):
        resolve(["task=classification", "data=digits", "model=mlp", *STAGED[1:]])
    with pytest.raises(UserError, match=r"method.theseus.schedule: .*constant"):
        resolve([*DIGITS, *STAGED, "method.theseus.schedule=cubic"])
    with pytest.raises(UserError, match="a sharded block must stay in its place"):
        resolve([*DIGITS, *STAGED, "trainer=fsdp"])
    with pytest.raises(UserError, match=r"cannot skip a step.*granularity=sample"):
        resolve([*DIGITS, *STAGED, "trainer=ddp"])


@pytest.mark.slow
def test_killed_and_restarted_equals_uninterrupted(tmp_path: Path) -> None:
    extra = ["model.dropout=0.1", "trainer.max_steps=60", "trainer.checkpoint_seconds=0"]
    configs = [
        spec_of([*DIGITS, *STAGED, *extra, f"out={tmp_path / name}"])
        for name in ("killed", "whole")
    ]
    execute(configs[0].origins["parent"])
    run = Run(configs[0])
    stop_at(17, run, start(configs[0]), signal.SIGKILL)
    assert not run.finished
    assert execute(configs[0]).status == "finished"
    assert execute(configs[1]).status == "finished"
    assert_equal(run, Run(configs[1]))


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    """They agree on what is drawn, also where that leaves parameters without a gradient."""
    common = [*DIGITS, *STAGED, "trainer.gradient_clip_val=null", f"out={tmp_path}"]
    common += ["data.eval_batch_size=64"]  # both processes need something to judge by
    common += ["method.theseus.granularity=sample", "trainer.max_steps=12"]
    # The parent chooses another trainer, so it names that trainer's settings, too.
    trainer = [f'"{item}"' for item in common if item.startswith("trainer")]
    several = [
        *(item for item in common if item != "trainer=cpu"),
        *("trainer=ddp", "trainer.accelerator=cpu"),
        f'parent=["model.num_layers=2",{",".join(trainer)}]',
    ]
    runs = [spec_of(overrides) for overrides in (common, several)]
    assert execute(runs[0]).status == "finished"
    assert two_processes(runs[1]).status == "finished"
    assert Run(runs[0].origins["parent"]).id == Run(runs[1].origins["parent"]).id
    one, two = (
        torch.load(Run(config).checkpoints()[0], weights_only=True)["state_dict"] for config in runs
    )
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=2e-3, rtol=0, msg=name)


@pytest.mark.slow
def test_three_stages(tmp_path: Path) -> None:
    """Predecessor, compression, the successor alone: each a run that starts from the last."""
    compression = ",".join(
        f'"{item}"'.replace('=["', '=[\\"').replace('"]"', '\\"]"') for item in STAGED
    )
    config = spec_of([*DIGITS, f"out={tmp_path}", "model.num_layers=1", f"parent=[{compression}]"])
    assert config.origins["parent"].config["method"]["theseus"]["replacing_rate"] == 0.5
    assert config.origins["parent"].origins["parent"].config["model"]["num_layers"] == 2
    assert not config.origins["parent"].origins["parent"].config["method"]
    notes: list[str] = []
    summary = execute(config, notes.append)
    assert summary.status == "finished", summary.error
    assert len(list((tmp_path / "runs").iterdir())) == 3
    compressed = execute(config.origins["parent"], notes.append)  # found, not run again
    assert compressed.metrics["train/replacing_rate"] == 0.5
    assert compressed.cost["parameters"] == summary.cost["parameters"]
    assert 0 < compressed.metrics["val/accuracy"] < 1


@pytest.mark.slow
def test_real_texts_of_119_classes(tmp_path: Path, shared_data: Path) -> None:
    """The post's own data, from JSON lines."""
    folder = shared_data / "iflytek"
    config = spec_of(
        [
            *(item for item in DIGITS if not item.startswith(("data", "position.max"))),
            *("data=files", "data.kind=classification", "data.tokenizer=bytes"),
            *(f"data.train={folder}/train_few_all.json", "data.block_size=24", "data.batch_size=8"),
            f"data.validation={folder}/dev_few_all.json",
            "data.columns={text: sentence, label: label}",
            *STAGED,
            f"out={tmp_path}",
        ]
    )
    summary = execute(config, lambda _: None)
    assert summary.status == "finished", summary.error
    assert 0 <= summary.metrics["val/accuracy"] < 0.2
    state = torch.load(Run(config).checkpoints()[0], weights_only=True)["state_dict"]
    assert state["model.classifier.weight"].shape == (119, 8)
    parent = torch.load(Run(config.origins["parent"]).checkpoints()[0], weights_only=True)[
        "state_dict"
    ]
    for name in ("model.classifier.weight", "model.classifier.bias"):
        assert torch.equal(state[name], parent[name])  # frozen, and the predecessor's
