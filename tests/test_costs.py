import itertools

import pytest
import torch
import yaml

from suexp.attention.base import Attention
from suexp.attention.linear import Linear
from suexp.attention.performer import Performer
from suexp.attention.softmax import Softmax
from suexp.attention.talking_heads import TalkingHeads
from suexp.attention.taylor import Taylor
from suexp.costs import (
    Layer,
    Sizes,
    crossover,
    evaluate,
    formulas,
    formulas_of,
    speed_bound,
    squares,
    vocabulary_flops,
)
from suexp.errors import UserError
from suexp.folders import conf_dir
from suexp.mask import Bidirectional, Causal
from suexp.nn.flops import counted
from tests.attention.test_contract import OPTIONS, SIZES, build

SOFTMAX = {"_target_": "suexp.attention.softmax.Softmax", "kernel": "materialised"}
LINEAR = {"_target_": "suexp.attention.linear.Linear"}


def core(
    attention, kernel=SOFTMAX, dim=768, heads=12, terms=("scores", "values", "sums", "output")
):
    """The core's operations without the normaliser, which the post leaves out."""
    del attention
    layer = Layer(dim, heads, attention=kernel)
    return lambda n: sum(v for k, v in layer.core.flops(layer.sizes(n)).items() if k in terms)


MATERIALISED = [
    Softmax(kernel="materialised"),
    TalkingHeads(3),
    TalkingHeads(3, post=False),
    Taylor(8, implementation="quadratic"),
    Taylor(8, order=4, implementation="quadratic"),
]
BY_FEATURES = [
    Linear(),
    Linear(feature_multiplier=4, num_heads=3, head_dim=8),
    Performer(8),
    Performer(8, num_features=20, kernel="hyperbolic"),
    Taylor(8),
]


def inputs(n, m, d=8, e=8):
    return [
        torch.randn(1, 3, length, size, requires_grad=True)
        for length, size in ((n, d), (m, d), (m, e))
    ]


@pytest.mark.parametrize("mask", [Bidirectional(), Causal()], ids=["bidirectional", "causal"])
@pytest.mark.parametrize("attention", [*MATERIALISED, *BY_FEATURES], ids=repr)
def test_formulas_equal_what_the_counter_sees(attention, mask):
    for n, m, e in ((64, 64, 8), (100, 100, 5), (1, 1, 8)):
        with counted() as counter:
            attention(*inputs(n, m, e=e), mask)
        terms = attention.flops(n, m, 3, 8, e, isinstance(mask, Causal))
        assert sum(terms.values()) == counter.get_total_flops()


def test_queries_of_another_text():
    for attention in (*MATERIALISED, *BY_FEATURES):
        with counted() as counter:
            attention(*inputs(20, 70), Bidirectional())
        assert sum(attention.flops(20, 70, 3, 8, 8).values()) == counter.get_total_flops()


def saved_by(attention, mask, n):
    """Numbers of four bytes that wait for backward, beside the inputs and the output."""
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    given = inputs(n, n)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = attention(*given, mask)
    for tensor in (*given, out, *attention.parameters(), *attention.buffers()):
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(size for size, _ in kept.values()) / 4


@pytest.mark.parametrize("mask", [Bidirectional(), Causal()], ids=["bidirectional", "causal"])
@pytest.mark.parametrize("attention", [*MATERIALISED, *BY_FEATURES, Softmax()], ids=repr)
def test_saved_numbers_within_a_percent(attention, mask):
    n = 256
    expected = attention.saved_size(n, n, 3, 8, 8, isinstance(mask, Causal))
    assert saved_by(attention, mask, n) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_gives_its_formulas(option):
    attention = build(option)
    node = yaml.safe_load((conf_dir() / "attention" / f"{option}.yaml").read_text())
    node = {key: SIZES.get(str(value), value) for key, value in node.items()}
    unread, built = formulas(node), formulas_of(attention)
    for causal, n in itertools.product((False, True), (7, 512)):
        sizes = Sizes(n, n, 3, 8, 8, causal)
        assert sum(built.flops(sizes).values()) > 0
        assert unread.flops(sizes) == built.flops(sizes)
        assert unread.saved_size(sizes) == built.saved_size(sizes)
        assert unread.state_size(sizes) == built.state_size(sizes) > 0


@pytest.mark.parametrize("option", OPTIONS)
def test_state_of_decoding(option):
    attention, n = build(option).eval(), 20
    if option == "performer":
        attention.num_features = attention.projection.shape[0]
    q, k, v = (x.detach() for x in inputs(n, n))
    _, state = attention.decode(q, k, v, Causal())
    numbers = sum(tensor.numel() for tensor in state)
    assert attention.state_size(n, 3, 8, 8) == numbers


def test_causal_kernels_skip_the_upper_triangle():
    assert Sizes(4, 4, 1, 1, 1, True).pairs == 10
    assert Sizes(2, 5, 1, 1, 1, True).pairs == 9
    assert Sizes(5, 2, 1, 1, 1, True).pairs == 3
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
