"""The checks of a contract, and what comes of them."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from suexp.contract.subject import Broken, Subject
from suexp.errors import UserError, one_line


@dataclass(frozen=True)
class Check:
    """One sentence of a contract; called with a `Subject` it returns, or raises `Broken`.

    Attributes:
        function: the check.
        vital: whether a run's numbers would be wrong without it, so that none begins.
    """

    function: Callable[[Subject], None]
    vital: bool

    def __str__(self) -> str:
        return self.function.__name__.replace("_", " ")

    def __call__(self, subject: Subject) -> None:
        """Return if a subject passes.

        Raises:
            Broken: it does not.
        """
        self.function(subject)

    def why_not(self, subject: Subject) -> str | None:
        """Return in one line why a subject does not pass, or None."""
        threads = torch.get_num_threads()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                torch.set_num_threads(1)  # the tensors are small
                self(subject)
            except (Broken, UserError) as error:
                return one_line(str(error))
            except Exception as error:  # whatever a class of the user's does
                words = str(error).strip().split("\n")[0]
                return one_line(f"{type(error).__name__}: {words}")
            finally:
                torch.set_num_threads(threads)
        return None


def check(function: Callable[[Subject], None]) -> Check:
    """Make a function a check of its file's contract."""
    return Check(function, vital=False)


def vital(function: Callable[[Subject], None]) -> Check:
    """Make a function a check without which no run begins."""
    return Check(function, vital=True)


def checks(group: str) -> list[Check]:
    """Return a group's contract, in the order of its file."""
    found = vars(importlib.import_module(f"suexp.contract.{group}")).values()
    return [item for item in found if isinstance(item, Check)]


def outcomes(subject: Subject, only_vital: bool = False) -> Iterator[tuple[Check, str | None]]:
    """Give each check of a subject's contract with why it is not passed, or None."""
    for item in checks(subject.group):
        if item.vital or not only_vital:
            yield item, item.why_not(subject)
