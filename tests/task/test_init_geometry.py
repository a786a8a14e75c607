"""Against theory, scipy and the figures of https://kexue.fm/archives/7180's derivation."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.task.init_geometry import KURTOSIS, InitGeometry


@pytest.fixture(scope="module")
def task() -> InitGeometry:
    torch.manual_seed(0)
    made = InitGeometry(sizes=(16, 64, 128), spectrum_size=128, aspects=(1, 4))
    drawn = made.draw(12, torch.Generator().manual_seed(1)) | {"draws": torch.tensor(12)}
    made.totals |= drawn
    made.final = made.summarise(made.totals)
    return made


def rows(task: InitGeometry, table: str, **where: Any) -> list[dict[str, Any]]:
    return [r for r in task.tables[table] if all(r[k] == v for k, v in where.items())]


def test_the_distance_from_the_identity_is_theorys(task: InitGeometry) -> None:
    for cell in rows(task, "gram"):
        assert abs(cell["error"] - cell["theory"]) < 3.5 * cell["standard_error"], cell
    normal = rows(task, "gram", law="normal", n=64)[0]
    assert normal["theory"] == pytest.approx(65 / 64**2)
    assert normal["theory"] == pytest.approx(0.015869, abs=1e-6)


def test_variances_of_the_diagonal_are_the_laws_kurtosis_less_one(task: InitGeometry) -> None:
    for law, kurtosis in KURTOSIS.items():
        found = [cell["n_times_diagonal"] for cell in rows(task, "gram", law=law)]
        assert np.mean(found) == pytest.approx(kurtosis - 1, rel=0.1, abs=1e-20), law
        off = [cell["n_times_off"] for cell in rows(task, "gram", law=law)]
        assert np.mean(off) == pytest.approx(1, rel=0.03), law
    assert all(c["n_times_diagonal"] < 1e-20 for c in rows(task, "gram", law="rademacher"))
    assert KURTOSIS["truncated_normal"] == pytest.approx(3 + stats.truncnorm(-2, 2).stats("k"))


def test_cosines_have_their_variance_and_their_law(task: InitGeometry) -> None:
    for cell in rows(task, "cosine"):
        assert cell["square"] * cell["n"] == pytest.approx(1, abs=0.06)
        assert cell["ks"] < 1.63
    angles = rows(task, "angles", n=16)
    width = math.pi / len(angles)
    for name in ("density", "theory"):
        assert sum(cell[name] for cell in angles) * width == pytest.approx(1, abs=1e-3), name


def test_ranks_are_those_of_scipys_beta_law() -> None:
    made = InitGeometry(sizes=(9,), distributions=("normal",), rectangles=(), aspects=())
    out = made.draw(40, torch.Generator().manual_seed(0))
    below = out["ranks"][0].cumsum(0).double() / out["ranks"][0].sum()
    generator = torch.Generator().manual_seed(5)
    x, y = torch.randn(2, 20_000, 9, generator=generator, dtype=torch.float64)
    c = torch.nn.functional.cosine_similarity(x, y)
    peer = stats.kstest(((1 + c) / 2).numpy(), stats.beta(4, 4).cdf)
    assert peer.statistic * math.sqrt(20_000) < 1.63
    assert (below - torch.linspace(0.001, 1, 1000)).abs().max() * math.sqrt(40 * 512) < 1.63


def test_the_rows_decide_which_variance_keeps_lengths(task: InitGeometry) -> None:
    final = task.final
    assert final["rectangle_fan_out"] < final["rectangle_fan_avg"] < final["rectangle_fan_in"]
    for m, n in task.rectangles:
        cell = rows(task, "rectangle", m=m, n=n, rule="fan_out")[0]
        # n diagonal entries of variance 2/m, the others 1/m.
        assert cell["error"] == pytest.approx((n + 1) / (n * m), rel=0.06)


def test_singular_values_fill_the_interval_of_marchenko_and_pastur(task: InitGeometry) -> None:
    assert task.final["singular_max_a1"] == pytest.approx(2, abs=0.1)
    assert task.final["singular_min_a1"] < 0.01
    assert task.final["singular_max_a4"] == pytest.approx(1.5, abs=0.05)
    assert task.final["singular_min_a4"] == pytest.approx(0.5, abs=0.05)
    assert task.final["orthogonal_error"] < 1e-12
    for aspect in (1, 4):
        cells = rows(task, "spectrum", aspect=aspect)
        width = cells[1]["value"] - cells[0]["value"]
        assert sum(c["theory"] for c in cells) * width == pytest.approx(1, abs=0.02)
        gap = [abs(c["density"] - c["theory"]) for c in cells]
        assert np.mean(gap) < 0.06


def test_samples_of_batches_do_not_depend_on_each_other() -> None:
    made = InitGeometry(sizes=(8,), distributions=("normal",), spectrum_size=8)
    one, two = (made.draw(1, torch.Generator().manual_seed(s)) for s in (0, 1))
    torch.manual_seed(99)
    again = made.draw(1, torch.Generator().manual_seed(0))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["error"], two["error"])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"sizes": ()}, "sizes and distributions must name at least one"),
        ({"sizes": (1,)}, "size must be at least 2, not 1"),
        ({"distributions": ("cauchy",)}, "distributions: 'cauchy' is none of normal"),
        ({"rectangles": ((3, 4),)}, r"rectangles: pairs \[m, n\] with m above n"),
        ({"aspects": (0,)}, "aspect must be at least 1, not 0"),
    ],
)
def test_mistakes_are_one_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        InitGeometry(**changes)


def test_it_trains_nothing() -> None:
    with pytest.raises(UserError, match="it draws its own samples and only counts them"):
        resolve(["task=init_geometry", "data=digits"])
