"""What an experiment's results say of how their runs were made."""

from pathlib import Path

from suexp.experiment.gather import mixed
from suexp.report.pages import html_report, markdown_report
from suexp.store.summary import Summary
from tests.support.results_example import example


def test_runs_that_differ_in_threads_versions_or_processors_are_told_apart() -> None:
    one = Summary(Path(), "a", threads=1, versions={"torch": "2.13.0"}, machine={"cpu": "A"})
    same = Summary(Path(), "b", threads=1, versions={"torch": "2.13.0"}, machine={"cpu": "A"})
    other = Summary(Path(), "c", threads=2, versions={"torch": "2.13.1"}, machine={"cpu": "B"})
    assert mixed([one, same]) == mixed([]) == {}
    assert mixed([one, other, same]) == {
        "torch": ["2.13.0", "2.13.1"],
        "threads": ["1", "2"],
        "cpu": ["A", "B"],
    }


def test_a_report_says_so(tmp_path: Path) -> None:
    results = example(failed=False)
    said = "differ in what may change last bits: threads 1, 2"
    assert said not in markdown_report(results) + html_report(results, tmp_path)
    results["mixed"] = {"threads": ["1", "2"]}
    assert said in markdown_report(results)
    assert said in html_report(results, tmp_path)
