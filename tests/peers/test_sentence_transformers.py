"""InfoNCE and its chunked gradient against sentence-transformers, on one encoder."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suexp.data.digits import Digits
from suexp.init import Default
from suexp.loss import InfoNCE
from suexp.method import GradCache
from suexp.model import BagEncoder
from suexp.norm import Layer
from suexp.task.matching import Matching

pytestmark = [
    pytest.mark.peer,
    # What the libraries that it imports warn of is not ours.
    pytest.mark.filterwarnings("ignore"),
]


class Theirs(nn.Sequential):
    """An encoder behind the interface of a SentenceTransformer, whose first module it is."""

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Tensor]:
        keep = features["attention_mask"].bool()
        return {"sentence_embedding": self[0](features["input_ids"], keep=keep)}


def case() -> tuple[BagEncoder, dict[str, Tensor]]:
    torch.manual_seed(0)
    model = BagEncoder(50, Default(), Layer(16), dim=16, num_layers=2)
    batch: dict[str, Tensor] = {}
    for side, length in (("a", 6), ("b", 9)):
        batch[f"tokens_{side}"] = torch.randint(50, (22, length))
        batch[f"keep_{side}"] = torch.arange(length) < torch.randint(1, length + 1, (22, 1))
    return model, batch


def ours(*methods: GradCache) -> tuple[Tensor, list[Tensor]]:
    model, batch = case()
    task = Matching(model=model, loss=InfoNCE(0.05), optimizer=None, scheduler=None, data=Digits())
    task.wrap(list(methods))
    loss = task.training_step(batch, 0)
    assert isinstance(loss, Tensor)
    task.backward(loss)
    return loss.detach(), [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("cached", [False, True])
def test_gradient_of_the_ranking_loss(cached: bool) -> None:
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    model, batch = case()
    settings = {
        "scale": 20.0,
        "directions": ("query_to_doc", "doc_to_query"),
        "partition_mode": "per_direction",
    }
    theirs = (
        losses.CachedMultipleNegativesRankingLoss(Theirs(model), mini_batch_size=8, **settings)
        if cached
        else losses.MultipleNegativesRankingLoss(Theirs(model), **settings)
    )
    features = [
        {"input_ids": batch[f"tokens_{side}"], "attention_mask": batch[f"keep_{side}"].long()}
        for side in ("a", "b")
    ]
    expected = theirs(features, torch.zeros(22))
    expected.backward()
    gradients = [p.grad for p in model.parameters()]
    for methods in ([], [GradCache(8)]):
        loss, found = ours(*methods)
        torch.testing.assert_close(loss, expected.detach(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found, gradients, atol=1e-5, rtol=1e-5)
