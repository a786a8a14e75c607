import pytest
import torch

from suexp.init import Lecun
from suexp.model import EnergyMLP, GanEnergy


def energy(**sizes: object) -> EnergyMLP:
    torch.manual_seed(0)
    return EnergyMLP(3, Lecun(), dim=8, num_layers=2, **sizes)  # type: ignore[arg-type]


@pytest.mark.parametrize("head", ["linear", "quadratic"])
def test_an_energy_of_each_point_by_itself(head: str) -> None:
    network, x = energy(head=head), torch.randn(5, 3)
    assert network(x).shape == (5,)
    torch.testing.assert_close(network(x)[2:3], network(x[2:3]))


def test_the_quadratic_head_is_the_papers() -> None:
    network, x = energy(head="quadratic"), torch.randn(4, 3)
    h = network.hidden(x)
    a, b, c = network.energy, network.factor, network.square
    wanted = (h @ a.weight[0] + a.bias) * (h @ b.weight[0] + b.bias)
    wanted = wanted + h.square() @ c.weight[0]
    assert c.bias is None
    torch.testing.assert_close(network(x), wanted)


def test_warns_of_an_activation_without_curvature() -> None:
    with pytest.warns(UserWarning, match="activation=relu has no curvature"):
        energy(activation="relu")


def test_the_critic_of_two_energies_is_their_difference() -> None:
    torch.manual_seed(0)
    model = GanEnergy(2, Lecun(), dim=8, generator_dim=4)
    x = torch.randn(6, 2)
    pair = model.critic
    torch.testing.assert_close(pair(x), pair.data(x) - pair.generated(x))
    assert not torch.equal(pair.data(x), pair.generated(x))
    assert model(torch.randn(3, 2)).shape == (3,)
