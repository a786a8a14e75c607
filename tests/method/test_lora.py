"""LoRA in the network and in the optimizer are one algorithm; peers; folding; what is refused."""

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.build import build, data_of
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.method.lora import LoRA
from suexp.nn.param_groups import build_optimizer
from suexp.optimizer import SGD, AdamW, Lion
from suexp.optimizer.lora import LoRA as InOptimizer
from suexp.task.base import Task
from tests.support.tiny import tiny

LM = ["data.tokenizer=bytes", "data.max_bytes=60000", "data.block_size=16", "data.batch_size=4"]
LM += ["model.dim=16", "model.num_heads=2", "task.sample_tokens=0", "model.bias=true"]
BASES = {
    "sgd": functools.partial(SGD, momentum=0.9),
    "adamw": functools.partial(AdamW, weight_decay=0.01),
    "lion": functools.partial(Lion, weight_decay=0.01),
}


@pytest.fixture(scope="module")
def data() -> Any:
    return data_of(resolve(LM).config)


def a_task(data: Any, *methods: Any, dtype: Any = torch.float64) -> Any:
    torch.manual_seed(0)
    task: Any = build(resolve(LM).config, data)
    task.model.to(dtype)
    task.wrap(list(methods))
    task.methods.to(dtype)
    for method in methods:
        method.adopt(task, {})
    return task


def trained(task: Any, optimizer: torch.optim.Optimizer, data: Any, steps: int = 20) -> list[float]:
    rows, losses = data.splits()["train"], []
    for step in range(steps):
        batch = data.collate(rows.__getitems__(list(range(4 * step, 4 * step + 4))))
        optimizer.zero_grad()
        loss = task.training_step(batch, 0)
        task.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("init", ["a_zero", "b_zero", "symmetric"])
@pytest.mark.parametrize("variant", ["product", "additive"])
def test_the_two_forms_are_one_algorithm(data: Any, base: str, init: Any, variant: Any) -> None:
    settings: Any = {"rank": 4, "alpha": 2, "init": init, "variant": variant}
    net = a_task(data, LoRA(**settings))
    lr = 1e-2
    first = trained(net, build_optimizer(functools.partial(BASES[base], lr=lr), *net.trained), data)
    opt = a_task(data)
    form: Any = functools.partial(
        InOptimizer, lr=lr, base=BASES[base], targets="blocks", **settings
    )
    second = trained(opt, build_optimizer(form, *opt.trained), data)
    assert first[-1] != first[0]
    torch.testing.assert_close(first, second, atol=1e-12, rtol=1e-12)
    net.methods[0].fold(net)
    for (name, a), b in zip(net.model.named_parameters(), opt.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12, msg=name)


@pytest.mark.parametrize("materialise", ["incremental", "from_base"])
def test_both_ways_to_keep_the_matrix(data: Any, materialise: Any) -> None:
    task = a_task(data)
    form: Any = functools.partial(InOptimizer, materialise=materialise, targets="blocks", rank=2)
    losses = trained(task, build_optimizer(form, *task.trained), data, 5)
    assert losses[-1] == pytest.approx(trained_incremental(data), abs=1e-12)


def trained_incremental(data: Any) -> float:
    task = a_task(data)
    form: Any = functools.partial(InOptimizer, targets="blocks", rank=2)
    return trained(task, build_optimizer(form, *task.trained), data, 5)[-1]


@pytest.mark.parametrize("init", ["a_zero", "b_zero", "symmetric", "both_zero"])
@pytest.mark.parametrize("variant", ["product", "additive"])
@pytest.mark.parametrize("order", ["factored", "merged"])
def test_the_network_begins_as_it_was(data: Any, init: Any, variant: Any, order: Any) -> None:
    plain = a_task(data, dtype=torch.float32)
    method = LoRA(4, init=init, variant=variant, product_order=order, allow_stationary=True)
    task = a_task(data, method, dtype=torch.float32)
    batch = data.collate(data.splits()["train"].__getitems__([0, 1]))
    expected, found = (t.training_step(batch, 0).item() for t in (plain, task))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("base", ["sgd", "adamw"])
def test_two_factors_of_0_never_move(data: Any, base: str) -> None:
    task = a_task(data, LoRA(2, init="both_zero", allow_stationary=True))
    make: Any = {
        "sgd": functools.partial(SGD, lr=0.1),
        "adamw": functools.partial(AdamW, lr=0.1, weight_decay=0.0),
    }[base]
    trained(task, build_optimizer(make, *task.trained), data, 3)
    assert all(p.abs().max() == 0 for p in task.methods.parameters())


def test_both_orders_are_equal(data: Any) -> None:
    grads = []
    for order in ("factored", "merged"):
        task = a_task(data, LoRA(4, init="symmetric", product_order=order))  # type: ignore[arg-type]
        batch = data.collate(data.splits()["train"].__getitems__([0, 1]))
        task.backward(task.training_step(batch, 0))
        grads.append([p.grad for p in task.methods.parameters()])
    torch.testing.assert_close(*grads, atol=1e-10, rtol=1e-8)


def test_factored_is_cheaper_than_full_and_merged_dearer(data: Any) -> None:
    """Of the backward pass; what is not adapted is the same in all."""
    counts = {}
    for name in ("factored", "full", "merged"):
        methods = [] if name == "full" else [LoRA(2, product_order=name)]  # type: ignore[arg-type]
        task = a_task(data, *methods, dtype=torch.float32)
        if name == "full":  # the adapted matrices alone
            for key, p in task.model.named_parameters():
                p.requires_grad_(key.startswith("blocks") and p.ndim == 2)
        loss = task.training_step(data.collate(data.splits()["train"].__getitems__([0, 1])), 0)
        with FlopCounterMode(display=False) as counter:
            task.backward(loss)
        counts[name] = counter.get_total_flops()
    assert counts["factored"] < counts["full"] < counts["merged"]


def test_only_the_factors_are_trained_and_what_is_named(data: Any) -> None:
    task = a_task(data, LoRA(2, targets=r".*qkv", train=r".*bias"))
    names = {n for n, p in task.model.named_parameters() if p.requires_grad}
    assert names == {n for n, _ in task.model.named_parameters() if n.endswith("bias")}
    assert [tuple(m.down.shape) for m in task.methods[0].factors] == [(2, 16), (2, 16)]
    assert [tuple(m.up.shape) for m in task.methods[0].factors] == [(48, 2), (48, 2)]


def test_state_is_of_the_factors_size(data: Any) -> None:
    for base, kinds in (("lion", 1), ("adamw", 2)):
        task = a_task(data, LoRA(2))
        numbers = sum(p.numel() for p in task.methods.parameters())
        optimizer = build_optimizer(functools.partial(BASES[base], lr=1e-3), *task.trained)
        trained(task, optimizer, data, 1)
        tensors = [v for s in optimizer.state.values() for v in s.values() if v.dim()]
        assert sum(v.numel() for v in tensors) == kinds * numbers


def test_bfloat16_and_dropout(data: Any) -> None:
    task = a_task(data, LoRA(2, dropout=0.5), dtype=torch.float32)
    batch = data.collate(data.splits()["train"].__getitems__([0, 1]))
    with torch.autocast("cpu", torch.bfloat16):
        loss = task.training_step(batch, 0)
    task.backward(loss)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.methods.parameters())
    torch.manual_seed(0)
    for p in task.methods.parameters():
        p.data.normal_()
    first, second = (task.training_step(batch, 0).item() for _ in range(2))
    assert first != second
    task.eval()
    first, second = (task.training_step(batch, 0).item() for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_a_child_begins_with_what_was_learned(tmp_path: Path) -> None:
    base = tiny(tmp_path, "model.dropout=0")
    lora = 'parent=["method=lora","method.lora.rank=2","method.lora.init=symmetric"]'
    parent = execute(
        spec_of([*base, "method=lora", "method.lora.rank=2", "method.lora.init=symmetric"])
    )
    assert parent.status == "finished", parent.error
    assert parent.cost["parameters/trainable"] < parent.cost["parameters"] / 4
    child = execute(
        spec_of([*base, "trainer.max_steps=0", lora.replace("]", ',"trainer.max_steps=20"]')])
    )
    assert child.metrics["val/loss"] == pytest.approx(parent.metrics["val/loss"], abs=1e-5)


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["peft", "loralib"])
def test_against_peers(kind: str) -> None:
    """The same factors give the same outputs, gradients and merged weight."""
    library = pytest.importorskip(kind)
    torch.manual_seed(0)
    layer = nn.Linear(12, 8)
    method, net = LoRA(4, alpha=2, targets="0", init="symmetric"), nn.Sequential(layer)
    peer: Any
    if kind == "peft":
        config = library.LoraConfig(r=4, lora_alpha=2, target_modules=["0"], lora_dropout=0.0)
        wrapped = library.get_peft_model(copy.deepcopy(net), config)
        theirs = wrapped.base_model.model[0]
        peer, a, b = wrapped, theirs.lora_A["default"].weight, theirs.lora_B["default"].weight
    else:
        theirs = library.Linear(12, 8, r=4, lora_alpha=2)
        theirs.load_state_dict({**theirs.state_dict(), **layer.state_dict()})
        peer, a, b = theirs, theirs.lora_A, theirs.lora_B
    method.attach(type("T", (), {"model": net})())  # type: ignore[arg-type]
    ours: Any = method.factors[0]
    with torch.no_grad():
        a.copy_(ours.down)
        b.copy_(ours.up)
    x = torch.randn(5, 12)
    found, expected = net(x), peer(x)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.down.grad, a.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.up.grad, b.grad, atol=1e-5, rtol=1e-5)
    method.fold(None)  # type: ignore[arg-type]
    if kind == "peft":
        merged: Tensor = theirs.weight + theirs.get_delta_weight("default")
    else:
        theirs.eval()
        merged = theirs.weight
    torch.testing.assert_close(layer.weight, merged, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["optimizer=lora", "trainer.gradient_clip_val=null"], "low-rank twice"),
        (["trainer=fsdp"], "use trainer=ddp"),
    ],
)
def test_combinations_are_refused(more: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve(["method=lora", *more])


def test_mistakes_are_told(data: Any) -> None:
    with pytest.raises(
        ValueError, match=r"targets='layers' matches no linear layer; they are bloc"
    ):
        a_task(data, LoRA(targets="layers"))
    with pytest.raises(ValueError, match=r"rank 99 is more than blocks\.0\.attention\.qkv"):
        a_task(data, LoRA(rank=99))
    with pytest.raises(ValueError, match="dropout needs product_order=factored"):
        LoRA(dropout=0.1, product_order="merged")
    assert isinstance(a_task(data), Task)
