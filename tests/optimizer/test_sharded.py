"""Optimizers over parameters that two processes share (FSDP2)."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from suexp.nn.param_groups import param_groups
from suexp.optimizer import (
    EGD,
    EGDD,
    SGD,
    SGDM,
    Adam,
    AdamAccum,
    AdamW,
    EGDMeta,
    Lion,
    Signum,
    Tiger,
)

CASES: list[tuple[type[torch.optim.Optimizer], dict[str, Any]]] = [
    (SGD, {}), (Adam, {}), (AdamW, {}), (Signum, {}), (Lion, {}), (Lion, {"foreach": True}),
    (Tiger, {}), (Tiger, {"grad_accum_steps": 2}), (SGDM, {"grad_accum_steps": 2}),
    (AdamAccum, {"grad_accum_steps": 2, "weight_decay": 0.1}),
    (AdamAccum, {"grad_accum_steps": 2, "mode": "explicit"}), (EGD, {}),
    (EGDMeta, {"weight_decay": 0.1}), (EGDD, {"scale_lr": 0.1}),
    (EGDD, {"scale_lr": 0.1, "scale_scope": "global", "use_directions": False}),
]  # fmt: skip


def train(shard: bool, kind: type[torch.optim.Optimizer], settings: dict[str, Any]) -> torch.Tensor:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(7, 6), nn.LayerNorm(6), nn.Linear(6, 4))
    if shard:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    optimizer = kind(param_groups(model), lr=0.01, **settings)
    for seed in range(4):
        torch.manual_seed(seed)
        optimizer.zero_grad()
        model(torch.randint(7, (5,))).square().mean().backward()
        optimizer.step()
    whole = [p.full_tensor() if shard else p for p in model.parameters()]
    return torch.cat([p.detach().flatten() for p in whole])


def process(rank: int, rendezvous: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2
    )
    for kind, settings in CASES:
        one, both = train(False, kind, settings), train(True, kind, settings)
        torch.testing.assert_close(one, both, msg=lambda m, k=kind: f"{k.__name__}: {m}")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_equals_one_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=process, args=(rank, str(tmp_path / "rendezvous")))
        for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
