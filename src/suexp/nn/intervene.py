"""Changes to what a network reads, while it reads it: at the vectors of its tokens."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn


class Reading(NamedTuple):
    """What a network read at one place in one pass.

    Attributes:
        tokens: of a text, the tokens; None where it reads vectors.
        vectors: what stood for them before anything was added, as the loss depends on it.
    """

    tokens: Int[Tensor, "b n"] | None
    vectors: Float[Tensor, "b ..."]


def embeddings_of(model: nn.Module) -> list[nn.Embedding]:
    """Return the modules that turn a network's tokens into vectors; none where it reads vectors.

    A model names them in its class attribute ``embeds``.
    """
    found = (getattr(model, name) for name in getattr(model, "embeds", ()))
    return [module for module in found if isinstance(module, nn.Embedding)]


@contextmanager
def shifted(
    model: nn.Module, shift: Sequence[Tensor] | Callable[[Reading], Tensor] | None = None
) -> Iterator[list[Reading]]:
    r"""Let a network read $x + \delta$, and remember each x: the outputs of its embeddings.

    Of a network that reads vectors, x is its input itself. Nothing is written into a weight, so
    nothing is to be restored, and an output layer that is tied to the embedding stays as it is. A
    token that occurs several times is several x.

    Args:
        model: the network, for as long as the context is open.
        shift: $\delta$ of each reading, in the order in which the network reads, or what returns
            it; None: 0.

    Yields:
        The readings, as they come. Gradients can be asked for at their vectors, whatever trains.
    """
    readings: list[Reading] = []

    def read(tokens: Tensor | None, vectors: Tensor) -> Tensor:
        # Frozen embeddings and the batch itself: there is nothing below to differentiate.
        if not vectors.requires_grad:
            vectors = vectors.detach().requires_grad_()
        if vectors.is_leaf:  # at which torch's counter of operations would stumble
            vectors = vectors.view_as(vectors)
        readings.append(Reading(tokens, vectors))
        if shift is None:
            return vectors
        delta = shift(readings[-1]) if callable(shift) else shift[len(readings) - 1]
        return vectors + delta.to(vectors.dtype)

    def embed(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return read(args[0], output)

    def enter(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (read(None, args[0]), *args[1:])

    embeddings = embeddings_of(model)
    handles = [module.register_forward_hook(embed) for module in embeddings]
    if not embeddings:
        handles = [model.register_forward_pre_hook(enter)]
    try:
        yield readings
    finally:
        for handle in handles:
            handle.remove()


class Answer(NamedTuple):
    """A call of a network: its arguments, and what it returned."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any


@contextmanager
def heard(model: nn.Module) -> Iterator[list[Answer]]:
    """Remember each call of a network, with what it returned, while the context is open."""
    answers: list[Answer] = []

    def keep(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        answers.append(Answer(args, kwargs, output))

    handle = model.register_forward_hook(keep, with_kwargs=True)
    try:
        yield answers
    finally:
        handle.remove()
