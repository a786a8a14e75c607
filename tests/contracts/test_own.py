"""Classes of one's own: held to the contract of their group, by runs and by a command."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from suexp.cli import main
from suexp.config.compose import resolve
from suexp.contract import check, own
from suexp.contract.subject import Subject
from suexp.errors import UserError
from suexp.launch.spec import spec_of
from tests.support.tiny import TINY, forget_code, forget_compositions

SOFTMAX = """
    import torch
    from suexp.attention.base import Attention

    class Mine(Attention):
        def __init__(self, temperature: float = 1.0) -> None:
            super().__init__()
            self.temperature = temperature

        def forward(self, q, k, v, mask, bias=None):
            scores = q @ k.mT * q.shape[-1] ** -0.5 / self.temperature
            if bias is not None:
                scores = scores + bias
            table = mask.dense(q.shape[-2], k.shape[-2], q.device)
            if table is None:
                return scores.softmax(-1) @ v
            scores = scores.masked_fill(~table, torch.finfo(scores.dtype).min)
            return (scores.softmax(-1) * table) @ v
"""
OPTIMIZER = """
    import torch

    class Mine(torch.optim.Optimizer):
        def __init__(self, params, lr: float = 0.1) -> None:
            super().__init__(params, {"lr": lr})
            self.last = {}

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        m = self.last.get(p, 0) * 0.9 + p.grad
                        self.last[p] = m
                        p.sub_(m, alpha=group["lr"])
"""


@pytest.fixture
def folder(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that Python searches, in which a package may be written."""
    monkeypatch.syspath_prepend(str(in_tmp))
    monkeypatch.setenv("SUEXP_CACHE", str(in_tmp / "cache"))
    forget()
    yield in_tmp
    forget()


def forget() -> None:
    sys.modules.pop("my_parts", None)
    forget_code()
    forget_compositions()


def written(folder: Path, source: str, group: str = "attention", options: str = "") -> list[str]:
    """Write a class and its option; return the overrides that choose it."""
    path = folder / "my_conf" / group / "mine.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# Mine.\n_target_: my_parts.Mine\n{options}")
    (folder / "my_parts.py").write_text(dedent(source))
    forget()
    return [*TINY, f"{group}=mine", "allow_targets=my_parts", f"out={folder}"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "mask.dense(q.shape[-2], k.shape[-2], q.device)",
            "None",
            "is causal by gradient: under mask=causal token 0 depends on k of token 1; apply the "
            "mask, mask.dense(n, m)",
        ),
        (
            " * table) @ v",
            ") @ v",
            "rows that see nothing are zero: a query that may look at no key gets values where it "
            "must get zeros",
        ),
        (
            "scores + bias",
            "scores",
            "a bias counts or is refused as declared: the bias changes nothing; add it to the "
            'scores, or declare refuses = {"score_bias": "... use position=rope"}',
        ),
        (
            "return (scores",
            "return 1 / 0 + (scores",
            "gives a value for each query: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_an_attention_that_is_wrong_is_refused_before_its_first_run(
    old: str, new: str, line: str, folder: Path
) -> None:
    overrides = written(folder, SOFTMAX.replace(old, new))
    with pytest.raises(UserError) as caught:
        spec_of(overrides, "my_conf")
    assert str(caught.value) == (
        f"attention=mine: my_parts.Mine is not what every attention is, {line} "
        "(suexp check --contract shows all that is asked)"
    )
    assert not (folder / "runs").exists()


def test_the_second_run_does_not_pay_and_an_edit_is_looked_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = written(folder, SOFTMAX, options="temperature: 1.0\n")
    spec_of(overrides, "my_conf")
    asked: list[str] = []
    outcomes = check.outcomes

    def noted(held: Subject, only_vital: bool = False) -> Iterator[tuple[check.Check, str | None]]:
        asked.append(held.label)
        return outcomes(held, only_vital)

    monkeypatch.setattr(check, "outcomes", noted)
    spec_of([*overrides, "seed=1", "attention.temperature=2.0"], "my_conf")
    assert not asked
    overrides = written(folder, SOFTMAX.replace("* q.shape[-1] ** -0.5", "/ 3"))
    spec_of(overrides, "my_conf")
    assert asked == ["attention=mine"]


def test_an_optimizer_whose_state_is_beside_its_state_is_refused(folder: Path) -> None:
    overrides = written(folder, OPTIMIZER, "optimizer", "lr: 0.1\n")
    with pytest.raises(UserError, match="optimizer is, resumed equals uninterrupted: five"):
        spec_of(overrides, "my_conf")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (
            "from torch import nn\nclass Mine(nn.Module): ...",
            "attention._target_: my_parts.Mine is no attention: let its class derive from "
            "suexp.attention.base.Attention; suexp new attention NAME writes one to begin with",
        ),
        (
            "class Mine: ...",
            "attention._target_: my_parts.Mine is no attention: let its class derive from "
            "suexp.attention.base.Attention; suexp new attention NAME writes one to begin with",
        ),
    ],
)
def test_another_base_is_refused_without_importing_it(source: str, line: str, folder: Path) -> None:
    overrides = written(folder, source)
    with pytest.raises(UserError) as caught:
        resolve(overrides, "my_conf")
    assert str(caught.value) == line
    assert "my_parts" not in sys.modules


@pytest.mark.parametrize("here", [False, True])
def test_a_package_that_python_does_not_find(
    here: bool, in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = written(in_tmp, SOFTMAX)
    if not here:
        (in_tmp / "my_parts.py").unlink()
    monkeypatch.setattr(sys, "path", [item for item in sys.path if item not in ("", str(in_tmp))])
    with pytest.raises(UserError) as caught:
        resolve(overrides, "my_conf")
    line = "attention._target_: my_parts.Mine cannot be imported: Python does not find my_parts"
    way = ", which lies here; write PYTHONPATH=. before the command"
    other = "; install it, or write PYTHONPATH=FOLDER, where my_parts lies, before the command"
    assert str(caught.value) == line + (way if here else other)


def test_the_command_shows_each_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = len(check.checks("attention"))
    overrides = written(folder, SOFTMAX)
    words = ["check", "--contract", "--config-dir", "my_conf", *overrides]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.startswith("attention=mine (my_parts.Mine)\n")
    assert out.count(" passed\n") == shipped
    assert out.endswith("All that is asked is kept.\n")
    written(folder, SOFTMAX.replace(" * table) @ v", ") @ v"))
    assert main(words) == 1
    out = capsys.readouterr().out
    assert "rows that see nothing are zero" in out
    assert "a query that may look at no key gets values where it must get zeros" in out
    assert "decode, token by token, differs from forward" in out
    assert out.count(" passed\n") == shipped - 2
    assert out.endswith("2 checks not passed.\n")


def test_something_is_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--contract", "seed=1"]) == 2
    assert "for example suexp check --contract attention=softmax" in capsys.readouterr().err


def test_no_torch_is_imported_where_all_is_suexps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_uphold", lambda *_: pytest.fail("nothing here is one's own"))
    spec_of(TINY)


def test_a_class_of_a_notebook_is_looked_at_each_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = written(folder, SOFTMAX)
    notebook = ModuleType("notebook_of_mine")
    exec(dedent(SOFTMAX), vars(notebook))
    monkeypatch.setitem(sys.modules, "notebook_of_mine", notebook)
    option = folder / "my_conf" / "attention" / "mine.yaml"
    option.write_text("_target_: notebook_of_mine.Mine\n")
    overrides[-2] = "allow_targets=notebook_of_mine"
    spec_of(overrides, "my_conf")
    exec(dedent(SOFTMAX.replace("scores + bias", "scores")), vars(notebook))
    with pytest.raises(UserError, match="the bias changes nothing"):
        spec_of([*overrides, "seed=1"], "my_conf")
