import torch

from suexp.position import NONE


def test_leaves_everything_as_it_is() -> None:
    position, t = NONE(), torch.arange(3)
    x, q = torch.randn(2, 3, 4), torch.randn(2, 1, 3, 4)
    assert position.embed(x, t) is x
    assert position.rotate(q, t) is q
    assert position.bias(t, t) is None
