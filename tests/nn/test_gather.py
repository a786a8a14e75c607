"""Gathered rows of two processes: order, different lengths, gradients."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from suexp.nn.gather import gather_rows


def work(rank: int, file: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    x = (torch.arange(6.0).view(3, 2) if rank == 0 else 10 + torch.arange(4.0).view(2, 2)).clone()
    x.requires_grad_()
    together = gather_rows(x)
    (together.square().sum() / 2).backward()
    flags = gather_rows(torch.tensor([rank == 0] * len(x)))
    torch.save((together.detach(), x.grad, flags), f"{out}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    mp.spawn(work, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    whole = torch.cat((torch.arange(6.0).view(3, 2), 10 + torch.arange(4.0).view(2, 2)))
    for rank, own in enumerate((whole[:3], whole[3:])):
        together, gradient, flags = torch.load(tmp_path / f"{rank}.pt")
        assert torch.equal(together, whole)
        assert torch.equal(gradient, 2 * own)  # both processes' losses
        assert flags.tolist() == [True] * 3 + [False] * 2


def test_alone() -> None:
    x = torch.randn(3, 2)
    assert gather_rows(x) is x
