"""What every extrapolator does: options are found by themselves."""

import pytest
import torch

from suexp.config.catalogue import Catalogue
from suexp.extrapolator.base import Extrapolator

CATALOGUE = Catalogue()
OPTIONS = sorted(CATALOGUE.groups["extrapolator"])
CORNERS = [(0, 0), (1, 3), (3, 2)]
GRID = (5, 7)


def made(name: str, dim: int = 4) -> Extrapolator:
    from suexp.code.instantiate import instantiate

    torch.manual_seed(0)
    node = {**CATALOGUE.option("extrapolator", name).content, "dim": dim}
    found: Extrapolator = instantiate(node, [])
    for parameter in found.parameters():  # not only small ones
        torch.nn.init.normal_(parameter, std=0.3)
    return found


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("name", OPTIONS)
def test_seen_cells_stay_as_they_are(name: str, corner: tuple[int, int]) -> None:
    features = torch.randn(3, 4, 2, 3)
    found = made(name)(features, corner, GRID)
    assert found.shape == (3, 4, *GRID)
    i, j = corner
    assert torch.equal(found[:, :, i : i + 2, j : j + 3], features)


@pytest.mark.parametrize("name", OPTIONS)
def test_trains_and_keeps_its_state(name: str) -> None:
    one, other = made(name), made(name)
    features = torch.randn(3, 4, 2, 3, requires_grad=True)
    one(features, (1, 1), GRID).square().sum().backward()
    assert all(
        p.grad is not None and p.grad.isfinite().all() for p in (features, *one.parameters())
    )
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other(features, (0, 1), GRID), one(features, (0, 1), GRID))


@pytest.mark.parametrize("name", OPTIONS)
def test_runs_in_sixteen_bits(name: str) -> None:
    features = torch.randn(3, 4, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        found = made(name)(features.bfloat16(), (1, 1), GRID)
    assert found.dtype == torch.bfloat16
    wanted = made(name)(features, (1, 1), GRID)
    torch.testing.assert_close(found.float(), wanted, atol=0.1, rtol=0.1)
