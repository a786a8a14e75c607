"""Displacements of what a network reads: what adversarial training's methods share."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from suexp.errors import at_least, one_of
from suexp.method.base import Batch, Method, Objective
from suexp.nn.intervene import Reading, embeddings_of, shifted
from suexp.nn.passes import as_if_nothing_happened, loss_scale, same_autocast
from suexp.normalizer.base import at_least_float32

if TYPE_CHECKING:
    from suexp.task.base import Task

Granularity = Literal["matrix", "sample", "token"]
Norm = Literal["l2", "linf"]

TINY = 1e-8  # added to norms, as in the post's listing


class Ball:
    r"""$\{d : \|d\| \le \epsilon\}$ around what a network reads in one pass.

    A displacement d is a list of tensors, in float32 at least. With ``matrix`` it has one, a row
    for each token that occurs: all occurrences of a token move alike, and there is one norm. With
    ``sample`` and ``token`` it has one for each reading, of its shape; a sample's norm goes over
    all that is read of it, a token's over its vector alone. Padding does not move.

    Args:
        readings: what the network reads.
        granularity: what moves alike, and has one norm.
        norm: ``l2`` or ``linf``, the largest entry.
        pad: the token that fills up; None: there is none.
    """

    def __init__(
        self, readings: Sequence[Reading], granularity: Granularity, norm: Norm, pad: int | None
    ) -> None:
        self.granularity, self.norm = granularity, norm
        self.shapes = [reading.vectors.shape for reading in readings]
        tokens = [reading.tokens for reading in readings]
        self.real = [
            None if pad is None or read is None else (read != pad).unsqueeze(-1) for read in tokens
        ]
        vectors = readings[0].vectors
        self.like = at_least_float32(vectors.new_zeros(()))
        self.places: list[Tensor] = []
        if granularity == "matrix":
            flat = torch.cat([read.flatten() for read in tokens if read is not None])
            self.tokens, place = torch.unique(flat, return_inverse=True)
            self.places = list(place.split([math.prod(shape[:-1]) for shape in self.shapes]))
            self.real = [None if pad is None else (self.tokens != pad).unsqueeze(-1)]

    def pull(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradient to a displacement from those to each reading's vectors."""
        if self.granularity != "matrix":
            return self._still([gradient.to(self.like) for gradient in gradients])
        total = self.like.new_zeros(len(self.tokens), self.shapes[0][-1])
        for place, gradient in zip(self.places, gradients, strict=True):
            total = total.index_add(0, place, gradient.flatten(0, -2).to(total))
        return self._still([total])

    def push(self, displacement: Sequence[Tensor]) -> list[Tensor]:
        """Return what is added to each reading's vectors."""
        if self.granularity != "matrix":
            return list(displacement)
        (rows,) = displacement
        return [
            rows[place].view(shape) for place, shape in zip(self.places, self.shapes, strict=True)
        ]

    def drawn(self) -> list[Tensor]:
        """Return a displacement of independent standard normal numbers."""
        shapes = self.shapes
        if self.granularity == "matrix":
            shapes = [torch.Size((len(self.tokens), shapes[0][-1]))]
        device, dtype = self.like.device, self.like.dtype
        return self._still([torch.randn(shape, device=device, dtype=dtype) for shape in shapes])

    def within(self, epsilon: float) -> list[Tensor]:
        """Return a displacement that is uniform in the ball of this radius."""
        drawn = self.drawn()
        if self.norm == "linf":
            return self._still([(2 * torch.rand_like(part) - 1) * epsilon for part in drawn])
        sizes = self.norms(self._still([torch.ones_like(part) for part in drawn]))
        return [
            part * epsilon * torch.rand_like(size) ** (1 / size.square().clamp(min=1))
            for part, size in zip(self.unit(drawn), sizes, strict=True)
        ]

    def unit(self, displacement: Sequence[Tensor]) -> list[Tensor]:
        """Return it with norm 1, or its signs; 0 stays 0."""
        if self.norm == "linf":
            return [part.sign() for part in displacement]
        norms = self.norms(displacement)
        return [part / (norm + TINY) for part, norm in zip(displacement, norms, strict=True)]

    def inside(self, displacement: Sequence[Tensor], epsilon: float) -> list[Tensor]:
        """Return the nearest displacement in the ball of this radius."""
        if self.norm == "linf":
            return [part.clamp(-epsilon, epsilon) for part in displacement]
        norms = self.norms(displacement)
        return [
            part * (epsilon / norm.clamp(min=TINY)).clamp(max=1)
            for part, norm in zip(displacement, norms, strict=True)
        ]

    def norms(self, displacement: Sequence[Tensor]) -> list[Tensor]:
        """Return the Euclidean norms of what has one, in shapes that spread over each part."""
        if self.granularity == "matrix":
            return [torch.linalg.vector_norm(part) for part in displacement]
        if self.granularity == "token":
            return [torch.linalg.vector_norm(part, dim=-1, keepdim=True) for part in displacement]
        rows = [torch.linalg.vector_norm(part.flatten(1), dim=1) for part in displacement]
        if len({len(row) for row in rows}) == 1:  # the parts of one text, or a pair's two
            rows = [torch.linalg.vector_norm(torch.stack(rows), dim=0)] * len(rows)
        return [
            row.view(-1, *[1] * (part.dim() - 1))
            for row, part in zip(rows, displacement, strict=True)
        ]

    def _still(self, displacement: list[Tensor]) -> list[Tensor]:
        """Return it with nothing at padding."""
        return [
            part if real is None else part * real
            for part, real in zip(displacement, self.real, strict=True)
        ]


class Perturbing(Method):
    """What lets a network read something near the batch; see `Ball` for granularity and norm.

    Args:
        epsilon: how far, at most; 0: the plain loss.
        granularity: ``matrix``, ``sample`` or ``token``.
        norm: ``l2`` or ``linf``.

    Raises:
        ValueError: a value out of range; when attached, ``matrix`` without an embedding.
    """

    provides: ClassVar[set[str]] = {"moved_input"}
    needs: ClassVar[dict[str, str]] = {
        "text if granularity=matrix": "granularity=matrix moves the rows of an embedding, and "
        "vectors have none; set granularity=sample"
    }
    refuses: ClassVar[dict[str, str]] = {
        "adversarial": "its two players read what they make themselves; leave it out",
        "density_training": "its loss compares with the very input that would move; leave it out",
        "density_fitting": "its loss is a density at the very input that would move; leave it out",
        "other_embeddings": "the predecessor's embeddings would not move; set "
        "method.theseus.replace_embeddings=false",
    }

    def __init__(self, epsilon: float | int, granularity: Granularity, norm: Norm = "l2") -> None:
        super().__init__()
        at_least(0, epsilon=epsilon)
        one_of(("matrix", "sample", "token"), granularity=granularity)
        one_of(("l2", "linf"), norm=norm)
        self.epsilon, self.granularity, self.norm = epsilon, granularity, norm

    def attach(self, task: "Task") -> None:
        """Look at the network; change nothing."""
        if self.granularity == "matrix" and not embeddings_of(task.model):
            raise ValueError(
                f"{type(task.model).__name__} has no embedding whose rows could move; set "
                "granularity=sample"
            )

    def ball(self, task: "Task", readings: Sequence[Reading]) -> Ball:
        """Return where a pass's readings may move.

        Raises:
            ValueError: nothing was read.
        """
        tokenizer: Any = getattr(task.data, "tokenizer_", None)
        pad = getattr(tokenizer, "pad_id", None)
        return Ball(seen(task, readings), self.granularity, self.norm, pad)


class Climbing(Perturbing):
    """What looks where the loss rises in passes of their own, before the one that trains.

    Args:
        epsilon: how far it moves, at most; 0: the plain loss.
        granularity: ``matrix``, ``sample`` or ``token``.
        norm: ``l2`` or ``linf``.
        same_dropout: let all passes draw the same random numbers.
    """

    provides: ClassVar[set[str]] = {"moved_input", "perturbs"}
    refuses: ClassVar[dict[str, str]] = {
        "perturbs": "both pass the batch several times to find a direction; leave one of them out",
        "adversarial": "its two players read what they make themselves; leave it out",
        "density_training": "its loss compares with the very input that would move; leave it out",
        "density_fitting": "its loss is a density at the very input that would move; leave it out",
        "other_embeddings": "the predecessor's embeddings would not move; set "
        "method.theseus.replace_embeddings=false",
        "trainer=fsdp": "a sharded network cannot be differentiated in parts; use trainer=ddp",
    }
    order: ClassVar[int] = 10

    def __init__(
        self,
        epsilon: float | int,
        granularity: Granularity,
        norm: Norm = "l2",
        same_dropout: bool = False,
    ) -> None:
        super().__init__(epsilon, granularity, norm)
        self.same_dropout = same_dropout

    @contextmanager
    def look(self, task: "Task", batch: Batch) -> Iterator[None]:
        """Make passes before the last: buffers stay, so do the random generators if they are to."""
        with as_if_nothing_happened(task, batch, self.same_dropout), same_autocast(batch)():
            yield

    def climb(
        self,
        task: "Task",
        batch: Batch,
        inner: Objective,
        at: Sequence[Tensor] | None = None,
        keep: bool = False,
    ) -> tuple[Tensor, Ball, list[Tensor]]:
        """Return the loss at a displacement, the ball, and the gradient to the displacement.

        Args:
            task: what is trained.
            batch: what it reads.
            inner: its loss.
            at: what is added to each reading; None: 0.
            keep: whether the loss is to be differentiated again.
        """
        with self.look(task, batch), shifted(task.model, at) as readings:
            loss = inner(batch)
            slopes = gradients(task, loss, seen(task, readings), retain_graph=keep)
        ball = self.ball(task, readings)
        return loss, ball, ball.pull(slopes)


def seen(task: "Task", readings: Sequence[Reading]) -> Sequence[Reading]:
    """Return the readings.

    Raises:
        ValueError: there are none.
    """
    if not readings:
        raise ValueError(
            f"{type(task).__name__} did not call its model, so there is no input to move; leave "
            "the method out"
        )
    return readings


def gradients(
    task: "Task",
    loss: Tensor,
    readings: Sequence[Reading],
    retain_graph: bool = False,
    create_graph: bool = False,
) -> list[Tensor]:
    """Return the gradients of a loss at what was read, in float32 at least.

    Args:
        task: says by how much losses in float16 are scaled.
        loss: a scalar.
        readings: of the pass that gave it.
        retain_graph: whether the loss is differentiated again.
        create_graph: whether the gradients are.
    """
    scale = loss_scale(task)
    vectors = [reading.vectors for reading in readings]
    found = torch.autograd.grad(
        loss * scale,
        vectors,
        retain_graph=retain_graph or create_graph,
        create_graph=create_graph,
        allow_unused=True,
    )
    return [
        at_least_float32(torch.zeros_like(x) if g is None else g) / scale
        for x, g in zip(vectors, found, strict=True)
    ]
