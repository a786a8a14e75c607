"""What an option costs by its formulas, for ``suexp show``; nothing of it imports torch."""

from collections.abc import Mapping
from typing import Any

from suexp.config.catalogue import Option
from suexp.costs import Layer, Sizes, formulas
from suexp.report.wording import count, size

# BERT base, at its full length.
EXAMPLE = Sizes(n=512, m=512, h=12, d=64, e=64)
WORDS = (
    "n queries, seeing: those that see a key, m keys, pairs of the two, h heads of size d, "
    "values of size e, f features"
)


def rows(option: Option) -> list[tuple[str, str, str]]:
    """Return name, formula and value of each cost; nothing where none is declared."""
    source, node = option.source, option.content
    if source is None:
        return []
    if source.literal("costs", {}):
        return _attention(node)
    if {"dim", "num_heads", "ffn", "ffn_multiplier"} <= node.keys():
        return _layer(node)
    return []


def title(option: Option) -> str:
    """Return what the values are of."""
    if "num_heads" in option.content and "ffn" in option.content:
        return "costs of a layer with softmax attention, at 512 tokens"
    return f"costs, in multiply-adds ({WORDS}), and at 512 tokens in 12 heads of 64"


def _attention(node: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    # What a run fills in, sizes of heads as a rule, is that of the example.
    sizes = {"${model.num_heads}": EXAMPLE.h, "${model.head_dim}": EXAMPLE.e}
    sizes["${model.key_dim}"] = EXAMPLE.d
    its = formulas({key: sizes.get(value, value) for key, value in _plain(node).items()})
    values = its.flops(EXAMPLE)
    found = [
        (term, formula, f"{count(values[term])} FLOPs")
        for term, formula in its.costs.items()
        if values[term] or "causal" in formula
    ]
    state = its.named("state") or ""
    named = its.used([state, *(formula for _, formula, _ in found)])
    found += [(name, formula, "") for name, formula in named.items()]
    if its.named("saved"):  # whose formula is of interest to none but its test
        found.append(("saved", "", size(4 * its.saved_size(EXAMPLE))))
    return [*found, ("state", state, size(4 * its.state_size(EXAMPLE)))]


def _layer(node: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    layer = Layer(
        dim=node["dim"],
        num_heads=node["num_heads"],
        ffn_multiplier=node["ffn_multiplier"],
        gated=node["ffn"] == "swiglu",
    )
    found = [(part, "", f"{count(flops)} FLOPs") for part, flops in layer.flops(512).items()]
    found.append(("parameters", "", size(4 * layer.parameters())))
    found.append(("saved", "", size(4 * layer.saved(512))))
    return found


def _plain(node: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if not isinstance(value, (dict, list))}
