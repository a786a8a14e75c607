"""Numbers outside their range are refused before anything runs, and nothing else is."""

import pytest

from suexp.code.refusals import refusal
from suexp.code.source import read
from suexp.config.check import _nodes
from suexp.config.compose import resolve
from suexp.errors import UserError
from tests.support.companions import OPTIONS, with_companions

SECTOR = ["task=points_in_sector"]
VECTORS = ["task=autoencoding", "data=mixture2d"]


def line(*overrides: str) -> str:
    with pytest.raises(UserError) as raised:
        resolve(overrides)
    return str(raised.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([*SECTOR, "task.confidence=1.5"], "task.confidence must be in (0, 1), not 1.5"),
        ([*SECTOR, "task.chunk=0"], "task.chunk must be at least 1, not 0"),
        (["optimizer=lion", "optimizer.lr=0"], "optimizer.lr=0: the learning rate must be above 0"),
        (["optimizer.betas=[0.9]"], "optimizer.betas must be two numbers, not [0.9]"),
        (["norm.eps=-1"], "norm.eps must be at least 0, not -1"),
        (["model.dropout=1"], "model.dropout must be in [0, 1), not 1"),
        (["model.num_layers=0"], "model.num_layers must be at least 1, not 0"),
        ([*VECTORS, "model.hidden_dims=[8,0]"], "model.hidden_dims must be at least 1, not 0"),
        (["callback=update_size", "callbacks.update_size.limit=0"], "limit must be above 0, not 0"),
        (["model.norm=0.5"], "model.norm: 0.5 is not nn.Module"),
        (["model.position=abc"], "model.position: 'abc' is not Position"),
        (["optimizer.lr=nan"], "optimizer.lr: nan is no finite number"),
        (["scheduler.warmup=inf"], "scheduler.warmup: inf is no finite number"),
        (
            ["task=tagging", "loss.constraints=5"],
            "loss.constraints: 5 is not one of 'sbie', 'bio', 'bioes' or Constraints or null",
        ),
        (["task=density_fit", "data=sklearn", "data.columns=1"], "data.columns: 1 is not a list"),
    ],
)
def test_a_number_outside_its_range(overrides: list[str], said: str) -> None:
    assert said in line(*overrides)


@pytest.mark.slow
@pytest.mark.parametrize("choice", OPTIONS)
def test_what_is_shipped_is_not_refused(choice: str) -> None:
    named = ["transform.source=some/name"] if choice == "transform=pretrained" else []
    config = resolve([*with_companions(choice), *named]).config
    for path, node in _nodes(config):
        source = read(node["_target_"])
        if source is not None and path != "trainer":
            assert (path, refusal(source, node)) == (path, "")


def numbers(choice: str) -> list[str]:
    """The keys of an option that hold a number."""
    group = choice.split("=")[0]
    config = resolve(with_companions(choice)).config
    own = {"callback": "callbacks"}.get(group, group)
    found = []
    for path, node in _nodes({own: config.get(own)} if config.get(own) else {}):
        for key, value in node.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                found.append(f"{path}.{key}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "choice", [choice for choice in OPTIONS if choice.split("=")[0] not in ("scale", "logger")]
)
def test_no_number_is_nan(choice: str) -> None:
    for key in numbers(choice):
        if not key.startswith("trainer."):  # Lightning's
            line(*with_companions(choice), f"{key}=nan")
