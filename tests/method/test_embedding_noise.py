"""Noise on the embeddings: as long as a step of FGM, and nowhere where there is padding."""

import copy
import doctest

import pytest
import torch
from torch import Tensor

import suexp.method.embedding_noise
from suexp.method.embedding_noise import EmbeddingNoise
from suexp.method.fgm import FGM
from tests.method.test_fgm import step
from tests.method.texts import batch, gradient, model, task_of


def noise(method: EmbeddingNoise) -> Tensor:
    network, rows, seen = model(), batch(), []
    task = task_of(network)
    handle = network.dropout.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    task.objective(rows)
    method.objective(task, rows, task.objective)
    handle.remove()
    return (seen[1] - seen[0]).detach()


def test_no_epsilon_is_plain_training() -> None:
    network = model(dropout=0.3)
    plain = gradient(task_of(copy.deepcopy(network)), batch())
    none = gradient(task_of(copy.deepcopy(network), EmbeddingNoise(epsilon=0)), batch())
    assert all(map(torch.equal, (plain[0], *plain[1]), (none[0], *none[1])))


@pytest.mark.parametrize("granularity", ["matrix", "sample", "token"])
def test_it_is_as_long_as_a_step_of_fgm(granularity) -> None:  # type: ignore[no-untyped-def]
    rows, torch_seed = batch(), 5
    torch.manual_seed(torch_seed)
    found = noise(EmbeddingNoise(0.7, granularity))
    other = step(FGM(0.7, granularity), model(), rows).detach()
    assert found[~rows["keep"]].abs().max() == 0
    if granularity == "matrix":
        tables = []
        for moved in (found, other):
            table = torch.zeros(11, 16).double()
            table[rows["tokens"].flatten()] = moved.flatten(0, 1)
            torch.testing.assert_close(table[rows["tokens"]], moved)
            tables.append(table.norm())
        torch.testing.assert_close(*tables)
    else:
        dims = (1, 2) if granularity == "sample" else (2,)
        sizes = [torch.linalg.vector_norm(moved, dim=dims) for moved in (found, other)]
        torch.testing.assert_close(*sizes, rtol=1e-5, atol=0)
    assert abs(float((found * other).sum() / found.norm() / other.norm())) < 0.3


def test_signs() -> None:
    found = noise(EmbeddingNoise(0.25, "sample", "linf"))
    keep = batch()["keep"]
    torch.testing.assert_close(found[keep].abs(), torch.full_like(found[keep], 0.25))
    assert 0.4 < float((found[keep] > 0).double().mean()) < 0.6


def test_its_example() -> None:
    assert doctest.testmod(suexp.method.embedding_noise).failed == 0
