import pytest

from suexp.attention.base import Attention
from suexp.attention.softmax import Softmax
from suexp.costs import (
    Layer,
    Sizes,
    crossover,
    evaluate,
    speed_bound,
    squares,
    vocabulary_flops,
)
from suexp.errors import UserError

SOFTMAX = {"_target_": "suexp.attention.softmax.Softmax", "kernel": "materialised"}
LINEAR = {"_target_": "suexp.attention.linear.Linear"}


def core(
    attention, kernel=SOFTMAX, dim=768, heads=12, terms=("scores", "values", "sums", "output")
):
    """The core's operations without the normaliser, which the post leaves out."""
    del attention
    layer = Layer(dim, heads, attention=kernel)
    return lambda n: sum(v for k, v in layer.core.flops(layer.sizes(n)).items() if k in terms)


def test_causal_kernels_skip_the_upper_triangle():
    assert Sizes(4, 4, 1, 1, 1, True).pairs == 10
    assert Sizes(2, 5, 1, 1, 1, True).pairs == Sizes(5, 2, 1, 1, 1, True).pairs == 10  # a table
    assert Sizes(2, 5, 1, 1, 1, True).seeing == Sizes(5, 2, 1, 1, 1, True).seeing == 2
    n, (whole, half) = 4096, (Softmax().flops(4096, 4096, 1, 64, 64, c) for c in (False, True))
    assert half["scores"] / whole["scores"] == (n + 1) / (2 * n)


# The known answers of the post.


@pytest.mark.parametrize("n", [64, 128, 256, 512, 1024, 2048, 4096])
def test_a_layer_counts_as_the_post_says(n):
    layer = Layer(256, 4, attention=SOFTMAX)
    assert sum(layer.flops(n).values()) == 2 * (12 * n * 256**2 + 2 * n**2 * 256)
    if n == 64:
        assert sum(layer.flops(n).values()) == 104_857_600


@pytest.mark.parametrize(("dim", "heads"), [(768, 12), (1024, 16), (256, 4)])
def test_crossovers_of_the_layer(dim, heads):
    layer = Layer(dim, heads)
    attention = lambda n: layer.flops(n)["projections"] + layer.flops(n)["core"]  # noqa: E731
    rest = lambda n: layer.flops(n)["projections"] + layer.flops(n)["ffn"]  # noqa: E731
    assert crossover(attention, lambda n: layer.flops(n)["ffn"]) == 2 * dim
    assert crossover(lambda n: layer.flops(n)["core"], rest) == 6 * dim
    assert speed_bound(layer, 6 * dim) == 2
    for n in (128, 512, 1536):
        assert speed_bound(layer, n) == pytest.approx(1 + n / (6 * dim))


def test_crossovers_of_linear_attention():
    terms = ("scores", "values", "sums", "output")

    def core(node, d=64):
        layer = Layer(768, 12, head_dim=d, attention=node)
        return lambda n: sum(layer.core.flops(layer.sizes(n)).get(t, 0) for t in terms)

    assert crossover(core(SOFTMAX), core(LINEAR)) == 64
    assert crossover(core(SOFTMAX), core(LINEAR, d=256)) == 1024  # all of q, k, v at 4 d
    features = {**LINEAR, "feature_multiplier": 4}
    assert crossover(core(SOFTMAX), core(features)) == 256
    # With the normaliser and the learned map of queries and keys.
    plain, wide = (Layer(768, 12, attention=node) for node in (SOFTMAX, features))
    assert crossover(lambda n: plain.flops(n)["core"], lambda n: wide.flops(n)["core"]) == 516


def test_causal_kernels_double_the_crossovers():
    layer = Layer(768, 12, causal=True)
    attention = lambda n: layer.flops(n)["projections"] + layer.flops(n)["core"]  # noqa: E731
    assert crossover(attention, lambda n: layer.flops(n)["ffn"]) == 2 * 2 * 768 - 1


def test_widths_of_other_layers():
    n, dim = 100, 768
    grouped = Layer(dim, 12, num_kv_heads=3).flops(n)["projections"]
    assert grouped == 2 * n * dim**2 * (2 + 2 * 3 / 12)
    assert Layer(dim, 12, key_dim=128).flops(n)["projections"] == 2 * n * dim**2 * 6
    assert Layer(dim, 12, gated=True).flops(n)["ffn"] == Layer(dim, 12).flops(n)["ffn"]
    assert 12 * Layer(dim, 12).parameters() == 84_934_656
    assert vocabulary_flops(1, dim, 21128) == 2 * 16_226_304


def test_without_a_crossover():
    with pytest.raises(UserError, match="no crossover"):
        crossover(lambda n: 2 * n, lambda n: n)
    with pytest.raises(UserError, match="no crossover"):
        crossover(lambda n: n, lambda n: 2 * n)


class Silent(Attention):
    """Says nothing of its cost."""


def test_an_attention_without_formulas():
    with pytest.raises(UserError, match="attention=silent gives no cost formula; declare `costs`"):
        Silent().flops(1, 1, 1, 1, 1)


@pytest.mark.parametrize("formula", ["n.real", "open('x')", "n +", "x", "lambda: 1", "[n]"])
def test_formulas_are_no_programs(formula):
    with pytest.raises(UserError, match="cannot be read"):
        evaluate(formula, {"n": 3}.__getitem__)


def test_arithmetic_of_formulas():
    value = lambda formula: evaluate(formula, {"n": 7, "kind": "a"}.__getitem__)  # noqa: E731
    assert value("n // 2 + 2 ** 3 - -1") == 12
    assert value("squares(n, 3)") == squares(7, 3) == 19
    assert value("1 if kind in ('a', 'b') and not n > 8 else 2") == 1
    assert value("0 or n") == 7
