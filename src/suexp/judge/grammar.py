"""The language of claims: one line that is both the sentence read and the test computed.

    val/loss[lion] <= val/loss[adamw] + 0.03              a metric of an arm; a margin is arithmetic
    val/loss@100[a] < val/loss@100[b]                     what was last logged by step 100
    0.8 < weak_order[fp] < 1.3                            a chain holds when each of its links does
    val/loss[a] == val/loss[b] +- 0.01                    equal within a margin
    slope(log mse ~ log m where kernel=positive)[arm]     least squares over the rows that a run
                                                          recorded; `in TABLE` where two tables fit
    slope(log val/loss ~ log cost/parameters)[s, m, l]    the same over the final metrics of arms

Numbers, + - * / and parentheses, and the functions of `FUNCTIONS` combine them. Nothing is ever
handed to Python's own evaluator.
"""

import math
import re
from dataclasses import dataclass

from suexp.errors import UserError
from suexp.judge.expression import (
    FUNCTIONS,
    Call,
    Claim,
    Condition,
    Expression,
    Link,
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
  | (?P<sign><=|>=|==|\+-|[-+*/()<>=~,≤≥±−])
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
        start = self.start
        sides, relations, starts = [self.sum()], [], [start]
        while self.peek() in RELATIONS:
            relations.append(self.take())
            starts.append(self.start)
            sides.append(self.sum())
        margin = self.margin() if self.peek() == "+-" else None
        if self.at < len(self.tokens):
            raise self.error("unexpected" if relations else "expected a comparison (< <= > >= ==)")
        if not relations:
            raise self.error("it compares nothing; write metric[arm] < metric[arm]")
        self.check(relations, margin)
        ends = [*(self.before(s) for s in starts[2:]), len(self.test)]
        claim = Claim(
            tuple(
                Link(left, relation, right, margin, self.test[first:end].strip())
                for left, relation, right, first, end in zip(
                    sides, relations, sides[1:], starts, ends, strict=False
                )
            ),
            self.test,
        )
        if not claim.arms:
            raise self.error("it reads no run; write metric[arm]")
        return claim

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
            return self.slope() if value == "slope" else self.call(value)
        _, at, step = value.partition("@")
        if at and not step.isdecimal():
            self.at -= 1
            raise self.error("after @ stands a step, a whole number")
        return Metric(value, self.arms(f"say of which arm: {value}[arm]", single=True)[0])

    def call(self, name: str) -> Expression:
        if name not in FUNCTIONS:
            self.at -= 1
            raise self.error(f"unknown function {name!r}{near(name, [*FUNCTIONS, 'slope'])}")
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

    def slope(self) -> Slope:
        self.expect("(")
        log_y, y = self.column()
        self.expect("~")
        log_x, x = self.column()
        table, where = None, []
        if self.peek() == "in":
            self.take()
            table = self.name("a table's name")
        if self.peek() == "where":
            where.append(self.condition())
            while self.peek() == "and":
                where.append(self.condition())
        self.expect(")")
        arms = self.arms("say of which arm: slope(...)[arm]")
        if len(arms) > 1 and (table or where):
            raise self.error("a slope over several arms reads their final metrics, not table rows")
        return Slope(y, log_y, x, log_x, table, tuple(where), arms)

    def column(self) -> tuple[bool, str]:
        name = self.name("a column's name")
        if name == "log" and self.kind() == "name" and self.peek() not in ("in", "where"):
            return True, self.name("a column's name")
        return False, name

    def condition(self) -> Condition:
        self.take()
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

    def arms(self, message: str, single: bool = False) -> tuple[str, ...]:
        if self.kind() != "arms":
            raise self.error(message)
        arms = tuple(arm.strip() for arm in self.take()[1:-1].split(","))
        if not all(arms) or len(set(arms)) < len(arms):
            raise self.error("an arm's name is missing or stands twice")
        if single and len(arms) > 1:
            raise self.error("a metric is read of one arm; only slope(...) takes several")
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
