from typing import Any

import pytest
import torch

import suexp
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.init.default import Default
from suexp.model.mlp import MLP
from suexp.transform import ConvertAttention, Copy, Fresh, Truncate

SMALL = ("data.tokenizer=bytes", "data.block_size=12", "model.dim=8", "model.num_heads=2")


def model(*overrides: str) -> torch.nn.Module:
    return suexp.build(suexp.compose([*SMALL, *overrides])).model  # type: ignore[return-value]


def test_copy_gives_the_same_logits() -> None:
    parent, child = model(), model("seed=1")
    tokens = torch.arange(10)[None]
    assert not torch.allclose(parent(tokens), child(tokens))
    Copy().apply(parent, child)
    assert torch.equal(parent(tokens), child(tokens))


@pytest.mark.parametrize("transform", [Copy(), ConvertAttention(), Truncate()])
@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            "model.num_heads=4",
            "model.num_heads is 4 in the child and 2 in its parent, .*set model.num",
        ),
        (
            "model.ffn=relu",
            "model.ffn is relu in the child and gelu in its parent, .*set model.ffn=g",
        ),
        (
            "norm.eps=0.1",
            "norm.eps is 0.1 in the child and 1e-05 in its parent, .*set norm.eps=1e-05",
        ),
    ],
)
def test_what_no_shape_tells_is_refused(transform: Any, change: str, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        transform(model(), model(change))
    transform(model(), model("mask=bidirectional", "model.dropout=0.1"))  # swapped on purpose
    Fresh()(model(), model(change))


def test_copy_refuses_another_size_and_names_the_tensor() -> None:
    with pytest.raises(ValueError, match=r"embedding.weight has shape \(\d+, 8\) in the child"):
        Copy().apply(model("model.dim=16"), model())


def test_copy_refuses_a_tensor_that_only_one_side_has() -> None:
    with pytest.raises(ValueError, match=r"the parent has blocks\.1\..* its child has not"):
        Copy().apply(model(), model("model.num_layers=1"))


def test_copy_leaves_parts_out() -> None:
    parent, child = model("model.head=mlm"), model("model.head=mlm", "seed=1")
    before = {name: value.clone() for name, value in child.state_dict().items()}
    with torch.no_grad():
        parent.head.bias.fill_(1)
    Copy(["head", "blocks.1"]).apply(parent, child)
    for name, value in child.state_dict().items():
        own = name.startswith(("head.", "blocks.1."))
        assert torch.equal(value, before[name] if own else parent.state_dict()[name]), name
    Copy(["head"]).apply(model("seed=2"), child)  # a parent without it
    with pytest.raises(ValueError, match="no part 'haed'; use embedding, blocks, norm, head"):
        Copy(["haed"]).apply(parent, child)


def test_convert_attention_keeps_the_projections_and_the_child_its_own_buffers() -> None:
    parent, child = model(), model("attention=performer")
    before = {k: v.clone() for k, v in child.state_dict().items() if k not in parent.state_dict()}
    assert before  # the random projections
    ConvertAttention().apply(parent, child)
    after = child.state_dict()
    assert all(torch.equal(after[name], value) for name, value in parent.state_dict().items())
    assert all(torch.equal(after[name], value) for name, value in before.items())
    ConvertAttention().apply(child, model("seed=2"))  # and back


def test_convert_attention_refuses_other_differences() -> None:
    with pytest.raises(ValueError, match="only the attention may differ"):
        ConvertAttention().apply(model(), model("attention=linear", "model.ffn=swiglu"))


def test_weights_of_another_size_are_not_copied_in_silence() -> None:
    """What multiplies the weights is in no state dict; the shapes are the same."""

    def network(parametrization: str, dim: int = 8) -> MLP:
        return MLP(6, 3, Default(parametrization=parametrization), dim=dim, num_layers=1)

    x = torch.randn(4, 6)
    for parent, child in (("ntk", "standard"), ("standard", "ntk")):
        with pytest.raises(ValueError, match=r"hidden\.0 multiplies its weights by .* in the chil"):
            Copy()(network(parent), network(child))
    parent, child = network("ntk"), network("ntk")
    Copy()(parent, child)
    assert torch.equal(parent(x), child(x))
    with pytest.raises(ValueError, match="set init and init"):
        Copy()(parent, MLP(6, 3, Default(0.3, None, "ntk"), dim=8, num_layers=1))


def test_a_checkpoints_weights_are_multiplied_by_as_they_are() -> None:
    with pytest.raises(UserError, match="transform=pretrained cannot be combined with init=defaul"):
        resolve(["transform=pretrained", "transform.source=x", "init.parametrization=ntk"])
