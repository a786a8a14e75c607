"""BioHash's rule: the gradient of its energy at size 1, and spherical K-means in the end."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.loss.biohash import BioHash
from suexp.model import HashBio
from suexp.nn.hashing import Bag, drive
from tests.nn.test_hashing import bags


def model(units: int = 5, dim: int = 10) -> HashBio:
    found = HashBio(dim, num_bits=1, num_units=units, start="normal")
    found.weight.data = F.normalize(found.weight.data, dim=1)
    return found


def change(loss: BioHash, net: HashBio, x: Tensor) -> Tensor:
    net.weight.grad = None
    loss(net, x).backward()
    assert net.weight.grad is not None
    return -net.weight.grad


def by_hand(w: Tensor, x: Tensor, p: float = 1.0) -> Tensor:
    """The paper's rule, sample by sample, over the number of samples."""
    total = torch.zeros_like(w)
    for row in x:
        winner = (w @ row).argmax()
        total[winner] += row / p - (w[winner] @ row / p) * w[winner]
    return total / len(x)


def test_it_is_the_local_rule() -> None:
    net, x = model(), torch.randn(30, 10)
    net.weight.data *= 1.7  # at whatever size
    torch.testing.assert_close(change(BioHash(), net, x), by_hand(net.weight.detach(), x))


def test_it_is_the_local_rule_of_bags() -> None:
    net, (bag, rows) = model(), bags()
    found = change(BioHash(), net, bag)  # type: ignore[arg-type]
    torch.testing.assert_close(found, by_hand(net.weight.detach(), rows, p=0.5))


def test_at_size_one_it_is_the_gradient_of_the_energy() -> None:
    net, x = model(), torch.randn(30, 10)
    local, energy = (change(BioHash(update), net, x) for update in ("local", "energy"))  # type: ignore[arg-type]
    torch.testing.assert_close(local, energy, atol=1e-6, rtol=1e-5)


def test_at_another_size_the_energy_s_gradient_is_a_projection_over_it() -> None:
    net, x = model(), F.normalize(torch.randn(30, 10), dim=1)
    at_one = change(BioHash("energy"), net, x)
    net.weight.data *= 3
    torch.testing.assert_close(change(BioHash("energy"), net, x), at_one / 3)


def test_the_largest_entry_is_one_on_demand() -> None:
    net, x = model(), torch.randn(30, 10)
    plain, scaled = (change(BioHash(max_normalised=on), net, x) for on in (False, True))
    torch.testing.assert_close(scaled, plain / plain.abs().max())


def test_sizes_go_to_one_and_the_dead_stay() -> None:
    torch.manual_seed(1)
    net, x = model(), F.normalize(torch.rand(200, 10), dim=1)
    net.weight.data = torch.cat([2 * net.weight.data[:4].abs(), -net.weight.data[4:].abs()])
    before = net.weight.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(600):
        optimizer.zero_grad()
        BioHash()(net, x).backward()
        optimizer.step()
    moved = (net.weight != before).any(1)
    assert not moved[4]
    live = drive(x, net.weight).argmax(-1).unique()
    torch.testing.assert_close(
        net.weight.norm(dim=1)[live], torch.ones(len(live)), atol=0.02, rtol=0
    )


def test_it_ends_at_the_centroids_of_k_means() -> None:
    torch.manual_seed(0)
    centres = F.normalize(torch.randn(4, 10), dim=1)
    label = torch.arange(400) % 4
    x = F.normalize(centres[label] + 0.05 * torch.randn(400, 10), dim=1)
    net = model(4)
    net.weight.data = x[:4].clone()  # one of each
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        BioHash()(net, x).backward()
        optimizer.step()
    means = F.normalize(torch.stack([x[label == k].mean(0) for k in range(4)]), dim=1)
    torch.testing.assert_close(net.weight.detach(), means, atol=1e-2, rtol=0)
    theirs = KMeans(4, n_init=1, init=x[:4].numpy()).fit(x.numpy()).cluster_centers_
    near = F.cosine_similarity(net.weight.detach(), torch.from_numpy(theirs))
    assert near.min() > 0.999


def test_the_winner_by_x_over_p_is_another() -> None:
    net = HashBio(2, num_bits=1, num_units=2, start="normal")
    net.weight.data = torch.eye(2)
    net.weight.data[0, 0] = 1.1
    weight = torch.tensor([[1.0, 9.0]])
    bag = Bag(torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool), weight)
    for winner_input, winner in (("raw", 0), ("scaled", 1)):
        moved = change(BioHash(winner_input=winner_input), net, bag)  # type: ignore[arg-type]
        assert moved.any(1).tolist() == [winner == 0, winner == 1]
        w = net.weight.detach()[winner]
        wanted = weight[0] - (w @ weight[0]) * w
        torch.testing.assert_close(moved[winner], wanted)


def test_another_update_is_refused() -> None:
    with pytest.raises(UserError, match="'global' is none of 'local', 'energy'"):
        resolve(["task=hashing", "loss.update=global"])
