import pytest
import torch
from torch import nn

from suexp.attention.base import Attention
from suexp.attention.linear import Linear
from suexp.attention.softmax import Softmax
from suexp.init.default import Default
from suexp.mask.bidirectional import Bidirectional
from suexp.mask.causal import Causal
from suexp.model.transformer import Transformer
from suexp.nn.flops import ByFormula, counted
from suexp.norm.layer import Layer
from suexp.position.none import NONE


def network(attention, mask=None, **changes):
    parts = (attention, NONE(), Layer(16), mask or Bidirectional(), Default())
    return Transformer(11, *parts, dim=16, num_heads=2, **changes)


def test_products_added_in_place_count():
    a, b, out = torch.ones(2, 3, 4), torch.ones(2, 4, 5), torch.zeros(2, 3, 5)
    with counted() as counter:
        out.baddbmm_(a, b)
        out[0].addmm_(a[0], b[0])
    assert counter.get_total_flops() == 2 * 3 * 4 * 5 * 3


@pytest.mark.parametrize(
    "changes",
    [{}, {"ffn": "swiglu"}, {"tie_embeddings": False}, {"key_dim": 4}, {"num_outputs": 3}],
)
@pytest.mark.parametrize("attention", [Softmax(), Linear()], ids=["softmax", "linear"])
def test_formulas_add_up_to_what_is_counted(attention, changes):
    model = network(attention, **changes)
    with counted() as counter, ByFormula(model) as formula:
        model(torch.zeros(3, 7, dtype=torch.long))
    assert sum(formula.flops.values()) == counter.get_total_flops()
    wanted = {"projections", "attention", "ffn"}
    assert wanted < formula.flops.keys()
    tied = changes.get("tie_embeddings", True) and "num_outputs" not in changes
    assert ("vocabulary" if tied else "linear") in formula.flops
    assert formula.state_bytes == 4 * 3 * 2 * attention.state_size(
        7, 2, changes.get("key_dim", 8), 8
    )


def test_gradients_are_those_without_it():
    model, tokens = network(Linear(), Causal()), torch.zeros(2, 7, dtype=torch.long)
    with ByFormula(model) as formula:
        inside = torch.autograd.grad(model(tokens).sum(), list(model.parameters()))
    outside = torch.autograd.grad(model(tokens).sum(), list(model.parameters()))
    assert all(map(torch.equal, inside, outside))
    assert formula.saved_bytes > 0
    seen = dict(formula.flops)
    model(tokens)
    assert formula.flops == seen  # outside nothing counts


class Silent(Attention):
    """Says nothing of its cost."""

    def forward(self, q, k, v, mask, bias=None):
        return v


def test_what_has_no_formulas_is_left_out():
    model = network(Silent())
    with ByFormula(model) as formula:
        model(torch.zeros(1, 7, dtype=torch.long))
    assert "attention" not in formula.flops
    with ByFormula(nn.Linear(3, 4)) as formula:
        nn.Linear(3, 4)(torch.ones(3))
    assert formula.flops == {}
