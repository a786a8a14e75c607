import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.optimize import linprog

from suexp.task import _sector as sector
from suexp.task.points_in_sector import PointsInSector

HALF, THIRD = Fraction(1, 2), Fraction(1, 3)
LAWS = (sector.inclusion_exclusion, sector.exact_rational)
DEGREES = [Fraction(d, 360) for d in range(15, 361, 15)]


@pytest.mark.parametrize("law", LAWS)
def test_known_probabilities(law):
    assert law(4, HALF) == Fraction(1, 2)
    assert law(3, HALF) == Fraction(3, 4)
    assert [law(n, THIRD) for n in (3, 4, 5)] == [THIRD, Fraction(4, 27), Fraction(5, 81)]
    assert all(law(2, turn) == 1 for turn in DEGREES if turn >= HALF)
    assert all(law(1, turn) == 1 for turn in DEGREES)
    assert all(law(n, Fraction(1)) == 1 for n in range(1, 20))


def test_full_sum_is_identically_one():
    for n in range(1, 13):
        coefficients = [
            (-1) ** j
            * math.comb(n - 1, j)
            * sum((-1) ** (k - 1) * math.comb(n, k) * k**j for k in range(1, n + 1))
            for j in range(n)
        ]
        assert coefficients == [1] + [0] * (n - 1)


def test_certain_exactly_up_to_the_pigeonhole():
    for n in range(2, 30):
        edge = 1 - Fraction(1, n)
        assert sector.inclusion_exclusion(n, edge) == 1
        assert sector.inclusion_exclusion(n, edge - Fraction(1, 10**6)) < 1


def test_one_term_is_enough_up_to_half_a_turn():
    for n in range(1, 15):
        for turn in DEGREES:
            full, single = sector.inclusion_exclusion(n, turn), sector.single_term(n, turn)
            assert (
                full == single if turn <= HALF or n == 1 else full < single or full == single == 1
            )
    beyond = HALF + Fraction(1, 10**9)
    assert abs(sector.inclusion_exclusion(5, beyond) - sector.single_term(5, HALF)) < 1e-7


def test_monotone_in_angle_and_number():
    table = [[sector.inclusion_exclusion(n, turn) for turn in DEGREES] for n in range(1, 15)]
    assert all(a <= b for row in table for a, b in itertools.pairwise(row))
    assert all(
        a >= b for row, below in itertools.pairwise(table) for a, b in zip(row, below, strict=True)
    )


def test_two_roads_to_the_same_rational():
    for n in (2, 3, 5, 12, 40):
        assert all(LAWS[0](n, turn) == LAWS[1](n, turn) for turn in DEGREES)


def test_no_digits_are_lost_near_certainty():
    assert float(sector.inclusion_exclusion(60, Fraction(49, 50))) == pytest.approx(1, abs=1e-15)
    x = 1 - 0.98
    naive = sum((-1) ** (k - 1) * math.comb(60, k) * (1 - k * x) ** 59 for k in range(1, 50))
    assert abs(naive - 1) > 1e-12


def test_wendel():
    for n in range(1, 12):
        assert sector.wendel(n, 2) == sector.single_term(n, HALF)
    assert all(sector.wendel(n, d) == 1 for d in range(1, 7) for n in range(1, d + 1))
    assert sector.wendel(4, 3) == Fraction(7, 8)


def test_stevens_covering_law():
    def covered(n, a):  # Stevens (1939): n arcs of length a leave no gap
        return sum(
            (-1) ** k * math.comb(n, k) * max(1 - k * a, Fraction(0)) ** (n - 1)
            for k in range(n + 1)
        )

    for n in (2, 3, 4, 7):
        for a in (Fraction(1, 10), Fraction(1, 4), Fraction(2, 5), Fraction(7, 10)):
            assert covered(n, a) == 1 - sector.inclusion_exclusion(n, 1 - a)


@pytest.mark.parametrize("x", [0.3, 0.4, 0.55, 0.8])
def test_quadrature_of_the_recursion(x):
    def density(n, length):  # length^(n-1) P(no spacing of n on this length exceeds x)
        if n == 2:
            return max(0.0, min(x, length) - max(0.0, length - x))
        kinks = [p for p in (length - x, length - 2 * x) if 0 < p < min(x, length)]
        inner = integrate.quad(
            lambda s: density(n - 1, length - s), 0, min(x, length), points=kinks or None, limit=80
        )
        return (n - 1) * inner[0]

    for n in (2, 3, 4):
        theory = 1 - float(sector.inclusion_exclusion(n, 1 - Fraction(str(x))))
        assert density(n, 1.0) == pytest.approx(theory, abs=1e-7)


def test_longest_arc():
    angles = torch.tensor([[0.9, 0.1, 0.2], [0.0, 0.5, 0.75]], dtype=torch.float64)
    torch.testing.assert_close(
        sector.longest_arc(angles), torch.tensor([0.7, 0.5], dtype=torch.float64)
    )
    assert sector.longest_arc(angles[:, :1]).tolist() == [1.0, 1.0]


def test_half_space_in_three_dimensions_agrees_with_a_linear_program():
    points = torch.randn(200, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    program = [
        linprog([0] * 3, -x, [-1] * 5, bounds=(None, None)).status == 0 for x in points.numpy()
    ]
    assert sector.in_half_space(points).tolist() == program
    assert 0.5 < np.mean(program) < 0.85  # 11/16


def test_half_space_in_other_dimensions():
    axes = torch.eye(4, dtype=torch.float64)
    cross = torch.cat([axes, -axes])[None]
    assert sector.in_half_space(cross).tolist() == [False]
    assert sector.in_half_space(cross.abs() + 0.1).tolist() == [True]
    plane = torch.tensor([[[1.0, 0.0], [-1.0, 0.1], [0.0, 1.0]], [[1, 0], [-1, 0.1], [0, -1]]])
    assert sector.in_half_space(plane).tolist() == [True, False]


def test_samplers_draw_the_same_law(estimate):
    samples, grid = 20_000, {"num_points": [3, 4, 8], "angles_deg": [150, 210]}
    tables = {}
    for seed, sampler in enumerate(("disc", "disc_rejection", "circle", "ball")):
        task = PointsInSector(**grid, sampler=sampler, seed=seed)
        final = estimate(task, samples, 5000)
        assert final["test/max_abs_z"] < 4
        assert final["test/max_gap_z"] < 4
        tables[sampler] = task.tables["cells"]
    for first, second in (("disc", "disc_rejection"), ("disc", "circle"), ("circle", "ball")):
        for a, b in zip(tables[first], tables[second], strict=True):
            p = (a["estimate"] + b["estimate"]) / 2
            z = (a["estimate"] - b["estimate"]) / math.sqrt(2 * p * (1 - p) / samples)
            assert abs(z) < 4


def test_samplers_fill_their_body_evenly():
    generator = torch.Generator().manual_seed(0)
    for points, dim in (
        (sector.disc((2000, 10), torch.float64, generator), 2),
        (sector.disc_rejection((2000, 10), torch.float64, generator), 2),
        (sector.ball((2000, 10), 3, torch.float64, generator), 3),
    ):
        assert points.shape == (2000, 10, dim)
        volume = points.norm(dim=-1).flatten() ** dim  # uniform on [0, 1]
        assert stats.kstest(volume.numpy(), "uniform").pvalue > 0.001


def test_full_formula_agrees_and_one_term_does_not(estimate):
    full = estimate(PointsInSector(), 20_000, 4000)
    single = estimate(PointsInSector(formula="single_term"), 20_000, 4000)
    assert full["test/rms_z_le_pi"] == single["test/rms_z_le_pi"] < 1.5
    assert full["test/rms_z_gt_pi"] < 1.5 < 20 < single["test/rms_z_gt_pi"]
    assert full["test/misses_where_certain"] == 0
    assert full["test/theory_valid"] == 1 > single["test/theory_valid"] == 0
    assert full["test/coverage"] >= 0.85 > single["test/coverage"]
    assert full["test/bonferroni_p"] > 0.001 > single["test/bonferroni_p"]


def test_half_balls(estimate):
    ball = {"dim": 3, "sampler": "ball", "angles_deg": [180]}
    right = estimate(PointsInSector(**ball, formula="wendel"), 5000)
    wrong = estimate(PointsInSector(**ball), 5000)
    assert right["test/rms_z"] < 2 < 20 < wrong["test/rms_z"]
    assert right["test/misses_where_certain"] == 0
    assert (right["test/theory_valid"], wrong["test/theory_valid"]) == (1, 0)


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say(estimate):
    covered = []
    for seed in range(40):
        task = PointsInSector(num_points=[2, 3, 4, 5, 8], angles_deg=[150], seed=seed)
        estimate(task, 2000, 2000)
        covered += [c["lower"] <= c["theory"] <= c["upper"] for c in task.tables["cells"]]
    low, high = stats.binom.interval(0.999, len(covered), 0.95)
    assert low <= sum(covered) <= high


@pytest.mark.peer
@pytest.mark.parametrize(("ci", "method"), [("wilson", "wilson"), ("exact", "beta")])
def test_intervals_equal_statsmodels(ci, method, estimate):
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    task = PointsInSector(ci=ci)
    estimate(task, 500)
    for cell in task.tables["cells"]:
        peer = proportion.proportion_confint(500 - cell["misses"], 500, 0.05, method)
        # Of 500 hits in 500, and of none, the peer's ends are off by a rounding or not a number.
        if 0 < cell["misses"] < 500:
            assert (cell["lower"], cell["upper"]) == pytest.approx(peer, abs=1e-12)


def test_rows_for_the_figures(estimate):
    task = PointsInSector(num_points=[4], angles_deg=[180, 240])
    estimate(task, 6400, 100)
    assert [(c["n"], c["theta"], c["theory"]) for c in task.tables["cells"]] == [
        (4, 180, 0.5),
        (4, 240, float(sector.inclusion_exclusion(4, Fraction(2, 3)))),
    ]
    error = task.tables["error"]
    assert [row["draws"] for row in error] == [100 * 2**k for k in range(7)]
    assert error[0]["expected"] == pytest.approx(8 * error[-1]["expected"])
    assert error[-1]["rms_error"] < 4 * error[-1]["expected"]
    curves = task.tables["curves"]
    assert [row["theta"] for row in curves] == list(range(15, 361, 15))
    assert all(abs(row["estimate"] - row["theory"]) < 0.03 for row in curves)
    assert curves[-1]["estimate"] == curves[-1]["theory"] == 1


@pytest.mark.parametrize("seed", range(20))
def test_ducks_lie_in_the_half_that_is_drawn(seed):
    task = PointsInSector(seed=seed)
    task._record_ducks()
    parts = {}
    for row in task.tables["ducks"]:
        parts.setdefault(row["what"], []).append([row["x"], row["y"]])
    half = torch.tensor(parts["half of the pond"][:-40])
    middle = half.mean(0)
    assert len(parts["duck"]) == 4
    assert (torch.tensor(parts["duck"]) @ middle > -0.03).all()  # the shore is drawn in 120 dots
    assert (torch.tensor(parts["shore"]) @ middle < 0.05).all()


def test_chunks_change_the_memory_only(estimate):
    final = estimate(PointsInSector(num_points=[5], chunk=50), 2000, 1000)
    assert final["test/max_abs_z"] < 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"angles_deg": [0]}, r"central angle must be in \(0, 360\] degrees"),
        ({"angles_deg": [361]}, r"central angle must be in \(0, 360\] degrees"),
        ({"num_points": [0]}, "num_points must be at least 1"),
        ({"formula": "wendel"}, "formula=wendel is about halves"),
        ({"dim": 1}, "dim must be at least 2"),
        ({"dim": 3}, "the only sector is the half"),
        ({"dim": 3, "angles_deg": [180]}, "sampler=disc is flat"),
    ],
)
def test_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        PointsInSector(**wrong)


@pytest.mark.parametrize("wrong", [{"formula": "wendle"}, {"sampler": "square"}, {"ci": "wald"}])
def test_refuses_what_is_no_choice(wrong):
    with pytest.raises((ValueError, TypeError)):  # the annotation's check comes first in tests
        PointsInSector(**wrong)
