from functools import partial

import pytest
import torch
from torch import nn

from suexp.nn.param_groups import build_optimizer, param_groups


def kinds(model: nn.Module) -> dict[str, str]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)]: group["kind"] for group in param_groups(model) for p in group["params"]}


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Linear(2, 3), {"weight": "matrix", "bias": "bias"}),
        (nn.Embedding(2, 3), {"weight": "embedding"}),
        (nn.EmbeddingBag(2, 3), {"weight": "embedding"}),
        (nn.LayerNorm((2, 3)), {"weight": "gain", "bias": "bias"}),
        (nn.RMSNorm(2), {"weight": "gain"}),
        (nn.GroupNorm(1, 2), {"weight": "gain", "bias": "bias"}),
        (nn.BatchNorm1d(2), {"weight": "gain", "bias": "bias"}),
        (nn.InstanceNorm1d(2, affine=True), {"weight": "gain", "bias": "bias"}),
        (nn.Conv2d(2, 3, 1), {"weight": "matrix", "bias": "bias"}),
        (nn.PReLU(), {"weight": "gain"}),
    ],
)
def test_kind_follows_from_the_type_of_the_owner(
    module: nn.Module, expected: dict[str, str]
) -> None:
    assert kinds(module) == expected


def test_kinds_inside_torch_s_own_composites() -> None:
    recurrent = kinds(nn.LSTM(2, 3))
    assert recurrent["weight_ih_l0"] == recurrent["weight_hh_l0"] == "matrix"
    assert recurrent["bias_ih_l0"] == recurrent["bias_hh_l0"] == "bias"
    attention = kinds(nn.MultiheadAttention(4, 2, add_bias_kv=True))
    assert attention["in_proj_weight"] == attention["out_proj.weight"] == "matrix"
    assert attention["in_proj_bias"] == attention["bias_k"] == "bias"  # bias_k has three axes


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.ones(2, 3))
        self.weight = nn.Parameter(torch.ones(2, 3))
        self.scale = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.ones(3))


def test_unknown_module_falls_back_on_the_number_of_axes() -> None:
    assert kinds(Table()) == {
        "table": "matrix", "weight": "matrix", "scale": "gain", "bias": "bias",
    }  # fmt: skip


def test_a_module_may_say_what_it_owns() -> None:
    class Declared(Table):
        parameter_kinds = {"table": "embedding"}

    assert kinds(Declared())["table"] == "embedding"
    Declared.parameter_kinds = {"table": "tabel"}
    with pytest.raises(ValueError, match=r"Declared.parameter_kinds: 'tabel' is none of"):
        param_groups(Declared())


def test_names_of_the_path_do_not_matter() -> None:
    model = nn.ModuleDict({"bias_gamma": nn.Linear(2, 2, bias=False), "norm": nn.Linear(2, 2)})
    assert kinds(model) == {
        "bias_gamma.weight": "matrix", "norm.weight": "matrix", "norm.bias": "bias",
    }  # fmt: skip


@pytest.mark.parametrize("head_first", [True, False])
def test_a_tied_head_is_one_embedding(head_first: bool) -> None:
    embedding, head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
    head.weight = embedding.weight
    model = nn.Sequential(*((head, embedding) if head_first else (embedding, head)))
    (group,) = param_groups(model)
    assert group["kind"] == "embedding"
    assert group["params"] == [embedding.weight]


def test_gains_and_biases_do_not_decay() -> None:
    model = nn.Sequential(nn.Embedding(2, 3), nn.LayerNorm(3), nn.Linear(3, 3))
    assert [(g["kind"], g.get("weight_decay")) for g in param_groups(model)] == [
        ("matrix", None), ("embedding", None), ("gain", 0.0), ("bias", 0.0),
    ]  # fmt: skip


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    model[0].requires_grad_(False)
    assert kinds(model) == {"1.weight": "gain", "1.bias": "bias"}
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="Sequential has no trainable parameter"):
        param_groups(model)


def test_any_optimizer_of_torch_takes_the_groups() -> None:
    model = nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3))
    optimizer = build_optimizer(partial(torch.optim.Adagrad, weight_decay=0.2), model)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.2, 0.0, 0.0]


def test_a_loss_s_parameters_join_the_groups_of_the_model() -> None:
    class Transitions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transitions = nn.Parameter(torch.ones(2, 2))
            self.scale = nn.Parameter(torch.ones(()))

    model, loss = nn.Linear(2, 2), Transitions()
    groups = param_groups(model, loss)
    assert [(group["kind"], len(group["params"])) for group in groups] == [
        ("matrix", 2), ("gain", 1), ("bias", 1),
    ]  # fmt: skip
    assert groups[0]["params"][1] is loss.transitions
    assert len(param_groups(model, nn.Identity())) == 2
    assert param_groups(model.requires_grad_(False), loss)[0]["params"] == [loss.transitions]
