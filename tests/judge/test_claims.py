"""The language of claims, and the verdicts it leads to."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from suexp.errors import UserError
from suexp.judge.claims import check_claims, check_metrics, judge, parse


def run(arm, seed, status="finished", error=None, tables=None, cost=None, **metrics):
    return {
        "id": f"{arm}{seed}",
        "arm": arm,
        "seed": seed,
        "status": status,
        "error": error,
        "metrics": {name.replace("__", "/"): value for name, value in metrics.items()},
        "tables": tables or {},
        "cost": cost or {},
    }


def runs_of(**arms):
    """runs_of(a=[1, 2]) : arm a has metric x = 1 at seed 0 and 2 at seed 1."""
    return [run(arm, seed, x=x) for arm, xs in arms.items() for seed, x in enumerate(xs)]


def verdict(test, runs, scale="laptop", only=None, **more):
    claim = {"text": "words", "test": test, **({"scale": only} if only else {}), **more}
    (record,) = judge({"C1": claim}, runs, scale)
    return record


# Reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "left"),
    [
        ("x[a] + 2 * 3 < 1", 7.0),
        ("(x[a] + 2) * 3 < 1", 9.0),
        ("2 - 3 - 4 + x[a] < 1", -4.0),
        ("x[a] - -2 < 1", 3.0),
        ("-x[a] * 2 < 1", -2.0),
        ("12 / 2 / 3 * x[a] < 1", 2.0),
        ("abs(x[a] - 5) < 1", 4.0),
        ("min(x[a], x[b], 7) < 1", 1.0),
        ("max(x[a], x[b], 7) < 1", 10.0),
        ("max(x[a]) < 1", 1.0),
        ("log(x[b]) < 1", math.log(10)),
        ("log10(x[b]) < 1", 1.0),
        ("exp(x[a]) < 1", math.e),
        ("sqrt(x[b] * 10) < 1", 10.0),
        ("x[b]/x[a] < 1", 10.0),
        ("2/x[a]<1", 2.0),
        ("3e-1 * x[b] < 1", 3.0),
        (".5*x[b] < 1", 5.0),
        ("recall@1[a] < 1", 4.0),
        ("val/bits_per_byte[a] / val/bits_per_byte[b] < 1", 0.5),
        ("cost/parameters[a] < 1", 100.0),
        ("x[ b ] − 1 ≤ 1", 9.0),
        ("slope[a] < 1", -0.5),
    ],
)
def test_arithmetic(test, left):
    metrics = {"x": 1.0, "recall@1": 4.0, "slope": -0.5, "val/bits_per_byte": 2.0}
    runs = [
        run("a", 0, cost={"parameters": 100}, **metrics),
        run("b", 0, **{"x": 10.0, "val/bits_per_byte": 4.0}),
    ]
    assert verdict(test, runs)["left"] == pytest.approx(left)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("", r"expected a number or metric\[arm\]"),
        ("x[a]", r"it compares nothing"),
        ("x[a] <", r"expected a number or metric\[arm\]"),
        ("x < y[a]", r"say of which arm: x\[arm\] at character 3, '<'"),
        ("x[a] < 1 1", r"unexpected at character 10, '1'"),
        ("x@abc[a] < 1", r"after @ stands a step, a whole number at character 1"),
        ("x[a] y[a]", r"expected a comparison .* at character 6, 'y'"),
        ("x[a] = 1", r"equality is written == \.\.\. \+- margin"),
        ("x[a] == 1", r"== needs its margin"),
        ("x[a] == 1 +- 0", r"must be positive"),
        ("x[a] == 1 +- -1", r"must be positive"),
        ("x[a] == 1 +- 1e999", r"must be positive"),
        ("x[a] == 1 +- 1/0", r"a division by zero"),
        ("x[a] == 1 +- x[b]", r"is a number, not a metric"),
        ("x[a] < 1 +- 0.1", r"\+- belongs to =="),
        ("x[a] == x[b] == x[c] +- 1", r"== cannot stand in a chain"),
        ("1 < x[a] > 0", r"a chain points one way"),
        ("1 < 2", r"it reads no run"),
        ("slop(log x ~ log y)[a] < 1", r"unknown function 'slop'; did you mean slope\?"),
        ("__import__('os') < x[a]", r"unknown function '__import__'"),
        ("abs(x[a], 1) < 1", r"abs takes one argument"),
        ("(x[a] < 1", r"expected '\)'"),
        ("x[a,b] < 1", r"only slope\(\.\.\.\) takes several"),
        ("x[] < 1", r"an arm's name is missing"),
        ("slope(y ~ x)[a, a] < 1", r"stands twice"),
        ("slope(y, x)[a] < 1", r"expected '~'"),
        ("slope(y ~ x where k)[a] < 1", r"expected k=value"),
        ("slope(y ~ x where k=1)[a, b] < 1", r"reads their final metrics"),
        ("slope(y ~ x) < 1", r"say of which arm: slope\(\.\.\.\)\[arm\]"),
        ("x[a] < 1; y[a]", r"unexpected at character 9, ';'"),
        ("(" * 5000 + "x[a] < 1", r"too deeply nested"),
    ],
)
def test_unreadable_claims_say_where_in_one_line(test, message):
    with pytest.raises(UserError, match=message) as caught:
        parse(test)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="xyab01.[](),<>=+-*/~ logslopewhrind'@_", max_size=40))
def test_any_text_is_read_or_refused_in_words(text):
    try:
        claim = parse(text)
    except UserError:
        return
    assert claim.arms
    assert claim.links


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.sampled_from("+-*"))
def test_arithmetic_is_pythons(a, b, sign):
    expected = {"+": a + b, "-": a - b, "*": a * b}[sign]
    assert verdict(f"({a!r}) {sign} ({b!r}) + x[a] < 1", runs_of(a=[0.0]))["left"] == expected


def test_what_a_claim_reads():
    claim = parse("val/loss[b] - f1[a] < slope(log t ~ n)[c] + slope(log g ~ log m)[d, e]")
    assert claim.arms == ["b", "a", "c", "d", "e"]
    assert claim.metrics == ["val/loss", "f1", "g", "m"]


# Judging ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("x[low] < x[high]", "reproduced"),
        ("x[high] > x[low]", "reproduced"),
        ("x[low] > x[high]", "not reproduced"),
        ("x[high] < x[low]", "not reproduced"),
        ("x[wild] < x[high]", "inconclusive"),
        ("x[high] < 5", "reproduced"),
        ("x[high] > 5", "not reproduced"),
        ("x[high] <= x[low] + 3.2", "reproduced"),  # non-inferior within a margin
        ("x[high] <= x[low] + 2.5", "not reproduced"),
        ("x[high] <= x[low] + 3.0", "inconclusive"),
        ("x[high] - x[low] > x[low] - 1", "reproduced"),  # a difference of differences
        ("x[low] == 1 +- 0.5", "reproduced"),
        ("x[high] == 1 +- 0.5", "not reproduced"),
        ("x[high] == 1 +- 3", "inconclusive"),
        ("0 < x[low] < 2", "reproduced"),
        ("2 > x[low] > 0", "reproduced"),
        ("0 < x[low] < x[wild]", "inconclusive"),
        ("2 < x[low] < x[wild]", "not reproduced"),
    ],
)
def test_three_verdicts(test, expected):
    runs = runs_of(low=[1.0, 1.1, 0.9], high=[4.0, 4.1, 3.8], wild=[0.0, 9.0, 4.0])
    assert verdict(test, runs)["verdict"] == expected


def test_the_interval_is_the_paired_one():
    a, b = [1.0, 2.0, 3.5, 4.0], [1.2, 2.1, 3.9, 4.2]
    record = verdict("x[a] < x[b]", runs_of(a=a, b=b))
    test = stats.ttest_rel(a, b)
    assert record["interval"] == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert record["estimate"] == pytest.approx(np.mean(np.subtract(a, b)))
    assert record["per_seed"] == pytest.approx(list(np.subtract(a, b)))
    assert record["left"] == pytest.approx(np.mean(a))
    assert record["right"] == pytest.approx(np.mean(b))
    assert record["n"] == 4
    assert record["verdict"] == "reproduced"  # unpaired, the seeds' spread would drown it
    assert stats.ttest_ind(a, b).pvalue > 0.5


def test_pairing_goes_by_seed_not_by_order():
    runs = runs_of(a=[1.0, 2.0, 3.0], b=[1.1, 2.1, 3.2])
    assert verdict("x[a] < x[b]", runs[::-1])["per_seed"] == pytest.approx([-0.1, -0.1, -0.2])


def test_a_value_that_no_seed_varies_is_one_value():
    runs = runs_of(one=[4.0] * 3, two=[8.0] * 3)
    record = verdict("x[one] < 0.6 * x[two]", runs)
    assert (record["verdict"], record["interval"]) == ("inconclusive", None)
    assert record["reason"] == "the seeds vary neither side: there is one value, and no interval"


def test_exact_claims_are_verified_or_fail():
    runs = runs_of(one=[4.0] * 3, two=[8.0] * 3, same=[4.0] * 3, other=[4.0, 4.0, 5.0])
    assert verdict("x[one] < 0.6 * x[two]", runs, exact=True)["verdict"] == "verified"
    assert verdict("x[one] < x[same]", runs, exact=True)["verdict"] == "not reproduced"
    assert verdict("x[one] <= x[same]", runs, exact=True)["verdict"] == "verified"
    assert verdict("x[one] == x[same] +- 1e-9", runs, exact=True)["verdict"] == "verified"
    failed = verdict("x[one] >= x[other]", runs, exact=True)
    assert (failed["verdict"], failed["reason"]) == ("not reproduced", "fails in seed 2")


def test_every_seed_is_asked_by_itself():
    runs = runs_of(a=[0.5, 0.9, 0.2], b=[0.5, 1.1, 0.2])
    held = verdict("every x[a] <= 1", runs)
    assert (held["verdict"], held["n"], held["interval"]) == ("held in n of n", 3, None)
    failed = verdict("every x[b] <= 1", runs)
    assert (failed["verdict"], failed["reason"]) == ("not reproduced", "fails in seed 1")
    chain = verdict("every 0 < x[b] <= 1", runs)
    assert chain["reason"] == "x[b] <= 1: fails in seed 1"
    assert verdict("every some of (x[b] <= 1; x[b] > 1)", runs)["verdict"] == "held in n of n"


def test_no_spread_in_counts_is_no_certainty():
    """18 of 626 items fewer in each seed: the step of a count, 1/626, is what is known."""
    a = [(500 + k) / 626 for k in (0, 1, 3)]
    b = [x + 18 / 626 for x in a]
    record = verdict("x[a] < x[b]", runs_of(a=a, b=b))
    half = stats.t.ppf(0.975, 2) * (1 / 626) / math.sqrt(12) / math.sqrt(3)
    assert record["interval"] == pytest.approx([-18 / 626 - half, -18 / 626 + half])
    assert record["verdict"] == "reproduced"


def test_multiples_are_judged_as_ratios():
    a, b = [1.0, 10.0, 100.0], [2.5, 26.0, 240.0]
    runs = runs_of(a=a, b=b)
    record = verdict("x[a] < 0.5 * x[b]", runs)
    logs = np.log(a) - np.log(b)
    low, high = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert (record["judged"], record["bound"], record["quantity"]) == ("ratio", 0.5, "a / b")
    assert record["estimate"] == pytest.approx(np.exp(logs.mean()))
    assert record["interval"] == pytest.approx([np.exp(low), np.exp(high)])
    assert record["per_seed"] == pytest.approx(list(np.divide(a, b)))
    assert record["verdict"] == "reproduced"
    assert verdict("x[b] / x[a] > 2", runs)["verdict"] == "reproduced"
    assert verdict("x[b] / x[a] > 2", runs)["bound"] == 2.0
    # A side that is not positive has no logarithm; a sum has no factor.
    assert verdict("x[a] < 0.5 * x[c]", [*runs, *runs_of(c=[-1, 1, 1])])["judged"] == "difference"
    assert verdict("x[a] < 0.5 * x[b] + 1", runs)["judged"] == "difference"
    assert verdict("x[a] < x[b]", runs)["judged"] == "difference"


def test_a_multiple_of_what_is_negative_is_told_as_a_difference():
    """Energies near -1: -0.9653 is below 0.9 times -0.967, by 0.095."""
    runs = runs_of(a=[-0.9653, -0.9650, -0.9660], b=[-0.9670, -0.9668, -0.9671])
    record = verdict("x[a] < 0.9 * x[b]", runs)
    apart = [-0.9653 + 0.9 * 0.9670, -0.9650 + 0.9 * 0.9668, -0.9660 + 0.9 * 0.9671]
    assert (record["judged"], record["bound"], record["quantity"]) == ("difference", 0.0, None)
    assert record["per_seed"] == pytest.approx(apart)
    assert record["estimate"] == pytest.approx(np.mean(apart))
    assert record["verdict"] == "reproduced"


def test_no_difference_that_matters():
    runs = runs_of(a=[1.0, 1.1, 1.2, 1.3], b=[1.001, 1.099, 1.2, 1.301])
    assert verdict("x[a] < x[b]", runs)["verdict"] == "inconclusive"
    assert verdict("x[a] < x[b]", runs, matters=0.01)["verdict"] == "no difference that matters"
    assert verdict("x[a] < x[b]", runs, matters=1e-4)["verdict"] == "inconclusive"
    ratio = verdict("x[a] < 1 * x[b]", runs, matters=0.01)
    assert (ratio["judged"], ratio["verdict"]) == ("ratio", "no difference that matters")


def test_infinite_values_are_votes():
    runs = runs_of(a=[1.0] * 8, b=[2.0] * 7 + [math.inf])
    record = verdict("x[a] < x[b]", runs)
    assert (record["judged"], record["verdict"]) == ("signs", "reproduced")  # p = 2 / 256
    assert verdict("x[a] > x[b]", runs)["verdict"] == "not reproduced"
    few = verdict("x[a] < x[b]", [r for r in runs if r["seed"] > 3])  # p = 2 / 16
    assert few["reason"] == "a value is infinite, and the seeds' votes are too few"


def test_one_of_several_is_asked_for_more():
    """p of x[a] < x[b] is 0.046: enough alone, not as one of two."""
    b = [0.0, 0.0, 0.0, 0.0]
    runs = runs_of(a=[-1.0, -2.0, -0.35, -2.0], b=b, c=[9.0, -9.0, 5.0, 0.1])
    assert stats.ttest_1samp([-1.0, -2.0, -0.35, -2.0], 0).pvalue == pytest.approx(0.0456, abs=1e-3)
    assert verdict("x[a] < x[b]", runs)["verdict"] == "reproduced"
    some = verdict("some of (x[a] < x[b]; x[c] < x[b])", runs)
    assert (some["verdict"], len(some["links"])) == ("inconclusive", 2)
    every = verdict("all of (x[a] < x[b]; x[a] < 3)", runs)
    assert every["verdict"] == "reproduced"
    assert verdict("all of (x[a] > x[b]; x[a] < 3)", runs)["verdict"] == "inconclusive"


def test_splits_of_one_set_widen_the_interval():
    """Nadeau and Bengio: the variance of the mean of n splits is (1/n + test/train) s^2."""
    runs = runs_of(a=[1.0, 2.0, 4.0, 3.0])
    plain = verdict("x[a] < 9", runs)
    for item in runs:
        item["split"] = {"seed": item["seed"], "train": 300, "judge": 100}
    wide = verdict("x[a] < 9", runs)
    widths = [record["interval"][1] - record["interval"][0] for record in (plain, wide)]
    assert widths[1] / widths[0] == pytest.approx(math.sqrt(1 + 4 / 3))
    for item in runs:
        item["split"]["seed"] = 0
    assert verdict("x[a] < 9", runs)["interval"] == plain["interval"]


def test_margin_ends_belong_to_the_margin():
    runs = runs_of(a=[1.5, 1.5], b=[1.5, 1.5])
    assert verdict("x[a] == 1 +- 0.5", runs, exact=True)["verdict"] == "verified"
    assert verdict("x[a] == 1 +- 0.25", runs, exact=True)["verdict"] == "not reproduced"


def test_one_seed_is_inconclusive():
    record = verdict("x[a] < 2", runs_of(a=[1.0]))
    assert record["verdict"] == "inconclusive"
    assert record["reason"] == "one seed gives no interval"
    assert record["interval"] is None
    assert (record["estimate"], record["bound"]) == (1.0, 2.0)


def test_a_chain_reports_its_weakest_link():
    runs = runs_of(a=[5.0, 5.0], b=[3.0, 3.2], c=[1.0, 4.0])
    record = verdict("x[a] > x[b] > x[c]", runs)
    assert record["verdict"] == "inconclusive"
    assert record["reason"] == "x[b] > x[c]: the interval reaches both sides"
    assert record["estimate"] == pytest.approx(0.6)


def test_a_chain_that_holds_says_which_link_it_shows():
    record = verdict("0 < x[a] < 2", runs_of(a=[1.0, 1.1]))
    assert record["reason"] == "every link holds, shown is x[a] < 2"


def test_inconclusive_says_why():
    runs = runs_of(a=[1.0, 2.0, 3.0])
    assert verdict("x[a] < 2", runs)["reason"] == "the interval reaches both sides"
    assert verdict("x[a] == 2 +- 1", runs)["reason"] == "the interval reaches across the margin"


# What keeps a claim from being evaluated ----------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (run("b", 1, "failed", "NaN loss at step 20"), "b, seed 1, failed: NaN loss at step 20"),
        (run("b", 1, "interrupted"), "b, seed 1, was interrupted"),
        (None, "there is no run of b, seed 1"),
        (run("b", 1, x=math.nan), "x of b, seed 1, is nan"),
        (run("b", 1, x=None), "x of b, seed 1, is no number"),
        (run("b", 1, x="high"), "x of b, seed 1, is high"),
        (run("b", 1, y=1.0), "b, seed 1, recorded no x"),
    ],
)
def test_a_run_to_blame_is_named_and_the_other_claims_are_judged(bad, reason):
    runs = [*runs_of(a=[1.0, 1.1]), run("b", 0, x=2.0), *([bad] if bad else [])]
    claims = {
        "C1": {"text": "t", "test": "x[a] < x[b]"},
        "C2": {"text": "t", "test": "x[a] < 2"},
    }
    blamed, other = judge(claims, runs, "laptop")
    assert (blamed["verdict"], blamed["reason"]) == ("not evaluated", reason)
    assert (blamed["estimate"], blamed["interval"], blamed["per_seed"]) == (None, None, [])
    assert other["verdict"] == "reproduced"


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("1 / (x[a] - 1) < 2", "a division by zero"),
        ("log(x[a] - 1) < 2", "no log of 0"),
        ("sqrt(0 - x[a]) < 2", "no sqrt of -1"),
        ("exp(1000 * x[a]) < 2", "no exp of 1000"),
        ("1e308 * 10 * x[a] < 2", "no * of 1e+308"),
    ],
)
def test_undefined_numbers_are_not_evaluated(test, reason):
    record = verdict(test, runs_of(a=[1.0, 1.0]))
    assert (record["verdict"], record["reason"]) == ("not evaluated", reason)


def test_no_runs_at_all():
    assert verdict("x[a] < 2", [])["reason"] == "there are no runs"


# Scales -------------------------------------------------------------------------------------------


def test_smoke_decides_nothing():
    record = verdict("x[a] < 2", runs_of(a=[1.0, 1.1]), "smoke")
    assert (record["verdict"], record["reason"]) == ("undecided", "smoke scale decides nothing")
    assert record["estimate"] == 1.05
    assert verdict("log(x[a]) < 2", runs_of(a=[-1.0]), "smoke")["verdict"] == "undecided"


def test_smoke_still_finds_failed_runs_and_misspelt_metrics():
    runs = [*runs_of(a=[1.0]), run("b", 0, "failed", "boom")]
    assert verdict("x[b] < 2", runs, "smoke")["verdict"] == "not evaluated"
    assert verdict("y[a] < 2", runs, "smoke")["verdict"] == "not evaluated"


def test_a_claim_for_paper_scale_waits_for_it():
    runs = runs_of(a=[1.0, 1.01])
    early = verdict("x[big] < 2", runs, "laptop", only="paper")
    assert (early["verdict"], early["reason"]) == ("undecided", "only the paper scale decides it")
    assert verdict("x[a] < 2", runs, "paper", only="paper")["verdict"] == "reproduced"
    smoke = verdict("x[a] < 2", runs, "smoke", only="paper")
    assert smoke["reason"] == "smoke scale decides nothing"


# Slopes -------------------------------------------------------------------------------------------


def errors(noise, power):
    rng = np.random.default_rng(noise)
    return [
        {"m": m, "kernel": kernel, "orthogonal": o, "mse": float(m**p * rng.lognormal(0, 0.01))}
        for m in (16, 64, 256, 1024)
        for kernel, p in (("positive", power), ("trig", 0.5))
        for o in (True, False)
    ]


@pytest.fixture
def table_runs():
    return [run("est", seed, tables={"mse": errors(seed, -1.0)}) for seed in range(3)]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("slope(log mse ~ log m where kernel=positive)[est] == -1 +- 0.1", "reproduced"),
        ("slope(log mse ~ log m where kernel=trig)[est] == -1 +- 0.1", "not reproduced"),
        ("slope(log mse ~ log m in mse where kernel='trig')[est] < 0.6", "reproduced"),
        ("slope(log mse ~ log m where kernel=positive and orthogonal=true)[est] < 0", "reproduced"),
        ("slope(log mse ~ log m where kernel=positive and m >= 64)[est] < -0.9", "reproduced"),
        ("slope(mse ~ m where kernel=trig)[est] > 0", "reproduced"),
    ],
)
def test_slope_over_a_table(table_runs, test, expected):
    assert verdict(test, table_runs)["verdict"] == expected


def test_slope_is_scipys(table_runs):
    record = verdict(
        "slope(log mse ~ log m where orthogonal=false and m < 1000)[est] < 0", table_runs
    )
    rows = [r for r in errors(0, -1.0) if not r["orthogonal"] and r["m"] < 1000]
    fit = stats.linregress(np.log([r["m"] for r in rows]), np.log([r["mse"] for r in rows]))
    assert record["per_seed"][0] == pytest.approx(fit.slope, rel=1e-12)


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("log mes ~ log m", "est, seed 0, recorded no table with mes; did you mean mse?"),
        ("mse ~ m in mze", "est, seed 0, recorded no table 'mze'; did you mean mse?"),
        ("mse ~ m where m > 9999", "the slope of mse needs two different values of m"),
        ("mse ~ m where m = 64", "the slope of mse needs two different values of m"),
        ("mse ~ log zero", "est, seed 0, recorded no table with zero"),
    ],
)
def test_slopes_without_their_rows_say_so(table_runs, test, reason):
    record = verdict(f"slope({test})[est] < 0", table_runs)
    assert record["verdict"] == "not evaluated"
    assert record["reason"].startswith(reason)


def test_two_fitting_tables_need_a_name():
    tables = {"one": [{"x": 1, "y": 1.0}, {"x": 2, "y": 2.0}], "two": [{"x": 1, "y": 5.0}]}
    runs = [run("a", 0, tables=tables), run("a", 1, tables=tables)]
    record = verdict("slope(y ~ x)[a] < 2", runs)
    assert record["reason"] == "two tables have x, y: add `in one` or `in two`"
    assert verdict("every slope(y ~ x in one)[a] == 1 +- 1e-9", runs)["verdict"] == "held in n of n"


def test_slope_of_a_logarithm_of_zero():
    tables = {"t": [{"x": 1, "y": 0.0}, {"x": 2, "y": 2.0}]}
    record = verdict("slope(log y ~ x)[a] < 2", [run("a", 0, tables=tables)])
    assert record["reason"] == "the slope of y takes the logarithm of a number <= 0"


def test_slope_over_the_final_metrics_of_arms():
    runs = [
        run(arm, seed, cost={"parameters": n}, val__loss=seed + 7 * n**-0.5)
        for arm, n in (("s", 100), ("m", 400), ("l", 1600))
        for seed in range(2)
    ]
    test = "slope(log val/loss ~ log cost/parameters)[s, m, l] < -0.1"
    record = verdict(test, runs)
    assert record["per_seed"][0] == pytest.approx(-0.5)
    assert record["verdict"] == "inconclusive"  # seed 1 is lifted by 1, hence flatter


# At composition -----------------------------------------------------------------------------------


def test_claims_are_checked_before_any_run():
    claims = {"C1": {"text": "t", "test": "x[a] < x[b]"}, "C2": {"text": "t", "test": "x[c] < 1"}}
    assert list(check_claims(claims, ["a", "b", "c"])) == ["C1", "C2"]


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"test": "x[loin] < 1"}, r"claims\.C1 names an unknown arm 'loin'; did you mean lion\?"),
        ({"test": "x[zzz] < 1"}, r"unknown arm 'zzz'; choose from adamw, lion"),
        ({}, r"claims\.C1 needs `text` .* and `test`"),
        ("x[lion] < 1", r"claims\.C1 needs `text`"),
        ({"test": "x[lion] < 1", "scael": "paper"}, r"no key 'scael'; did you mean scale\?"),
        ({"test": "x[lion] < 1", "scale": "smoke"}, r"scale 'smoke' decides nothing"),
        ({"test": "x[lion] <"}, r"expected a number"),
    ],
)
def test_mistakes_are_refused_with_the_near_match(claim, message):
    with pytest.raises(UserError, match=message):
        check_claims(
            {"C1": {"text": "t", **claim} if isinstance(claim, dict) else claim}, ["adamw", "lion"]
        )


def test_arms_of_another_scale_are_not_asked_for():
    claims = {"C1": {"text": "t", "test": "x[large] < 1", "scale": "paper"}}
    check_claims(claims, ["small"], "laptop")
    with pytest.raises(UserError, match="unknown arm 'large'"):
        check_claims(claims, ["small"], "paper")


def test_misspelt_metrics_are_found_as_soon_as_a_run_has_finished():
    claims = {"C1": {"text": "t", "test": "val/los[a] < 1"}}
    with pytest.raises(UserError, match=r"claims\.C1: .* 'val/los'; did you mean val/loss\?"):
        check_metrics(claims, [run("a", 0, val__loss=1.0, train__loss=0.9)])
    check_metrics(claims, [run("a", 0, "failed")])
    check_metrics({"C1": {**claims["C1"], "scale": "paper"}}, [run("a", 0, x=1.0)], "laptop")
    record = verdict("val/los[a] < 1", [run("a", 0, val__loss=1.0)])
    assert record["verdict"] == "not evaluated"
    assert record["reason"] == "no run recorded 'val/los'; did you mean val/loss?"


def test_checking_claims_imports_nothing_heavy():
    code = (
        "import sys; from suexp.judge.claims import check_claims;"
        "check_claims({'C': {'text': 't', 'test': 'x[a] < 1'}}, ['a']);"
        "print(*{'torch', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
