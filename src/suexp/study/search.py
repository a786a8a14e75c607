"""Search spaces in Hydra's sweep syntax: what a study varies, and what it leaves alone."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    Transformer,
)
from hydra.errors import HydraException

from suexp.config import hydra_internals
from suexp.config.compose import compose, resolve
from suexp.config.explain import explain
from suexp.config.overrides import key_of
from suexp.errors import UserError
from suexp.folders import conf_dir
from suexp.store.identity import volatile

Value = str | int | float
EXAMPLE = "'optimizer.lr=tag(log, interval(1e-4, 1e-2))'"


@dataclass(frozen=True)
class Parameter:
    """What one key may be: one of some choices, or a number between two ends, both included.

    Attributes:
        choices: the values as an override writes them; empty for a number.
        low, high: the ends; integers where only integers are meant.
        step: the distance of neighbouring values; None: any number between.
        log: whether ratios count, not differences.
    """

    choices: tuple[str, ...] = ()
    low: int | float = 0
    high: int | float = 0
    step: int | float | None = None
    log: bool = False

    def __str__(self) -> str:
        if self.choices:
            return ", ".join(self.choices)
        step = "" if self.step is None else f" in steps of {self.step:g}"
        return f"{self.low:g} to {self.high:g}{step}{', on a log scale' * self.log}"

    def distribution(self) -> Any:
        """Return it as a distribution of Optuna's."""
        from optuna import distributions

        if self.choices:
            return distributions.CategoricalDistribution(self.choices)
        if isinstance(self.low, int):
            step = int(self.step or 1)
            return distributions.IntDistribution(self.low, int(self.high), self.log, step)
        return distributions.FloatDistribution(self.low, self.high, self.log, self.step)

    def values(self) -> list[Value] | None:
        """Return all values, or None where there is no end of them."""
        if self.choices:
            return list(self.choices)
        if self.step is None:
            return None
        count = round((self.high - self.low) / self.step) + 1
        return [self.low + place * self.step for place in range(count)]

    def corners(self) -> list[Value]:
        """Return the choices, or both ends."""
        return list(self.choices) or [self.low, self.high]

    def written(self, value: Value) -> str:
        """Return a value as an override writes it."""
        if isinstance(value, float) and self.step is not None:
            value = round(value, 12)  # 0.1 + 2 * 0.1
        return repr(value) if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Search:
    """What a command line searches.

    Attributes:
        fixed: the overrides that all trials share.
        space: key -> what it may be; a key may begin with a +.
    """

    fixed: tuple[str, ...]
    space: dict[str, Parameter]

    def overrides(self, values: Mapping[str, Value]) -> tuple[str, ...]:
        """Return the overrides of a run with these values."""
        own = (f"{key}={item.written(values[key])}" for key, item in self.space.items())
        return (*self.fixed, *own)

    def asked(self, **more: str) -> dict[str, Any]:
        """Return what makes two studies the same: space, fixed overrides, and ``more``."""
        quiet = {item for item in self.fixed if key_of(item) != "scale" and volatile(key_of(item))}
        space = {key: asdict(self.space[key]) for key in sorted(self.space)}
        fixed = sorted({*self.fixed} - quiet)
        asked = {"space": space, "fixed": fixed, **more}
        return json.loads(json.dumps(asked))  # tuples become lists, as they come out of a storage

    def name(self, **more: str) -> str:
        """Return a name for a study: the keys' last parts, and a hash of what is asked."""
        text = json.dumps(self.asked(**more), sort_keys=True)
        keys = "-".join(key_of(key).split(".")[-1].split("/")[-1] for key in self.space)
        return f"{keys[:60]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def grid(self) -> Iterator[dict[str, Value]]:
        """Give every point, the last key varying first.

        Raises:
            UserError: there is no end of them.
        """
        for key, item in self.space.items():
            if item.values() is None:
                raise UserError(
                    f"hydra.sweeper.sampler=grid: {key} may be any number between "
                    f"{item.low:g} and {item.high:g}; write choice(...) or range(...)"
                )
        values = [item.values() or [] for item in self.space.values()]
        for point in itertools.product(*values):
            yield dict(zip(self.space, point, strict=True))

    def check(self) -> dict[str, Any]:
        """Compose each choice and each end once; return the config of the first that works.

        A combination of two that cannot work is left to the trial that meets it.

        Raises:
            UserError: a misspelt key, option or value, or none of them works.
        """
        first = {key: item.corners()[0] for key, item in self.space.items()}
        tried = [first]
        tried += [
            {**first, key: value}
            for key, item in self.space.items()
            for value in item.corners()[1:]
        ]
        working, errors = [], []
        for values in tried:
            overrides = self.overrides(values)
            try:
                working.append(resolve(overrides).config)
            except UserError as error:
                compose(overrides)  # a misspelling is refused here, an impossible combination not
                errors.append(error)
        if not working:
            raise errors[0]
        return working[0]


def parse(arguments: Sequence[str], loader: Any = None) -> Search:
    """Return what a command line searches.

    Args:
        arguments: overrides. ``a,b`` and ``choice(a, b)`` are choices, ``range(1, 9, 2)`` numbers
            in steps, ``interval(0, 1)`` any number, ``int(interval(1, 9))`` any integer, both ends
            included; ``tag(log, ...)`` searches them on a log scale.
        loader: Hydra's config loader, for ``glob(*)``.

    Raises:
        UserError: what cannot be read, or means nothing as a search space.
    """
    try:
        parsed = hydra_internals.parse(arguments, loader)
        fixed, space = [], {}
        for item in parsed:
            key = item.get_key_element()
            if key == "experiment":
                raise UserError(
                    "hydra/sweeper=optuna: an experiment states its own arms and grid; leave out "
                    "experiment=..., or hydra/sweeper=optuna"
                )
            if not item.is_sweep_override():
                fixed.append(str(item.input_line))
                continue
            if key in space:
                raise UserError(f"{item.input_line}: {key} is searched twice")
            _refuse_key(key, str(item.input_line))
            space[key] = _parameter(item)
    except (HydraException, ValueError) as error:
        raise UserError(explain(error, conf_dir(), arguments)) from error
    for line in fixed:
        if key_of(line) in map(key_of, space):
            raise UserError(f"{line}: {key_of(line)} is searched, too; leave out one of the two")
    if not space:
        raise UserError(f"hydra/sweeper=optuna: there is nothing to search; say what, {EXAMPLE}")
    return Search(tuple(fixed), space)


def _refuse_key(key: str, line: str) -> None:
    if key_of(key) == "seed":
        raise UserError(
            f"{line}: the best seed means nothing; repeat the best trial with -m seed=0,1,2"
        )
    if volatile(key_of(key)):
        raise UserError(f"{line}: {key_of(key)} changes no result; give it one value")


def _parameter(item: Override) -> Parameter:
    sweep: Any = item.value()
    line = item.input_line
    tags = sorted(getattr(sweep, "tags", ()))
    if tags not in ([], ["log"]):
        raise UserError(f"{line}: the tag {(set(tags) - {'log'}).pop()} means nothing; log does")
    log = bool(tags)
    if isinstance(sweep, IntervalSweep):
        low, high = sweep.start, sweep.end
        assert low is not None
        assert high is not None
        if not low < high:
            raise UserError(f"{line}: the interval is empty; write the smaller end first")
        if log and low <= 0:
            raise UserError(f"{line}: a log scale has no {low:g}; begin above 0")
        return Parameter((), low, high, 1 if isinstance(low, int) else None, log)
    if isinstance(sweep, RangeSweep):
        start, stop, step = (Decimal(str(x)) for x in (sweep.start, sweep.stop, sweep.step))
        count = math.ceil((stop - start) / step) if step else 0  # Hydra's own goes astray at 0.1
        if count < 1:
            raise UserError(f"{line}: the range is empty; it ends before its second number")
        least, most = sorted((start, start + (count - 1) * step))
        if log and (abs(step) != 1 or least <= 0):
            raise UserError(f"{line}: a log scale takes steps of 1 from above 0, or an interval")
        whole = all(isinstance(x, int) for x in (sweep.start, sweep.stop, sweep.step))
        kind = int if whole else float
        return Parameter((), kind(least), kind(most), kind(abs(step)), log)
    if log:
        raise UserError(f"{line}: choices have no log scale; write range or interval")
    # Not the iterator of the override: it would shuffle, and the order means nothing here.
    texts: Any = (
        map(Transformer.str, sweep.list)
        if isinstance(sweep, ChoiceSweep)
        else item.sweep_string_iterator()
    )
    choices = tuple(dict.fromkeys(texts))
    if not choices:
        raise UserError(f"{line}: there is nothing to choose from")
    return Parameter(choices)
