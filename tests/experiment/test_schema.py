"""What is wrong with an experiment's file is told in one line, and before anything heavy runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from suexp.config.catalogue import EXPERIMENT_KEYS, Catalogue
from suexp.config.hydra_internals import loader
from suexp.errors import UserError
from suexp.experiment.plan import plan
from suexp.experiment.schema import Form, check
from suexp.folders import conf_dir

FILE = """\
# @package _global_
# Broken.
hydra: {mode: MULTIRUN}
post: {slug: broken, title: Broken}
arms:
  one: {optimizer: adamw}
  two: {optimizer: lion}
seeds: [0, 1]
tune: {parameter: optimizer.lr, seed: 99, metric: val/loss, grid: {one: [1e-3]}}
claims:
  C1: {text: One beats two., test: "val/loss[one] < val/loss[two]"}
figures:
  curve: {kind: bar, y: val/loss, arms: [one, two]}
scales:
  smoke: {seeds: [0]}
"""
ARMS = "arms:\n  one: {optimizer: adamw}\n  two: {optimizer: lion}\n"
TUNE = "tune: {parameter: optimizer.lr, seed: 99, metric: val/loss, grid: {one: [1e-3]}}"
BOMB = "\n".join(
    ["let:", "  a0: &a0 {x: 1}"]
    + [f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
)

# What of the file is replaced -> by what, the line that is named (None: there is none), the words.
BROKEN: dict[str, tuple[str, str, int | None, str]] = {
    # YAML
    "duplicate key": ("seeds: [0, 1]", "seeds: [0]\nseeds: [1]", 9, "seeds stands twice"),
    "duplicate arm": ("  two: {opt", "  one: {opt", 7, "one stands twice, first in line 6"),
    "tab": ("  one: {", "\tone: {", 6, "not YAML"),
    "unclosed bracket": ("seeds: [0, 1]", "seeds: [0, 1", 9, "not YAML"),
    "unclosed quote": ("title: Broken}", 'title: "Broken}', 11, "not YAML"),
    "top-level list": (FILE, "# @package _global_\n- arms\n", 2, "found a list"),
    "top-level text": (FILE, "# @package _global_\narms\n", 2, "found a str"),
    "empty": (FILE, "# @package _global_\n", None, "post: is missing"),
    "bomb": ("seeds: [0, 1]", f"seeds: [0, 1]\n{BOMB}", 15, "more than 100000 values"),
    "alias of itself": ("seeds: [0, 1]", "seeds: &a [0, *a]", 8, "more than 100000 values"),
    "no package": ("# @package _global_", "# Broken", None, "`# @package _global_`"),
    # defaults
    "defaults itself": ("hydra:", "defaults: [broken, _self_]\nhydra:", 3, "broken -> broken"),
    "defaults absolute": (
        "hydra:",
        "defaults: [/experiment: broken]\nhydra:",
        3,
        "broken -> broken",
    ),
    "defaults text": ("hydra:", "defaults: broken\nhydra:", 3, "must be a list"),
    # keys at the top
    "misspelt claims": ("claims:", "clams:", 10, "did you mean claims?"),
    "misspelt arms": ("arms:\n", "arm:\n", 5, "did you mean arms?"),
    "scale for scales": ("scales:", "scale:", 14, "did you mean scales?"),
    "nobody's key": (
        "seeds: [0, 1]",
        "zebra: 5\nseeds: [0, 1]",
        8,
        "nothing refers to it as ${zebra}",
    ),
    "misspelt group": ("seeds: [", "optimiser: {lr: 1}\nseeds: [", 8, "did you mean optimizer?"),
    # post
    "no post": ("post: {slug: broken, title: Broken}\n", "", None, "post: is missing"),
    "post is text": ("{slug: broken, title: Broken}", "Broken", 4, "must be `key: value` lines"),
    "post without title": (", title: Broken", "", 4, "post.title: is missing"),
    "post with a misspelt key": ("title: B", "titel: B", 4, "did you mean title?"),
    "title is a number": ("title: Broken", "title: 5", 4, "post.title: must be text, found 5"),
    "limits is text": ("title: B", "limits: few, title: B", 4, "must be a list, found few"),
    # arms
    "no arms": (ARMS, "", None, "arms"),
    "arms empty": (
        ARMS,
        "arms: {}\n",
        5,
        "arms: there are none",
    ),
    "arms is a number": (
        ARMS,
        "arms: 5\n",
        5,
        "must be `key: value` lines, found 5",
    ),
    "arms is a list": (
        ARMS,
        "arms: [one, two]\n",
        5,
        "must be `key: value` lines",
    ),
    "all arms null": (
        "  one: {optimizer: adamw}\n  two: {optimizer: lion}\n",
        "  one: null\n  two: null\n",
        6,
        "found nothing",
    ),
    "arm is a number": ("{optimizer: adamw}", "5", 6, "found 5"),
    "arm's name is a number": ("  two: {opt", "  2: {opt", 7, "a letter first"),
    "arm's name has a blank": ("  two: {opt", "  t wo: {opt", 7, "a letter first"),
    "arm in the old form": (
        "{optimizer: adamw}",
        "[optimizer=adamw]",
        6,
        "write optimizer: adamw",
    ),
    "unknown name": ("{optimizer: adamw}", "twoo", 6, "did you mean two?"),
    "arm of itself": ("{optimizer: adamw}", "[one]", 6, "one -> one"),
    "nested list": ("{optimizer: adamw}", "[[5]]", 6, "found 5"),
    "key with blanks": ("{optimizer: adamw}", "{opti mizer: adamw}", 6, "no key of the config"),
    "from a number": ("{optimizer: adamw}", "{from: 5}", 6, "found 5"),
    "from nothing": ("{optimizer: adamw}", "{from: null}", 6, "says nothing"),
    "from an unknown name": ("{optimizer: adamw}", "{from: twoo}", 6, "did you mean two?"),
    "parent a number": ("{optimizer: adamw}", "{parent: 5}", 6, "is `from`"),
    # let and base
    "let is a list": ("seeds: [0, 1]", "seeds: [0]\nlet: [a]", 9, "let: must be `key: value`"),
    "let in a circle": (
        "  one: {optimizer: adamw}",
        "  one: a\nlet:\n  a: b\n  b: [c]\n  c: a",
        10,
        "a -> b -> c -> a",
    ),
    "base is a number": ("seeds: [0, 1]", "seeds: [0]\nbase: 5", 9, "base: expected names"),
    "base an unknown name": ("seeds: [0, 1]", "seeds: [0]\nbase: twoo", 9, "did you mean two?"),
    # seeds
    "no seeds": ("seeds: [0, 1]\n", "", None, "seeds: is missing"),
    "seeds a number": ("seeds: [0, 1]", "seeds: 3", 8, "must be a list, found 3"),
    "seeds empty": ("seeds: [0, 1]", "seeds: []", 8, "seeds: is empty"),
    "seeds text": ("seeds: [0, 1]", "seeds: [zero]", 8, "must be a whole number, found zero"),
    "seeds a fraction": ("seeds: [0, 1]", "seeds: [0.5]", 8, "must be a whole number"),
    "seeds a bool": ("seeds: [0, 1]", "seeds: [true]", 8, "must be a whole number, found true"),
    "seed negative": ("seeds: [0, 1]", "seeds:\n  - 0\n  - -1", 10, "greater than or equal to 0"),
    "seed too large": ("seeds: [0, 1]", "seeds: [4294967296]", 8, "less than 4294967296"),
    "seed twice": ("seeds: [0, 1]", "seeds: [0, 1, 0]", 8, "seeds: 0 stands twice"),
    # tune
    "tune a list": (TUNE, "tune: [1e-3]", 9, "must be `key: value` lines"),
    "tune without grid": (", grid: {one: [1e-3]}", "", 9, "tune.grid: is missing"),
    "tune without seed": (", seed: 99", "", 9, "tune.seed: is missing"),
    "tune without metric": (", metric: val/loss", "", 9, "tune.metric: is missing"),
    "tune without parameter": ("parameter: optimizer.lr, ", "", 9, "tune.parameter: is missing"),
    "tune seed negative": ("seed: 99", "seed: -1", 9, "greater than or equal to 0"),
    "tune sideways": ("seed: 99", "seed: 99, mode: sideways", 9, "'min' or 'max', found sideways"),
    "tune misspelt": ("seed: 99", "seed: 99, mod: min", 9, "did you mean mode?"),
    "grid a list": ("{one: [1e-3]}", "[1e-3]", 9, "must be `key: value` lines"),
    "grid a number": ("{one: [1e-3]}", "{one: 1e-3}", 9, "expected a list of values"),
    "grid empty": ("{one: [1e-3]}", "{one: []}", 9, "expected a list of values"),
    "grid unknown arm": ("{one: [1e-3]}", "{onne: [1e-3]}", 9, "did you mean one?"),
    # claims
    "claims a list": (
        '  C1: {text: One beats two., test: "val/loss[one] < val/loss[two]"}',
        "  - One beats two.",
        10,
        "must be `key: value` lines",
    ),
    "claim without test": (', test: "val/loss[one] < val/loss[two]"', "", 11, "test: is missing"),
    "claim without text": ("text: One beats two., ", "", 11, "text: is missing"),
    "claim's test a number": ('"val/loss[one] < val/loss[two]"', "5", 11, "must be text, found 5"),
    "claim of an unknown arm": ("< val/loss[two]", "< val/loss[tow]", 11, "did you mean two?"),
    "claim at no step": ("val/loss[one] <", "val/loss@abc[one] <", 11, "a whole number"),
    "claim misspelt": ("text: One", "txt: x, text: One", 11, "did you mean text?"),
    "claim not read": ("< val/loss[two]", "< val/loss", 11, "say of which arm"),
    # figures
    "figures a number": (
        "figures:\n  curve: {kind: bar, y: val/loss, arms: [one, two]}",
        "figures: 5",
        12,
        "must be `key: value` lines",
    ),
    "figure text": ("{kind: bar, y: val/loss, arms: [one, two]}", "bar", 13, "`key: value` lines"),
    "figure of an unknown arm": ("arms: [one, two]", "arms: [one, tow]", 13, "did you mean two?"),
    "figure's arms text": ("arms: [one, two]", "arms: one", 13, "must be a list, found one"),
    "figure unknown kind": ("kind: bar", "kind: bra", 13, "did you mean bar?"),
    "figure's limits": ("kind: bar", "x_limits: 5, kind: bar", 13, "must be a list, found 5"),
    # scales
    "scales a list": ("scales:\n  smoke: {seeds: [0]}", "scales: [smoke]", 14, "`key: value`"),
    "unknown scale": ("  smoke: {", "  smok: {", 15, "did you mean smoke?"),
    "scale with a misspelt key": ("smoke: {seeds", "smoke: {seed", 15, "did you mean seeds?"),
    "scale's seeds negative": ("smoke: {seeds: [0]}", "smoke: {seeds: [-1]}", 15, "equal to 0"),
    "scale's only text": ("seeds: [0]}", "only: one}", 15, "must be a list, found one"),
    "scale's only unknown": ("seeds: [0]}", "only: [onne]}", 15, "did you mean one?"),
    "scale's arm null": ("seeds: [0]}", "arms: {one: null}}", 15, "found nothing"),
    "scale's overrides": ("seeds: [0]}", "overrides: [seed=5]}", 15, "write seed: 5"),
    "scale's figure of an arm left out": (
        "smoke: {seeds: [0]}",
        "smoke: {only: [one], figures: {f: {kind: bar, y: val/loss, arms: [two]}}}",
        15,
        "unknown arm 'two'",
    ),
    # only
    "only text": ("seeds: [0, 1]", "seeds: [0]\nonly: one", 9, "must be a list, found one"),
    "only unknown": ("seeds: [0, 1]", "seeds: [0]\nonly: [onne]", 9, "did you mean one?"),
}
COMMANDS = (
    ["check", "experiment=broken"],
    ["experiment=broken", "scale=smoke"],
    ["show", "broken"],
)
PROGRAM = """
import contextlib, io, json, sys
from suexp.cli import main
told = {}
for folder in sys.argv[1:]:
    told[folder] = []
    for argv in json.loads(sys.stdin.readline()):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*argv, "--config-dir", folder])
        told[folder].append([code, out.getvalue(), err.getvalue()])
heavy = [name for name in ("torch", "hydra", "omegaconf") if name in sys.modules]
json.dump({"told": told, "heavy": heavy}, sys.stdout)
"""


def write(folder: Path, text: str) -> Path:
    """Write a folder of options with the experiment `broken`, and one that starts from it."""
    path = folder / "experiment" / "broken.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.with_name("other.yaml").write_text("# @package _global_\ndefaults: [broken]\n")
    return path


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[int, str, str]]]:
    """What each command says of each broken file; one process, which imports nothing heavy."""
    root = tmp_path_factory.mktemp("broken")
    for number, (name, (old, new, _, _)) in enumerate(BROKEN.items()):
        assert old in FILE, name
        write(root / str(number), FILE.replace(old, new, 1))
    folders = [str(root / str(number)) for number in range(len(BROKEN))]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *folders],
        input=f"{json.dumps(COMMANDS)}\n" * len(BROKEN),
        capture_output=True,
        text=True,
        cwd=root,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert answers["heavy"] == []
    return dict(zip(BROKEN, answers["told"].values(), strict=True))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_told_in_one_line(
    name: str, told: dict[str, list[tuple[int, str, str]]]
) -> None:
    _, _, line, words = BROKEN[name]
    (code, out, err), *others = told[name]
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1
    place = "broken.yaml: " if line is None else f"broken.yaml, line {line}: "
    assert place in err
    assert words in err
    assert others == [[code, out, err]] * len(others)


def test_a_circle_is_told_where_it_closes(tmp_path: Path) -> None:
    write(tmp_path, FILE.replace("hydra:", "defaults: [other]\nhydra:"))
    with pytest.raises(UserError, match=r"other\.yaml, line 2: .* broken -> other -> broken"):
        check(Catalogue(tmp_path).option("experiment", "broken"))
    with (
        loader(str(tmp_path)),
        pytest.raises(UserError, match=r"other\.yaml, line 2: .* broken -> other -> broken"),
    ):
        plan(["experiment=broken"])


def test_the_file_itself_is_right(tmp_path: Path) -> None:
    write(tmp_path, FILE)
    check(Catalogue(tmp_path).option("experiment", "broken"))


def test_composing_in_python_says_the_same(tmp_path: Path) -> None:
    write(tmp_path, FILE.replace("claims:", "clams:"))
    with (
        loader(str(tmp_path)),
        pytest.raises(UserError, match=r"broken\.yaml, line 10: clams: no such key"),
    ):
        plan(["experiment=broken"])


def test_what_the_user_types_is_checked(tmp_path: Path) -> None:
    write(tmp_path, FILE)
    for typed, words in (
        ("seeds=[-1]", "experiment=broken: seeds.0: must be greater than or equal to 0, found -1"),
        ("only=[onne]", "experiment=broken: only: there is no arm 'onne'; did you mean one?"),
        ("tune.seed=4294967296", "tune.seed: must be less than 4294967296"),
    ):
        with loader(str(tmp_path)), pytest.raises(UserError) as raised:
            plan(["experiment=broken", typed])
        assert words in str(raised.value)


def test_a_key_of_its_own_is_one_that_is_referred_to(tmp_path: Path) -> None:
    text = FILE.replace("seeds: [0, 1]", "seeds: [0, 1]\nsizes: {steps: 3}")
    path = write(tmp_path, text.replace("{optimizer: lion}", "{data.block_size: '${sizes.steps}'}"))
    check(Catalogue(tmp_path).option("experiment", "broken"))
    path.write_text(text)
    with pytest.raises(UserError, match=r"line 9: sizes: no such key"):
        check(Catalogue(tmp_path).option("experiment", "broken"))


def test_an_experiment_may_start_from_another(tmp_path: Path) -> None:
    path = write(tmp_path, FILE)
    child = path.with_name("other.yaml")
    child.write_text("# @package _global_\ndefaults: [broken, _self_]\narms: {three: two}\n")
    check(Catalogue(tmp_path).option("experiment", "other"))
    with loader(str(tmp_path)):
        (item,) = plan(["experiment=other"])
    assert item.header is not None
    assert item.header["arms"]["three"] == ["optimizer=lion"]
    assert list(item.header["arms"]) == ["one", "two", "three"]
    child.write_text("# @package _global_\ndefaults: [broken, _self_]\narms: {three: tow}\n")
    with pytest.raises(UserError, match=r"other\.yaml, line 3: arms\.three"):
        check(Catalogue(tmp_path).option("experiment", "other"))


def test_the_readme_s_example_is_right(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(# @package _global_\n.*?)```", readme, re.S)
    write(tmp_path, example)
    with loader(str(tmp_path)):
        (item,) = plan(["experiment=broken"])
    assert item.header is not None
    assert list(item.header["arms"]) == ["adamw", "lion", "lion_small", "lion_after"]
    assert item.runs()[-1].config["parent"]["optimizer"]["_target_"].endswith("AdamW")


def test_the_longest_line_is_short() -> None:
    for path in (conf_dir() / "experiment").glob("*.yaml"):
        longest = max(path.read_text(encoding="utf-8").splitlines(), key=len)
        assert len(longest) <= 120, f"{path.name}: {longest}"


def test_the_schema_and_the_composer_know_the_same_keys() -> None:
    assert set(Form.model_fields) == set(EXPERIMENT_KEYS)
