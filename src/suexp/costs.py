r"""What attention and the layer around it cost, by formula (https://kexue.fm/archives/8610).

An attention declares its formulas as literals in its class body, so that they are read, shown and
computed without importing torch:

- ``costs``: term -> multiply-adds of one text, in the names n (queries), m (keys), h (heads), d
  (their size), e (size of values), ``causal``, ``seeing`` and ``pairs`` (see `Sizes`), the
  constructor's arguments, and any other formula of the class, f being ``features``;
- ``saved``: numbers that wait for the backward pass, beside q, k, v and the output, of a text that
  is trained on: where it is causal, with as many queries as keys;
- ``state``: numbers that decoding keeps of a text of m tokens.

Costs are those of training on a CPU, under a causal mask or none, without a bias. Everything that
is returned counts floating-point operations, two for each multiply-add, of products of matrices
only, as `torch.utils.flop_counter` does: softmax, norms and activations move memory rather than
multiply.
"""

import ast
import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from suexp.errors import UserError


def squares(n: int, size: int) -> int:
    """Return the sum of the squares of the chunks' sizes, of n tokens in chunks of ``size``."""
    return n // size * size**2 + (n % size) ** 2


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "int": int,
    "isqrt": math.isqrt,
    "log": math.log,
    "max": max,
    "min": min,
    "squares": squares,
}
_OPERATIONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Gt: operator.gt,
    ast.Lt: operator.lt,
    ast.In: lambda a, b: a in b,
    ast.Not: operator.not_,
    ast.USub: operator.neg,
}


@functools.cache
def _parsed(formula: str) -> ast.expr:
    return ast.parse(formula, mode="eval").body


def evaluate(formula: str, read: Callable[[str], Any]) -> Any:
    """Return the value of a formula.

    Args:
        formula: arithmetic, comparisons, ``a if b else c`` and the functions of `FUNCTIONS`.
        read: gives the value of a name; it raises KeyError for one that it does not know.

    Raises:
        UserError: it says something else, or an unknown name.
    """

    def of(node: ast.AST) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return read(name)
            case ast.Tuple(elts=items):
                return tuple(map(of, items))
            case ast.BinOp(left=left, op=op, right=right):
                return _OPERATIONS[type(op)](of(left), of(right))
            case ast.UnaryOp(op=op, operand=operand):
                return _OPERATIONS[type(op)](of(operand))
            case ast.BoolOp(op=op, values=values):
                stop = isinstance(op, ast.Or)
                value = of(values[0])
                for item in values[1:]:
                    value = value if bool(value) is stop else of(item)
                return value
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return _OPERATIONS[type(op)](of(left), of(right))
            case ast.IfExp(test=test, body=body, orelse=other):
                return of(body) if of(test) else of(other)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return FUNCTIONS[name](*map(of, arguments))
        raise KeyError(ast.unparse(node))

    try:
        return of(_parsed(formula))
    except (KeyError, SyntaxError) as error:
        raise UserError(f"cost formula `{formula}`: it cannot be read at {error}") from error


@dataclass(frozen=True)
class Sizes:
    """What a core reads: n queries and m keys, in h heads of size d, with values of size e."""

    n: int
    m: int
    h: int
    d: int
    e: int
    causal: bool = False

    @property
    def seeing(self) -> int:
        """Queries that see a key; causal ones are the last n of m places."""
        return min(self.n, self.m) if self.causal else self.n

    @property
    def pairs(self) -> int:
        """Query-key pairs of a fused kernel, which knows of causal masks on squares only."""
        skipped = self.n * (self.n - 1) // 2 if self.causal and self.n == self.m else 0
        return self.n * self.m - skipped


@dataclass(frozen=True)
class Formulas:
    """The formulas of one attention, by name, and its constructor's arguments."""

    costs: Mapping[str, str]
    declared: Callable[[str], Any]
    arguments: Callable[[str], Any]

    def flops(self, sizes: Sizes) -> dict[str, int]:
        """Return the floating-point operations of each term."""
        return {term: 2 * self._value(formula, sizes) for term, formula in self.costs.items()}

    def saved_size(self, sizes: Sizes) -> int:
        """Return the numbers that wait for the backward pass, beside q, k, v and the output."""
        return self._value(self.named("saved") or "", sizes)

    def state_size(self, sizes: Sizes) -> int:
        """Return the numbers that decoding keeps of a text of m tokens."""
        return self._value(self.named("state") or "", sizes)

    def named(self, name: str) -> str | None:
        """Return the class's formula of this name, where it has one."""
        formula = self.declared("features" if name == "f" else name)
        return formula if isinstance(formula, str) else None

    def used(self, formulas: Iterable[str]) -> dict[str, str]:
        """Return the formulas that these ones name, and those that they name in turn."""
        found: dict[str, str] = {}
        waiting = list(formulas)
        while waiting:
            for node in ast.walk(_parsed(waiting.pop())):
                name = node.id if isinstance(node, ast.Name) else ""
                formula = self.named(name) if name and name not in found else None
                if formula is not None:
                    found[name] = formula
                    waiting.append(formula)
        return found

    def _value(self, formula: str, sizes: Sizes) -> int:
        def read(name: str) -> Any:
            if hasattr(sizes, name):
                return getattr(sizes, name)
            its = self.named(name)
            return self.arguments(name) if its is None else evaluate(its, read)

        return round(evaluate(formula, read))


def formulas_of(component: Any) -> Formulas:
    """Return the formulas of an attention that was built; its attributes are its arguments.

    Raises:
        UserError: it declares none.
    """
    kind = type(component)

    def argument(name: str) -> Any:
        try:
            return getattr(component, name)
        except AttributeError:
            raise KeyError(name) from None

    return _declared(kind.__name__, lambda key: getattr(kind, key, None), argument)


def formulas(node: Mapping[str, Any]) -> Formulas:
    """Return the formulas of an attention from its config alone, without importing it.

    Args:
        node: ``_target_`` and arguments; those that are left out have their defaults.

    Raises:
        UserError: it declares none.
    """
    from suexp.code.source import read

    source = read(str(node["_target_"]))
    if source is None:
        raise UserError(f"{node['_target_']} has no source to read")
    known = [item.signature.parameters for item in source.lineage]  # a base's may be fixed

    def argument(name: str) -> Any:
        if name in node:
            return node[name]
        default = next((its for its in known if name in its), {})[name].default
        return ast.literal_eval(default) if default is not None else None

    return _declared(source.name, lambda key: source.literal(key, None), argument)


def _declared(
    name: str, declared: Callable[[str], Any], argument: Callable[[str], Any]
) -> Formulas:
    costs = declared("costs")
    if not costs:
        raise UserError(
            f"attention={name.lower()} gives no cost formula; declare `costs` in its class, "
            "see suexp.costs"
        )
    return Formulas(costs=costs, declared=declared, arguments=argument)


@dataclass(frozen=True)
class Layer:
    r"""Sizes of a Transformer layer: attention, then a feed-forward layer.

    Its operations are $2(4 n H^2 + 8 n H^2)$ for the matrices and $4 n^2 H$ for softmax attention,
    where dim is $H = h d$ and nothing else is chosen.

    Args:
        dim: H, size of the tokens.
        num_heads: h.
        head_dim: d, size of a head's values; None: H / h.
        key_dim: size of a head's queries and keys; None: d.
        num_kv_heads: heads of keys and values, that groups of query heads share; None: h.
        ffn_multiplier: size of the feed-forward layer over dim.
        gated: whether it has a gate, and two thirds of that size, as ffn=swiglu.
        attention: formulas of the core, or its config node (``_target_`` and arguments); None:
            softmax.
        causal: whether a token sees the earlier ones only.
    """

    dim: int
    num_heads: int
    head_dim: int | None = None
    key_dim: int | None = None
    num_kv_heads: int | None = None
    ffn_multiplier: float = 4
    gated: bool = False
    attention: Mapping[str, Any] | Formulas | None = None
    causal: bool = False

    @property
    def hidden(self) -> int:
        """Size of the feed-forward layer."""
        full = self.ffn_multiplier * self.dim
        return max(8, 8 * round(full / 12)) if self.gated else round(full)

    def sizes(self, n: int) -> Sizes:
        """Return what the core reads of a text of n tokens."""
        e = self.head_dim or self.dim // self.num_heads
        return Sizes(n, n, self.num_heads, self.key_dim or e, e, self.causal)

    @functools.cached_property
    def core(self) -> Formulas:
        """Return the formulas of the core."""
        if isinstance(self.attention, Formulas):
            return self.attention
        return formulas(self.attention or {"_target_": "suexp.attention.softmax.Softmax"})

    def flops(self, n: int) -> dict[str, int]:
        """Return the operations of a forward pass over n tokens, by part; ``core`` is a sum."""
        x, groups = self.sizes(n), self.num_kv_heads or self.num_heads
        return {
            "projections": 2 * n * self.dim * (x.h * x.d + groups * (x.d + x.e) + x.h * x.e),
            "core": sum(self.core.flops(x).values()),
            "ffn": 2 * n * self.dim * self.hidden * (3 if self.gated else 2),
        }

    def saved(self, n: int) -> int:
        r"""Return the numbers that wait for the backward pass, without dropout, gelu or swiglu.

        Of the shell: tokens before and after each norm, q, k and v, the core's output, and the
        hidden layer before and after its activation; 4 n for the norms' own.
        """
        x, groups = self.sizes(n), self.num_kv_heads or self.num_heads
        shell = 4 * self.dim + x.h * x.d + groups * (x.d + x.e) + x.h * x.e + 4
        return n * (shell + self.hidden * (4 if self.gated else 2)) + self.core.saved_size(x)

    def parameters(self) -> int:
        """Return the number of weights, without biases."""
        x, groups = self.sizes(1), self.num_kv_heads or self.num_heads
        attention = self.dim * (x.h * x.d + groups * (x.d + x.e) + x.h * x.e)
        return attention + self.dim * self.hidden * (3 if self.gated else 2)


def vocabulary_flops(n: int, dim: int, vocab_size: int) -> int:
    """Return the operations of the output layer over n tokens, which the post leaves out."""
    return 2 * n * dim * vocab_size


def crossover(a: Callable[[int], float], b: Callable[[int], float], limit: int = 2**24) -> int:
    """Return the longest text for which ``a`` costs no more than ``b``.

    Args:
        a: cost of n tokens that grows faster in n.
        b: cost of n tokens that grows slower.
        limit: the longest text that is tried.

    Raises:
        UserError: ``a`` costs more than ``b`` from the first token on, or never up to the limit.
    """
    if a(1) > b(1) or a(limit) <= b(limit):
        raise UserError(f"there is no crossover between 1 and {limit} tokens")
    low, high = 1, limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if a(middle) <= b(middle) else (low, middle)
    return low


def speed_bound(layer: Layer, n: int) -> float:
    """Return the layer's operations over those without its core: no faster core saves more."""
    parts = layer.flops(n)
    return sum(parts.values()) / (parts["projections"] + parts["ffn"])
