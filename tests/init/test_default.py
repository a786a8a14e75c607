import pytest
import torch
from torch import nn

from suexp.init import Default
from suexp.nn.linear import FusedLinear, ResidualLinear
from suexp.norm import RMS, Layer


def scrambled(*modules: nn.Module) -> nn.Sequential:
    """A model whose every weight is 7, so that what is not drawn shows."""
    model = nn.Sequential(*modules)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7.0)
    return model


def test_linear_layers_have_the_input_scale() -> None:
    torch.manual_seed(0)
    model = scrambled(nn.Linear(500, 1000))
    Default().apply(model)
    weight = model[0].weight
    assert weight.std().item() == pytest.approx(0.577 * 500**-0.5, rel=0.01)
    assert weight.mean().item() == pytest.approx(0, abs=2e-4)
    assert model[0].bias.count_nonzero() == 0


def test_the_distribution_is_normal() -> None:
    torch.manual_seed(0)
    model = scrambled(nn.Linear(500, 1000))
    Default(gain=2.0).apply(model)
    z = model[0].weight / (2.0 * 500**-0.5)
    for bound, share in ((1.0, 0.6827), (2.0, 0.9545), (3.0, 0.9973)):
        assert (z.abs() < bound).float().mean().item() == pytest.approx(share, abs=0.003)


def test_at_gpt2s_width_it_is_gpt2s_number() -> None:
    torch.manual_seed(0)
    model = scrambled(nn.Linear(768, 768), nn.Embedding(1000, 768))
    Default().apply(model)
    assert model[0].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model[1].weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_ends_of_residual_branches_shrink_with_their_number() -> None:
    torch.manual_seed(0)
    branches = [ResidualLinear(400, 400) for _ in range(6)]
    Default().apply(scrambled(*branches))
    for branch in branches:
        assert branch.weight.std().item() == pytest.approx(0.577 / (400 * 6) ** 0.5, rel=0.01)
        assert branch.bias.count_nonzero() == 0


def test_embeddings() -> None:
    torch.manual_seed(0)
    model = scrambled(nn.Embedding(2000, 100))
    Default().apply(model)
    assert model[0].weight.std().item() == pytest.approx(300**-0.5, rel=0.01)
    Default(embedding_std=0.5).apply(model)
    assert model[0].weight.std().item() == pytest.approx(0.5, rel=0.01)


def test_norms_start_at_one_and_zero() -> None:
    model = scrambled(Layer(8), RMS(8), nn.LayerNorm(8))
    Default().apply(model)
    for norm in model:
        assert (norm.weight == 1).all()
    assert (model[0].bias == 0).all()
    assert (model[2].bias == 0).all()


def test_leaves_other_modules_alone() -> None:
    model = scrambled(nn.Conv1d(2, 3, 1))
    Default().apply(model)
    assert (model[0].weight == 7).all()


def test_is_a_function_of_the_global_seed() -> None:
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        model = scrambled(FusedLinear(4, [4, 4, 4]), nn.Embedding(5, 4))
        Default().apply(model)
        return torch.cat([parameter.flatten() for parameter in model.parameters()])

    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"gain": 0.0}, "gain must be above 0, not 0"),
        ({"embedding_std": -1.0}, "embedding_std must be above 0, not -1"),
    ],
)
def test_refuses_what_is_not_above_zero(arguments: dict[str, float], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Default(**arguments)
