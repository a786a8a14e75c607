"""InfoNCE against pytorch-metric-learning's NTXentLoss, one positive a row."""

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import NTXentLoss

from suexp.loss import InfoNCE

pytestmark = [
    pytest.mark.peer,
    # What the libraries that it imports warn of is not ours.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_one_vector_against_all_others(temperature: float) -> None:
    vectors = torch.randn(24, 6, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(12).repeat_interleave(2)
    found = InfoNCE(temperature, layout="interleaved")(vectors)
    peer = NTXentLoss(temperature)(vectors, labels)
    torch.testing.assert_close(found, peer, rtol=1e-9, atol=1e-9)
    ours, theirs = (torch.autograd.grad(x, vectors)[0] for x in (found, peer))
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_two_towers(temperature: float) -> None:
    a, b = torch.randn(2, 12, 6, dtype=torch.float64)
    rows = torch.arange(12)
    other = rows.clone()  # of the very same tensor it would leave out the diagonal
    there = NTXentLoss(temperature)(a, rows, ref_emb=b, ref_labels=other)
    back = NTXentLoss(temperature)(b, rows, ref_emb=a, ref_labels=other)
    found = InfoNCE(temperature)(a, b)
    torch.testing.assert_close(found, (there + back) / 2, rtol=1e-9, atol=1e-9)
    scores = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T / temperature
    both = (F.cross_entropy(scores, rows) + F.cross_entropy(scores.T, rows)) / 2
    torch.testing.assert_close(found, both, rtol=1e-12, atol=1e-12)
