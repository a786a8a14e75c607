from typing import Any

import pytest
import torch

from suexp.attention import Realformer, Softmax, TalkingHeads
from suexp.init import Default
from suexp.mask import Causal
from suexp.model import EncoderDecoder, Transformer
from suexp.norm import Layer
from suexp.position import Learned, Rope
from suexp.transform import EnlargeKeySize

TEXT = torch.randint(7, (2, 9), generator=torch.Generator().manual_seed(0))


def model(key_dim: int = 4, attention: Any = None, kind: type = Transformer, **more: Any) -> Any:
    torch.manual_seed(key_dim)
    dim = {"dim": 12, "num_heads": 3, "head_dim": 4, "key_dim": key_dim, "num_layers": 2}
    position = more.pop("position", None) or Learned(16, 12)
    parts = (attention or Softmax(), position, Layer(12), Causal(), Default())
    net = kind(7, *parts, **(dim | {"bias": True} | more)).double().eval()
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return net


@pytest.mark.parametrize(
    "attention", [Softmax(), Softmax(scale=0.3), Realformer(), TalkingHeads(3)], ids=repr
)
def test_logits_stay(attention: Any) -> None:
    parent, child = model(4, attention), model(10, attention)
    EnlargeKeySize().apply(parent, child)
    torch.testing.assert_close(child(TEXT), parent(TEXT), atol=1e-10, rtol=0)


def test_both_attentions_of_an_encoder_decoder() -> None:
    parent, child = (model(size, kind=EncoderDecoder) for size in (4, 8))
    EnlargeKeySize().apply(parent, child)
    facts = {"prefix_length": torch.tensor([4, 5])}
    torch.testing.assert_close(child(TEXT, **facts), parent(TEXT, **facts), atol=1e-10, rtol=0)


def test_the_new_features_learn() -> None:
    parent, child = model(4), model(6)
    EnlargeKeySize().apply(parent, child)
    child(TEXT).square().sum().backward()
    grad = child.blocks[0].attention.qkv.weight.grad.unflatten(0, (-1, 2))
    queries = child.blocks[0].attention.qkv.weight.grad[:18].unflatten(0, (3, 6))
    assert queries[:, 4:].abs().min() > 0
    assert grad.isfinite().all()


@pytest.mark.parametrize(
    ("parent", "child", "message"),
    [
        ({"key_dim": 6}, {"key_dim": 4}, "keys of 4 cannot hold 3 with keys of 6"),
        (
            {"position": Rope(4)},
            {"key_dim": 8, "position": Rope(8)},
            "rotary angles depend on the size of keys",
        ),
        ({}, {"key_dim": 8, "num_layers": 3}, "blocks.2.* its parent has not; only model.key_dim"),
        ({"attention": TalkingHeads(3)}, {"key_dim": 8}, "attention Softmax, its parent Talking"),
    ],
)
def test_refusals(parent: dict[str, Any], child: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EnlargeKeySize().apply(model(**parent), model(**child))
