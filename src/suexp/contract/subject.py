"""What is held to a contract: an option as a config gives it, built as often as a check needs."""

import functools
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from suexp.code.instantiate import partial


class Broken(AssertionError):
    """A check is not passed; the message is one line."""


@dataclass(frozen=True)
class Subject:
    """An option of a group.

    Attributes:
        label: what it is called, ``attention=mine``.
        group: whose contract it is held to.
        node: class and arguments, with nothing left to look up.
        config: the run that it belongs to, where sizes stand.
        allow: packages that the user allows (see `suexp.code.trust`).
    """

    label: str
    group: str
    node: dict[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    allow: tuple[str, ...] = ()

    @property
    def kind(self) -> Any:
        """The class."""
        return self.made().func

    def made(self, **changes: Any) -> "functools.partial[Any]":
        """Return the class with its arguments, some of them changed, still to be called."""
        return partial({**self.node, **changes}, self.allow)

    def build(self, **changes: Any) -> Any:
        """Return an object of it."""
        return self.made(**changes)()

    def size(self, key: str, default: int) -> int:
        """Return a size of the run, or the default where the run does not know it."""
        node: Any = self.config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        return node if isinstance(node, int) else default


def expect(holds: Any, why: str) -> None:
    """Say in one line why a check is not passed, unless it is.

    Raises:
        Broken: it is not.
    """
    if not holds:
        raise Broken(why)


def same(actual: Any, expected: Any, what: str, **tolerances: float) -> None:
    """Compare tensors, or lists of them.

    Raises:
        Broken: they differ by more than the tolerances, ``rtol`` and ``atol`` of torch.testing.
    """
    try:
        torch.testing.assert_close(actual, expected, **tolerances)  # type: ignore[arg-type]
    except AssertionError as error:
        raise Broken(f"{what}: {_facts(str(error))}") from error


def equal(actual: Tensor, expected: Tensor, what: str) -> None:
    """Compare tensors bit for bit.

    Raises:
        Broken: they differ.
    """
    same(actual, expected, what, rtol=0.0, atol=0.0)


def finite(tensors: Iterable[Tensor | None], what: str) -> None:
    """Look at tensors that there must be.

    Raises:
        Broken: one is missing, or has a number that is not finite.
    """
    for tensor in tensors:
        expect(tensor is not None, f"{what}: a gradient is missing")
        assert tensor is not None
        expect(tensor.isfinite().all(), f"{what}: a number is not finite")


def through_a_file(state: Any) -> Any:
    """Return a state after a trip through a file that holds no code.

    Raises:
        Broken: such a file cannot hold it.
    """
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    try:
        return torch.load(file, weights_only=True)
    except Exception as error:
        why = str(error).split("\n")[0]
        raise Broken(f"its state holds more than tensors and plain values: {why}") from error


def of_class(subject: Subject, base: type) -> None:
    """Look at the class's base.

    Raises:
        Broken: it is another.
    """
    expect(
        isinstance(subject.kind, type) and issubclass(subject.kind, base),
        f"{subject.kind.__name__} does not derive from {base.__module__}.{base.__name__}",
    )


def _facts(error: str) -> str:
    """Return torch's report of a difference on one line, without its headings."""
    lines = [line.strip() for line in error.split("\n") if line.strip()]
    told = [line for line in lines if line.startswith("Greatest absolute")] or lines[:2]
    return told[0].removesuffix(".") if told else "they differ"
