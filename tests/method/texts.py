"""A classifier of short texts and its task in float64, for methods that move what it reads."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suexp.attention import Softmax
from suexp.data.digits import Digits
from suexp.init import Default
from suexp.loss import CrossEntropy
from suexp.mask import Bidirectional
from suexp.method.base import Method
from suexp.model import Transformer
from suexp.norm import Layer
from suexp.position import Learned
from suexp.task.classification import Classification


class Tokenizer:
    pad_id = 10


def model(seed: int = 0, **changes: Any) -> Transformer:
    torch.manual_seed(seed)
    arguments: dict[str, Any] = {
        "vocab_size": 11,
        "attention": Softmax(),
        "position": Learned(12, 16),
        "norm": Layer(16),
        "mask": Bidirectional(),
        "init": Default(),
        "dim": 16,
        "num_layers": 2,
        "num_heads": 2,
        "num_outputs": 3,
    }
    return Transformer(**(arguments | changes)).double()


def batch(rows: int = 5, length: int = 7) -> dict[str, Tensor]:
    """Rows of tokens below 10; two of them end in padding."""
    tokens = torch.randint(10, (rows, length), generator=torch.Generator().manual_seed(1))
    keep = torch.ones(rows, length, dtype=torch.bool)
    keep[1, 4:] = keep[3, 6:] = False
    return {
        "tokens": tokens.where(keep, 10),
        "keep": keep,
        "label": torch.arange(rows) % 3,
    }


def task_of(network: nn.Module, *methods: Method, padded: bool = True) -> Classification:
    task = Classification(
        model=network, loss=CrossEntropy(), optimizer=None, scheduler=None, data=Digits()
    )
    if padded:
        task.data.tokenizer_ = Tokenizer()  # type: ignore[attr-defined]
    task.wrap(list(methods))
    return task


def gradient(
    task: Classification, rows: dict[str, Tensor], seed: int = 3
) -> tuple[Tensor, list[Tensor]]:
    """Return loss and gradients as a training step leaves them behind."""
    torch.manual_seed(seed)
    task.zero_grad()
    loss = task.training_step(rows, 0)
    assert loss is not None
    task.backward(loss)
    return loss.detach(), [p.grad for p in task.model.parameters()]  # type: ignore[misc]


def at_weights(
    network: Transformer, rows: dict[str, Tensor], delta: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return loss and gradients with the embedding's weight moved: the post's own way."""
    moved = copy.deepcopy(network)
    with torch.no_grad():
        moved.embedding.weight += delta  # type: ignore[operator]
    logits = moved(rows["tokens"], keep=rows["keep"])
    loss = F.cross_entropy(logits, rows["label"])
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), [p.grad for p in moved.parameters()]  # type: ignore[misc]


def weight_gradient(network: Transformer, rows: dict[str, Tensor]) -> Tensor:
    """Return the gradient of the plain loss at the embedding's weight."""
    logits = network(rows["tokens"], keep=rows["keep"])
    loss = F.cross_entropy(logits, rows["label"])
    (found,) = torch.autograd.grad(loss, network.embedding.weight)
    return found
