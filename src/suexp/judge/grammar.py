"""The language of claims: one line that is both the sentence read and the test computed.

    val/loss[lion] <= val/loss[adamw] + 0.03              a metric of an arm; a margin is arithmetic
    val/loss@100[a] < val/loss@100[b]                     what was last logged by step 100
    0.8 < weak_order[fp] < 1.3                            a chain holds when each of its links does
    every val/max_norm[a] <= 1                            each seed by itself, not their mean
    all of (x[a] < x[b]; x[a] < x[c])                     each comparison holds
    some of (x[a] < x[b]; x[a] < x[c])                    one of them does; they share alpha
    first(val/accuracy >= 0.9)[a] < 200                   the first logged step at which it holds
    mean(train/loss from 400 to 800)[a] < 2               of what was logged at these steps
    largest(optimizer/lr where val/loss < 2)[a, b] > 1    over arms, of a value of their configs
    val/loss[a] == val/loss[b] +- 0.01                    equal within a margin
    slope(log mse ~ log m where kernel=positive)[arm]     least squares over the rows that a run
                                                          recorded; `in TABLE` where two tables fit
    slope(log val/loss ~ log cost/parameters)[s, m, l]    the same over the final metrics of arms

Numbers, + - * / and parentheses, and the functions of `FUNCTIONS` combine them. Nothing is ever
handed to Python's own evaluator.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from suexp.errors import UserError
from suexp.judge.expression import (
    FUNCTIONS,
    At,
    Call,
    Claim,
    Condition,
    Expression,
    Extreme,
    First,
    Link,
    Mean,
    Metric,
    Number,
    Slope,
    evaluate,
    leaves,
)
from suexp.near import near

RELATIONS = ("<=", ">=", "==", "<", ">")
_SPELLINGS = {"≤": "<=", "≥": ">=", "±": "+-", "−": "-"}
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<name>[A-Za-z_][\w@.]*(?:/[A-Za-z_][\w@.]*)*)
  | (?P<arms>\[[^\[\]]*\])
  | (?P<text>'[^']*')
  | (?P<sign><=|>=|==|\+-|[-+*/()<>=~,;≤≥±−])
  | (?P<stranger>\S)
    )""",
    re.VERBOSE,
)


def parse(test: str) -> Claim:
    """Parse a claim.

    Raises:
        UserError: the sentence does not follow the grammar; the message says where and what to do.
    """
    try:
        return _Parser(test).claim()
    except RecursionError:
        raise UserError(f"claim `{test[:40]}...`: too deeply nested") from None


@dataclass(frozen=True)
class _Token:
    kind: str
    value: str
    start: int
    end: int


class _Parser:
    """Recursive descent: claim > sum > product > sign > atom."""

    def __init__(self, test: str) -> None:
        self.test = test
        self.tokens = [
            _Token(
                match.lastgroup or "",
                _SPELLINGS.get(match[match.lastgroup or 0], match[match.lastgroup or 0]),
                match.start(match.lastgroup or 0),
                match.end(),
            )
            for match in _TOKEN.finditer(test.rstrip())
        ]
        self.at = 0

    def claim(self) -> Claim:
        every = self.word("every")
        some = self.word("some")
        links = self.several(some) if some or self.word("all") else self.links()
        if self.at < len(self.tokens):
            raise self.error("unexpected")
        claim = Claim(tuple(links), self.test, some, every)
        if not claim.arms:
            raise self.error("it reads no run; write metric[arm]")
        return claim

    def several(self, some: bool) -> list[Link]:
        if not self.word("of"):
            raise self.error("expected all of (a < b; a < c)")
        self.expect("(")
        links = []
        while True:
            links += (found := self.links())
            if some and len(found) > 1:
                raise self.error("some of (...) takes no chain; write its links apart")
            if self.peek() != ";":
                break
            self.take()
        self.expect(")")
        return links

    def links(self) -> list[Link]:
        start = self.start
        sides, relations, starts = [self.sum()], [], [start]
        while self.peek() in RELATIONS:
            relations.append(self.take())
            starts.append(self.start)
            sides.append(self.sum())
        margin = self.margin() if self.peek() == "+-" else None
        if not relations:
            if self.peek() in ("", ";", ")"):
                raise self.error("it compares nothing; write metric[arm] < metric[arm]")
            raise self.error("expected a comparison (< <= > >= ==)")
        self.check(relations, margin)
        ends = [*(self.before(s) for s in starts[2:]), self.tokens[self.at - 1].end]
        return [
            Link(left, relation, right, margin, self.test[first:end].strip())
            for left, relation, right, first, end in zip(
                sides, relations, sides[1:], starts, ends, strict=False
            )
        ]

    def word(self, word: str) -> bool:
        """Take a word that begins a claim; `all[arm]` would be a metric."""
        following = self.tokens[self.at + 1].kind if self.at + 1 < len(self.tokens) else ""
        if self.peek() != word or following == "arms":
            return False
        self.take()
        return True

    def check(self, relations: list[str], margin: float | None) -> None:
        if "==" in relations:
            if len(relations) > 1:
                raise self.error("== cannot stand in a chain; write two claims")
            if margin is None:
                raise self.error("== needs its margin: ... == ... +- 0.01")
        elif margin is not None:
            raise self.error("+- belongs to ==; add the margin to a side instead")
        if len({relation[0] for relation in relations}) > 1:
            raise self.error("a chain points one way: a < b < c or a > b > c")

    def before(self, start: int) -> int:
        """Where the relation in front of a side begins."""
        return max(token.start for token in self.tokens if token.end <= start)

    def margin(self) -> float:
        self.take()
        expression = self.sum()
        if any(leaves(expression)):
            raise self.error("the margin after +- is a number, not a metric")
        try:
            value = evaluate(expression, lambda _: math.nan)
        except ArithmeticError as problem:
            raise self.error(f"the margin after +- is {problem}") from None
        if not 0 < value < math.inf:
            raise self.error("the margin after +- must be positive")
        return value

    def sum(self) -> Expression:
        left = self.product()
        while self.peek() in ("+", "-"):
            left = Call(self.take(), (left, self.product()))
        return left

    def product(self) -> Expression:
        left = self.sign()
        while self.peek() in ("*", "/"):
            left = Call(self.take(), (left, self.sign()))
        return left

    def sign(self) -> Expression:
        if self.peek() == "-":
            self.take()
            return Call("negative", (self.sign(),))
        return self.atom()

    def atom(self) -> Expression:
        kind, value = self.kind(), self.peek()
        if kind == "number":
            return Number(float(self.take()))
        if value == "(":
            self.take()
            inner = self.sum()
            self.expect(")")
            return inner
        if kind != "name":
            raise self.error("expected a number or metric[arm]")
        self.take()
        if self.peek() == "(":
            special: dict[str, Callable[[], Expression]] = {
                "slope": self.slope,
                "first": self.first,
                "mean": self.mean,
                "largest": self.extreme,
                "smallest": self.extreme,
            }
            return special[value]() if value in special else self.call(value)
        metric, at, step = value.partition("@")
        if at and not step.isdecimal():
            self.at -= 1
            raise self.error("after @ stands a step, a whole number")
        along = At(metric, int(step)) if at else None
        return Metric(value, self.arm(value), along)

    def call(self, name: str) -> Expression:
        if name not in FUNCTIONS:
            self.at -= 1
            known = [*FUNCTIONS, "slope", "first", "mean", "largest", "smallest"]
            raise self.error(f"unknown function {name!r}{near(name, known)}")
        self.expect("(")
        arguments = [self.sum()]
        while self.peek() == ",":
            self.take()
            arguments.append(self.sum())
        self.expect(")")
        if len(arguments) > 1 and name not in ("min", "max"):
            raise self.error(f"{name} takes one argument")
        # min and max of a single number are that number, which Python's own would refuse.
        return Call(name, tuple(arguments * 2 if name in ("min", "max") else arguments))

    def first(self) -> Metric:
        self.expect("(")
        condition = self.condition()
        self.expect(")")
        if isinstance(condition.value, str):
            raise self.error(f"expected a number after {condition.column} {condition.relation}")
        name = f"first({condition.column} {condition.relation} {condition.value:g})"
        along = First(condition.column, condition.relation, condition.value)
        return Metric(name, self.arm(name), along)

    def mean(self) -> Metric:
        self.expect("(")
        metric = self.name("a metric's name")
        steps = []
        for word in ("from", "to"):
            self.expect(word)
            if self.kind() != "number" or not self.peek().isdecimal():
                raise self.error("expected a step, a whole number")
            steps.append(int(self.take()))
        self.expect(")")
        start, end = steps
        name = f"mean({metric} from {start} to {end})"
        return Metric(name, self.arm(name), Mean(metric, start, end))

    def extreme(self) -> Extreme:
        word = self.tokens[self.at - 1].value
        self.expect("(")
        key = self.name("a value of the config, as optimizer/lr")
        where = self.conditions()
        self.expect(")")
        return Extreme(
            word == "largest", key, where, self.arms(f"say of which arms: {word}(...)[a, b]")
        )

    def slope(self) -> Slope:
        self.expect("(")
        log_y, y = self.column()
        self.expect("~")
        log_x, x = self.column()
        table = None
        if self.peek() == "in":
            self.take()
            table = self.name("a table's name")
        where = self.conditions()
        self.expect(")")
        arms = self.arms("say of which arm: slope(...)[arm]")
        if len(arms) > 1 and (table or where):
            raise self.error("a slope over several arms reads their final metrics, not table rows")
        return Slope(y, log_y, x, log_x, table, where, arms)

    def column(self) -> tuple[bool, str]:
        name = self.name("a column's name")
        if name == "log" and self.kind() == "name" and self.peek() not in ("in", "where"):
            return True, self.name("a column's name")
        return False, name

    def conditions(self) -> tuple[Condition, ...]:
        found = []
        word = "where"
        while self.peek() == word:
            self.take()
            found.append(self.condition())
            word = "and"
        return tuple(found)

    def condition(self) -> Condition:
        column = self.name("a column's name")
        relation = {"=": "=="}.get(self.peek(), self.peek())
        if relation not in RELATIONS:
            raise self.error(f"expected {column}=value")
        self.take()
        sign = -1.0 if self.peek() == "-" else 1.0
        if sign < 0:
            self.take()
        if self.kind() == "number":
            return Condition(column, relation, sign * float(self.take()))
        if self.kind() == "text":
            return Condition(column, relation, self.take()[1:-1])
        return Condition(column, relation, self.name("a value"))

    def arm(self, of: str) -> str:
        arms = self.arms(f"say of which arm: {of}[arm]")
        if len(arms) > 1:
            raise self.error("a metric is read of one arm; only slope(...) takes several")
        return arms[0]

    def arms(self, message: str) -> tuple[str, ...]:
        if self.kind() != "arms":
            raise self.error(message)
        arms = tuple(arm.strip() for arm in self.take()[1:-1].split(","))
        if not all(arms) or len(set(arms)) < len(arms):
            raise self.error("an arm's name is missing or stands twice")
        return arms

    def name(self, what: str) -> str:
        if self.kind() != "name":
            raise self.error(f"expected {what}")
        return self.take()

    def peek(self) -> str:
        return self.tokens[self.at].value if self.at < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.at].kind if self.at < len(self.tokens) else ""

    @property
    def start(self) -> int:
        return self.tokens[self.at].start if self.at < len(self.tokens) else len(self.test)

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1].value

    def expect(self, sign: str) -> None:
        if self.peek() != sign:
            raise self.error(f"expected {sign!r}")
        self.take()

    def error(self, message: str) -> UserError:
        if self.peek() == "=":
            message = "equality is written == ... +- margin"
        elif self.peek():
            message += f" at character {self.start + 1}, {self.peek()!r}"
        return UserError(f"claim `{self.test}`: {message}")
