"""What `suexp show` says of costs, from the sources alone."""

import pytest

from suexp.cli import costing
from suexp.config.catalogue import Catalogue

CATALOGUE = Catalogue()


def costs(group: str, name: str) -> dict[str, tuple[str, str]]:
    rows = costing.rows(CATALOGUE.option(group, name))
    return {term: (formula, value) for term, formula, value in rows}


@pytest.mark.parametrize("name", list(CATALOGUE.groups["attention"]))
def test_every_attention_shows_its_costs(name: str) -> None:
    found = costs("attention", name)
    assert any(value.endswith("FLOPs") for _, value in found.values())
    assert found["state"][1].endswith("B")


def test_formulas_and_their_values() -> None:
    found = costs("attention", "softmax")
    assert found["scores"] == ("h * d * products", "403 M FLOPs")  # 2 * 12 * 64 * 512^2
    assert found["products"] == ("pairs if kernel == 'sdpa' and not dropout > 0 else n * m", "")
    assert found["saved"][1] == "24.6 kB"
    performer = costs("attention", "performer")
    assert performer["f"][1] == ""
    assert performer["features"] == ("mapping", "418 M FLOPs")
    assert "f" not in costs("attention", "softmax")


def test_a_layer_of_a_model() -> None:
    found = costs("model", "transformer")
    assert found["ffn"] == ("", "134 M FLOPs")  # 2 * 8 * 512 * 128^2
    assert "layer" in costing.title(CATALOGUE.option("model", "transformer"))


def test_other_options_have_none() -> None:
    assert costs("optimizer", "lion") == costs("norm", "layer") == costs("trainer", "cpu") == {}
