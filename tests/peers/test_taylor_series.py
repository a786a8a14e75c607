from typing import Any

import pytest
import torch

from suexp.attention import Taylor
from suexp.mask import Bidirectional, Padding
from suexp.mask.base import Mask
from suexp.nn.multi_head import MultiHeadAttention

pytestmark = pytest.mark.peer

DIM, HEADS, SIZE = 12, 3, 4


@pytest.fixture(scope="module")
def peer() -> Any:
    return pytest.importorskip("taylor_series_linear_attention")


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("implementation", ["linear", "quadratic"])
def test_taylor_attention_of_order_2(peer: Any, implementation: str, padded: bool) -> None:
    torch.manual_seed(0)
    theirs = peer.TaylorSeriesLinearAttn(DIM, dim_head=SIZE, heads=HEADS)
    ours = MultiHeadAttention(DIM, HEADS, SIZE, Taylor(SIZE, implementation=implementation))
    theirs.to_q[0].weight.data.mul_(3)  # scores that matter
    ours.qkv.weight.data = torch.cat([theirs.to_q[0].weight, theirs.to_kv[0].weight]).detach()
    ours.output.weight.data = theirs.to_out[0].weight.detach()
    x, keep, mask = torch.randn(2, 9, DIM), None, Bidirectional()
    allowed: Mask = mask
    if padded:
        keep = torch.arange(9) < torch.tensor([[9], [5]])
        allowed = mask & Padding(keep)
    torch.testing.assert_close(ours(x, allowed), theirs(x, keep), atol=1e-5, rtol=1e-5)
