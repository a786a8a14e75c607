import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.position import Hierarchical
from suexp.transform.extend_positions import tile

N, DIM = 8, 6


def position(alpha: float = 0.4, length: int = N * N, dim: int = DIM) -> Hierarchical:
    made = Hierarchical(length, dim, base_length=N, alpha=alpha).double()
    torch.nn.init.normal_(made.embedding.weight)
    return made


def by_definition(p: Tensor, alpha: float) -> Tensor:
    """All n^2 codes, from the equation of the post."""
    u = (p - alpha * p[:1]) / (1 - alpha)
    return torch.stack(
        [alpha * u[i] + (1 - alpha) * u[j] for i in range(len(p)) for j in range(len(p))]
    )


def bert4keras(
    embeddings: NDArray[np.float64], ids: NDArray[np.int64], hierarchical: float
) -> NDArray[np.float64]:
    """PositionEmbedding.call of bert4keras 0.9.7, in NumPy."""
    alpha, input_dim = hierarchical, len(embeddings)
    embeddings = embeddings - alpha * embeddings[:1]
    embeddings = embeddings / (1 - alpha)
    embeddings_x = embeddings[ids // input_dim]
    embeddings_y = embeddings[ids % input_dim]
    return alpha * embeddings_x + (1 - alpha) * embeddings_y


@pytest.mark.parametrize("alpha", [0.1, 0.4, 0.6, 0.9])
def test_equals_the_definition(alpha: float) -> None:
    made = position(alpha)
    codes = made.codes(torch.arange(N * N))
    torch.testing.assert_close(
        codes, by_definition(made.embedding.weight, alpha), atol=1e-12, rtol=0
    )


def test_the_first_block_is_the_table_exactly() -> None:
    made = position().float()
    assert torch.equal(made.codes(torch.arange(N)), made.embedding.weight)


def test_equals_bert4keras() -> None:
    made = position(dim=16).float()
    ids = torch.randint(N * N, (3, 20))
    theirs = bert4keras(made.embedding.weight.detach().double().numpy(), ids.numpy(), 0.4)
    torch.testing.assert_close(
        made.codes(ids).double(), torch.from_numpy(theirs), atol=1e-6, rtol=0
    )


def test_all_codes_are_distinct_unless_alpha_is_one_half() -> None:
    made = position(dim=32)
    every = torch.arange(N * N)
    assert torch.pdist(made.codes(every)).min() > 0.1
    made.alpha = 0.5
    assert torch.pdist(made.codes(every)).min().item() < 1e-6


def test_symmetric_pairs_are_apart_by_one_minus_two_alpha() -> None:
    made = position()
    p = made.embedding.weight
    u = (p - 0.4 * p[0]) / 0.6
    one, other = made.codes(torch.tensor([2 * N + 5, 5 * N + 2]))
    torch.testing.assert_close(one - other, 0.2 * (u[5] - u[2]))


def test_a_small_alpha_tiles() -> None:
    made = position(1e-4)
    table = made.embedding.weight
    error = (made.codes(torch.arange(N * N)) - tile(table, N * N, 0.4)).abs().max()
    assert 1e-6 < error < 1e-4 * 2 * table.abs().max() / (1 - 1e-4)


def test_gradients_reach_the_rows_of_block_and_place() -> None:
    """Row k hears of every place with i = k or j = k, row 0 with minus the shift of all."""
    made = position(dim=2)
    places = torch.tensor([3, N + 3, 3 * N + 1])
    weight = torch.randn(3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda table: torch.func.functional_call(
            _Codes(made), {"position.embedding.weight": table}, (places,)
        ),
        made.embedding.weight.detach().clone().requires_grad_(),
    )
    (made.codes(places) * weight).sum().backward()
    shift, gradient = 0.4 / 0.6, made.embedding.weight.grad
    expected = torch.zeros(N, 2, dtype=torch.float64)
    expected[3] = weight[0] + weight[1] + shift * weight[2]
    expected[1] = weight[2] + shift * weight[1]
    expected[0] = -shift * (weight[1] + weight[2])
    torch.testing.assert_close(gradient, expected)


class _Codes(torch.nn.Module):
    def __init__(self, position: Hierarchical) -> None:
        super().__init__()
        self.position = position

    def forward(self, places: Tensor) -> Tensor:
        return self.position.codes(places)


def test_adds_them_to_the_embeddings_at_any_places() -> None:
    made = position()
    x = torch.randn(2, 3, DIM, dtype=torch.float64)
    t = torch.tensor([[0, 9, 63], [17, 1, 40]])
    torch.testing.assert_close(made.embed(x, t), x + made.codes(t))


def test_takes_the_fewest_rows_that_reach() -> None:
    sizes = [Hierarchical(n, 4).base_length for n in (1, 2, 4, 5, 128, 262144)]
    assert sizes == [1, 2, 2, 3, 12, 512]


def test_refuses_in_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"^alpha=0.5 gives positions \(i, j\) and \(j, i\) the same"
    ):
        Hierarchical(16, 4, alpha=0.5)
    for alpha in (0.0, 1.0, -0.1, 1.5):
        with pytest.raises(ValueError, match=f"^alpha must be between 0 and 1, not {alpha}"):
            Hierarchical(16, 4, alpha=alpha)
    with pytest.raises(ValueError, match=r"reach base_length\^2 = 64; asked for max_length 65$"):
        Hierarchical(65, 4, base_length=8)
    with pytest.raises(ValueError, match="max_length must be at least 1, not 0"):
        Hierarchical(0, 4)
    with pytest.raises(ValueError, match="base_length must be at least 1, not 0"):
        Hierarchical(1, 4, base_length=0)
    with pytest.raises(ValueError, match="a text of 6 tokens is longer than the 5 positions"):
        Hierarchical(5, 4).embed(torch.zeros(1, 6, 4), torch.arange(6))
    with pytest.raises(UserError, match=r"position\.max_length=16 is shorter than the text"):
        resolve(["position=hierarchical", "position.max_length=16"])
