"""Nothing that lies in a file is run: checkpoints, pickles, YAML, code of the hub."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import suexp
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.job.train import _last_good
from suexp.launch.spec import spec_of
from suexp.store.folder import Run
from suexp.transform.pretrained import Pretrained
from tests.support.tiny import tiny

SOURCE = Path(suexp.__file__).parent
# Calls that can run what they read, and where they may stand.
DANGEROUS = {
    "eval": (),
    "exec": ("upstream.py",),  # the __init__ of an installed library
    "compile": ("upstream.py",),
    "__import__": (),
    "pickle.load": (),
    # What they have just pickled.
    "pickle.loads": ("config/compose.py", "config/hydra_internals.py", "store/identity.py"),
    "marshal.loads": (),
    "shelve.open": (),
    "joblib.load": (),
    "os.system": (),
    "os.popen": (),
    "yaml.unsafe_load": (),
    "yaml.full_load": (),
    "import_module": ("data/layout.py",),  # of suexp.data, by a name of its own table
    # Of a package's own files, of one library, of suexp.contract by a group's name.
    "importlib.import_module": (
        *("lazy.py", "report/wandb_workspace.py", "upstream.py", "contract/check.py"),
    ),
}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Give the file, the function's name and the call, of every call in suexp."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call):
                yield path.relative_to(SOURCE).as_posix(), ast.unparse(node.func), node


def test_no_call_runs_what_it_reads() -> None:
    found = list(calls())
    assert sum(name == "torch.load" for _, name, _ in found) >= 3
    for file, name, node in found:
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        where = f"{file}:{node.lineno}: {name}"
        assert file in DANGEROUS.get(name, (file,)), where
        assert name != "torch.load" or given.get("weights_only") == "True", where
        assert not {"trust_remote_code", "allow_pickle", "shell"} & set(given), where
        if name == "yaml.load":
            loader = given.get("Loader") or ast.unparse(node.args[1])
            assert loader == "_Loader" or "SafeLoader" in loader, where
    for file, name, node in found:
        if name.endswith(".fit") and "trainer" in name:
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert given["weights_only"] == "True", f"{file}:{node.lineno}"


def test_the_catalogue_s_loader_is_a_safe_one() -> None:
    import yaml

    from suexp.config.yaml_file import _Loader

    assert issubclass(_Loader, (yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_malicious_checkpoint_is_not_opened(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    out = tmp_path / "out"
    steps = ("trainer.max_steps=2", "trainer.val_check_interval=2")
    child = spec_of(tiny(out, *steps, "parent='seed=1'"))
    run = Run(child.origins["parent"])
    execute(child.origins["parent"])
    good = run.checkpoints()[0]
    bad = good.with_name("step=9.ckpt")
    state = torch.load(good, weights_only=True)
    torch.save({**state, "trap": Trap(sprung)}, bad)

    notes: list[str] = []  # to go on from: the one before is taken
    assert _last_good(run, notes.append) == good
    assert len(notes) == 1
    assert f"{bad} is damaged (it holds more than weights and state" in notes[0]
    torch.save({**state, "trap": Trap(sprung)}, good)  # as a parent: it is trained again
    assert execute(child, notes.append).status == "finished"
    assert f"{good} is damaged (it holds more than weights and state" in notes[1]
    torch.save({**state, "trap": Trap(sprung)}, bad)

    folder = tmp_path / "hub"  # as a checkpoint of the hub's
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    torch.save({"x": Trap(sprung)}, folder / "pytorch_model.bin")
    with pytest.raises(
        UserError, match="holds more than weights and state, of which nothing was run"
    ):
        Pretrained(str(folder)).load(torch.nn.Linear(1, 1))
    assert not sprung.exists()
    torch.load(bad, weights_only=False)  # the trap itself works
    assert sprung.exists()
