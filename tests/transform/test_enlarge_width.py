"""A wider model must be the same function, whatever it is made of."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from suexp.attention import Softmax
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.init import Default
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.mask import Causal
from suexp.model import MLP, Transformer
from suexp.norm import RMS, Batch, Layer
from suexp.position import NONE, Alibi, Learned, Rope
from suexp.store.folder import Run
from suexp.task.enlargement_error import relu_rule, tiled_heads, without_score_factor
from suexp.transform import Copy, EnlargeWidth
from suexp.transform._widen import RULES, Widening, repeat
from suexp.transform.enlarge_width import max_logit_difference
from tests.support.tiny import tiny

LENGTH = 24
POSITIONS = {"learned": Learned, "rope": Rope, "alibi": Alibi, "none": NONE}


def model(*overrides: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Build a transformer from overrides as of the command line, without composing a config.

    Its biases and gains are not those of a fresh one; logits have a standard deviation of about 1.
    """
    chosen: dict[str, Any] = {
        "model.dim": 128,
        "model.num_heads": 4,
        "position": "rope",
        "norm": "layer",
    }
    chosen |= {key: yaml.safe_load(value) for key, value in (o.split("=") for o in overrides)}
    nested: dict[str, dict[str, Any]] = {"model": {"bias": True}, "position": {}, "attention": {}}
    for key, value in chosen.items():
        group, _, name = key.partition(".")
        if name:
            nested[group][name] = value
    dim, heads = nested["model"]["dim"], nested["model"]["num_heads"]
    sizes: dict[str, dict[str, int]] = {
        "learned": {"max_length": LENGTH, "dim": dim},
        "rope": {"head_dim": nested["model"].get("head_dim", dim // heads)},
        "alibi": {"num_heads": heads},
        "none": {},
    }
    built = Transformer(
        vocab_size=256,
        attention=Softmax(**nested["attention"]),
        position=POSITIONS[chosen["position"]](**(sizes[chosen["position"]] | nested["position"])),
        norm=(Layer if chosen["norm"] == "layer" else RMS)(dim),
        mask=Causal(),
        init=Default(),
        **nested["model"],
    )
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
            else:
                parameter.mul_(1.5)
    return built.to(dtype).eval()


def mlp(dim: int, activation: str, norm: str | None = None) -> nn.Module:
    """Build a perceptron of two hidden layers."""
    prototype = {"layer": Layer, "rms": RMS, "batch": Batch}[norm](dim) if norm else None
    built = MLP(64, 10, Default(), prototype, dim, 2, activation)  # type: ignore[arg-type]
    return built.double().eval()


def pair(dim: int, factor: int, *overrides: str, **kwargs: object) -> tuple[nn.Module, nn.Module]:
    """Return a parent and its enlarged child."""
    parent = model(f"model.dim={dim}", *overrides)
    child = model(f"model.dim={dim * factor}", *overrides)
    EnlargeWidth(**kwargs).apply(parent, child)  # type: ignore[arg-type]
    return parent, child


TOKENS = torch.randint(250, (3, 24), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("ffn", ["gelu", "gelu_tanh", "relu", "swiglu"])
@pytest.mark.parametrize("order", ["pre", "post"])
def test_logits_are_equal_in_float64(order: str, ffn: str, factor: int) -> None:
    overrides = (f"model.norm_order={order}", f"model.ffn={ffn}", "position=learned")
    parent, child = pair(16, factor, *overrides)
    assert (parent(TOKENS) - child(TOKENS)).abs().max() <= 1e-12
    assert parent(TOKENS).std() > 0.5


@pytest.mark.parametrize("order", ["pre", "post"])
def test_logits_are_nearly_equal_in_float32(order: str) -> None:
    overrides = (f"model.norm_order={order}", "position=learned")
    parent = model("model.dim=32", *overrides, dtype=torch.float32)
    child = model("model.dim=64", *overrides, dtype=torch.float32)
    metrics = EnlargeWidth().apply(parent, child)
    assert (parent(TOKENS) - child(TOKENS)).abs().max() < 2e-5
    assert metrics["transform/max_logit_difference"] < 1e-5


OTHERS = {
    "rms": ("norm=rms",),
    "untied": ("model.tie_embeddings=false",),
    "segments, BERT's head and norm": (
        "model.num_segments=2",
        "model.head=mlm",
        "model.embedding_norm=true",
        "model.norm_order=post",
    ),
    "classifier with a pooler": ("model.num_outputs=5", "model.pooler=true"),
    "classifier": ("model.num_outputs=5", "model.pool=first"),
    "no biases": ("model.bias=false",),
    "alibi": ("position=alibi",),
    "no positions": ("position=none",),
    "a scale of its own": ("attention.scale=1",),
    "a larger hidden layer": ("model.ffn_multiplier=3",),
}  # fmt: skip


@pytest.mark.parametrize("split", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures(name: str, split: str) -> None:
    overrides = OTHERS[name]
    position = () if any("position" in item for item in overrides) else ("position=learned",)
    parent, child = pair(16, 2, *position, *overrides, split=split)
    assert max_logit_difference(parent, child) <= 1e-12


def test_the_hidden_layer_may_grow_by_another_factor() -> None:
    parent = model("model.dim=16", "position=learned")
    child = model("model.dim=32", "model.ffn_multiplier=5", "position=learned")
    EnlargeWidth().apply(parent, child)
    assert max_logit_difference(parent, child) <= 1e-12


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("factor", [2, 3])
def test_rotations_with_repeated_frequencies(factor: int, interleaved: bool) -> None:
    rope = f"position.interleaved={interleaved}"
    parent = model("model.dim=16", rope)
    child = model(f"model.dim={16 * factor}", rope, f"position.freq_repeat={factor}")
    EnlargeWidth().apply(parent, child)
    assert max_logit_difference(parent, child) <= 1e-12
    grandchild = model(f"model.dim={32 * factor}", rope, f"position.freq_repeat={2 * factor}")
    EnlargeWidth().apply(child, grandchild)
    assert max_logit_difference(parent, grandchild) <= 1e-12


def test_rotations_with_other_frequencies_are_refused() -> None:
    parent, child = model("model.dim=16"), model("model.dim=32")
    with pytest.raises(
        ValueError, match=r"other rotations: set position\.freq_repeat=2, or accept"
    ):
        EnlargeWidth().apply(parent, child)
    metrics = EnlargeWidth(allow_loss=True).apply(parent, child)
    assert metrics["transform/max_logit_difference"] > 1e-3


@pytest.mark.parametrize("position", ["learned", "alibi", "rope"])
@pytest.mark.parametrize("factor", [2, 3])
def test_heads_may_be_repeated_whole(position: str, factor: int) -> None:
    wide = [f"model.dim={16 * factor}", f"model.num_heads={4 * factor}", f"position={position}"]
    if position == "alibi":
        with pytest.raises(ValueError, match=rf"other slopes: set position\.slope_repeat={factor}"):
            EnlargeWidth().apply(model("model.dim=16", "position=alibi"), model(*wide))
        wide.append(f"position.slope_repeat={factor}")
    parent, child = model("model.dim=16", f"position={position}"), model(*wide)
    EnlargeWidth().apply(parent, child)
    assert max_logit_difference(parent, child) <= 1e-12
    qkv = [m.blocks[0].attention.qkv.weight for m in (parent, child)]  # type: ignore[union-attr, index]
    rows = qkv[1].view(3, 4, factor, 4, 16 * factor)  # type: ignore[operator]
    assert torch.equal(rows[:, :, 0], rows[:, :, 1])
    q = [w.chunk(3)[0] for w in qkv]  # type: ignore[operator]
    torch.testing.assert_close(q[1][:4, ::factor], q[0][:4] / factor**0.5)  # no fourth root of k


WRONG = {without_score_factor: 0.1, tiled_heads: 0.2, relu_rule: 0.1}


@pytest.mark.parametrize("order", ["pre", "post"])
@pytest.mark.parametrize("wrong", WRONG, ids=lambda f: f.__name__)
@torch.no_grad()
def test_wrong_rules_are_measurably_lossy(wrong: object, order: str) -> None:
    parent, child = pair(16, 2, f"model.norm_order={order}", "position=learned")
    for block in [*parent.blocks, *child.blocks]:  # type: ignore[union-attr, misc]
        attention = block.attention  # scores that matter
        attention.qkv.weight[: 2 * attention.output.in_features] *= 3  # type: ignore[union-attr, index, operator]
    assert max_logit_difference(parent, child) <= 1e-12
    wrong(child, 2)  # type: ignore[operator]
    assert max_logit_difference(parent, child) > WRONG[wrong]  # type: ignore[index]


@pytest.mark.parametrize(("order", "low", "high"), [("pre", 1e-5, 5e-3), ("post", 1e-6, 1e-3)])
def test_norms_that_keep_their_epsilon_lose_a_little(order: str, low: float, high: float) -> None:
    overrides = (f"model.norm_order={order}", "position=learned")
    parent = model("model.dim=16", *overrides)
    child = model("model.dim=32", *overrides)
    metrics = EnlargeWidth(rescale_eps=False, tolerance=1.0).apply(parent, child)
    assert low < metrics["transform/max_logit_difference"] < high


def test_bert_s_head_needs_no_further_factor() -> None:
    overrides = ("position=learned", *OTHERS["segments, BERT's head and norm"])
    parent, child = pair(16, 2, *overrides)
    assert max_logit_difference(parent, child) <= 1e-12
    head = child.head
    assert head.norm.eps == parent.head.norm.eps  # type: ignore[union-attr]
    torch.testing.assert_close(
        head.norm.weight[::2],  # type: ignore[union-attr, index]
        parent.head.norm.weight / 2**0.5,  # type: ignore[union-attr, operator]
    )
    before, bias = parent(TOKENS), head.bias  # type: ignore[union-attr]
    with torch.no_grad():
        head.norm.weight /= 2**0.5  # type: ignore[union-attr, operator, assignment]
        head.norm.bias /= 2**0.5  # type: ignore[union-attr, operator, assignment]
    after = child(TOKENS)
    torch.testing.assert_close(after - bias, (before - bias) / 2**0.5)
    probabilities = [x.softmax(-1).max() for x in (before, after)]
    assert probabilities[1] < probabilities[0] - 0.001


def rule(narrow: int, wide: int, factor: int) -> tuple[Tensor, Tensor]:
    """Return a square matrix and what the stream's rule makes of it."""
    old, new = (nn.Linear(d, d, bias=False).double() for d in (narrow, wide))
    do = Widening(factor, None, 0.0, True)
    stream = do.stream(narrow)
    with torch.no_grad():
        do(old, new, stream, stream)
    return old.weight.detach(), new.weight.detach()


@pytest.mark.parametrize("factor", [2, 3])
def test_norms_and_products_stay(factor: int) -> None:
    narrow, wide = rule(12, 12 * factor, factor)
    torch.testing.assert_close(wide.norm(), narrow.norm())
    x, y = torch.randn(2, 12, dtype=torch.float64)
    stream = Widening(factor, None, 0.0, True).stream(12)
    u, v = (z[stream.index] * stream.scale for z in (x, y))
    torch.testing.assert_close(u.norm(), x.norm())
    torch.testing.assert_close(u @ v, x @ y)


def test_equals_bert4keras_orthogonal_resize() -> None:
    """``orthogonally_resize(weights, new_shape, window)`` of bert4keras, window 1."""

    def orthogonally_resize(weights: Tensor, new_shape: tuple[int, int], window: int) -> Tensor:
        slices: list[int] = []
        shape: list[int] = []
        repeats = [new // old for new, old in zip(new_shape, weights.shape, strict=True)]
        for size in weights.shape:
            shape += [size // window, 1, window]
        for size, n in zip(weights.shape, repeats, strict=True):
            slices += [size // window, n, window]
        return weights.reshape(shape).expand(slices).reshape(new_shape) / (
            (repeats[0] * repeats[1]) ** 0.5
        )

    narrow, wide = rule(8, 16, 2)
    torch.testing.assert_close(wide, orthogonally_resize(narrow, (16, 16), 1))


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_an_mlp_equals_net2net_s_wider_operator(activation: str) -> None:
    parent, child = mlp(8, activation), mlp(16, activation)
    EnlargeWidth().apply(parent, child)
    x = torch.randn(5, 64, dtype=torch.float64)
    torch.testing.assert_close(child(x), parent(x), atol=1e-12, rtol=0)

    # Net2Net: unit g(j) copied for every new unit j, its outgoing weights over its copies.
    g = torch.arange(16) // 2
    first, second = parent.hidden[0], parent.hidden[3]  # type: ignore[index]
    matrices = {
        "hidden.0.weight": first.weight[g],
        "hidden.0.bias": first.bias[g],
        "hidden.3.weight": second.weight[g][:, g] / 2,
        "hidden.3.bias": second.bias[g],
        "classifier.weight": parent.classifier.weight[:, g] / 2,  # type: ignore[union-attr, index]
        "classifier.bias": parent.classifier.bias,  # type: ignore[union-attr]
    }
    wider = mlp(16, activation)
    wider.load_state_dict(matrices)
    torch.testing.assert_close(wider(x), child(x), atol=1e-6, rtol=0)
    if activation != "relu":  # which passes 1/sqrt(k) on, and so may take it
        for name, tensor in child.state_dict().items():
            torch.testing.assert_close(tensor, matrices[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("norm", ["layer", "rms", "batch"])
def test_an_mlp_with_norms(norm: str, activation: str) -> None:
    parent, child = mlp(8, activation, norm), mlp(24, activation, norm)
    parent.train()(3 * torch.randn(50, 64, dtype=torch.float64) + 1)  # averages of a batch norm
    EnlargeWidth(split="asymmetric").apply(parent, child)
    assert max_logit_difference(parent, child) <= 1e-12


def rope_error(size: int, window: int, freq_repeat: int, batch: int = 64) -> float:
    """Relative rms error of the scores of random q and k at 64 places."""
    torch.manual_seed(size)
    q, k = torch.randn(2, batch, 1, 64, size, dtype=torch.float64)
    places = torch.arange(64)
    narrow = Rope(size)
    exact = narrow.rotate(q, places) @ narrow.rotate(k, places).mT
    index, wide = repeat(size, 2, window), Rope(2 * size, freq_repeat=freq_repeat)
    q, k = (x[..., index] / 2**0.5 for x in (q, k))
    scores = wide.rotate(q, places) @ wide.rotate(k, places).mT
    return float((scores - exact).square().mean().sqrt() / exact.square().mean().sqrt())


@pytest.mark.parametrize(
    ("size", "pairs", "single"), [(16, 0.40, 0.63), (32, 0.33, 0.58), (64, 0.28, 0.56)]
)
def test_error_of_rotated_scores(size: int, pairs: float, single: float) -> None:
    assert rope_error(size, 2, 1) == pytest.approx(pairs, abs=0.02)
    assert rope_error(size, 1, 1) == pytest.approx(single, abs=0.02)
    assert rope_error(size, 2, 2) < 1e-7  # of cosines in float32


def gradients(child: nn.Module) -> Tensor:
    child.zero_grad()
    loss = nn.functional.cross_entropy(child(TOKENS[:, :-1]).flatten(0, 1), TOKENS[:, 1:].flatten())
    loss.backward()  # type: ignore[no-untyped-call]
    return child.blocks[0].feed_forward.input.weight.grad  # type: ignore[union-attr, index, return-value]


def test_copies_get_equal_gradients_unless_the_split_is_asymmetric() -> None:
    parent, child = pair(16, 2, "position=learned")
    one = gradients(child)
    torch.testing.assert_close(one[::2], one[1::2], atol=1e-14, rtol=1e-10)
    torch.testing.assert_close(one[:, ::2], one[:, 1::2], atol=1e-14, rtol=1e-10)
    parent, child = pair(16, 2, "position=learned", split="asymmetric")
    other = gradients(child)
    assert (other[::2] - other[1::2]).abs().max() > 0.05 * other.abs().max()
    assert (parent(TOKENS) - child(TOKENS)).abs().max() <= 1e-12


def test_noise_is_not_lossless_and_says_how_much() -> None:
    parent = model("model.dim=16", "position=learned")
    child = model("model.dim=32", "position=learned")
    metrics = EnlargeWidth(noise=0.1).apply(parent, child)
    measured = metrics["transform/max_logit_difference"]
    assert measured == pytest.approx(max_logit_difference(parent, child))
    assert 1e-2 < measured < 3


def test_epsilon_survives_saving_and_another_generation() -> None:
    parent, child = pair(16, 2, "position=learned")
    name = "blocks.0.attention_norm.eps_factor"
    assert float(child.state_dict()[name]) == pytest.approx(0.5, abs=1e-15)
    assert child.norm.eps == pytest.approx(0.5e-5, rel=1e-12)  # type: ignore[union-attr]
    again = model("model.dim=32", "position=learned")
    again.load_state_dict(child.state_dict())
    assert torch.equal(again(TOKENS), child(TOKENS))
    third = model("model.dim=32", "position=learned")
    Copy().apply(again, third)
    assert torch.equal(third(TOKENS), child(TOKENS))
    wider = model("model.dim=64", "position=learned")
    wider.norm.eps = 1e-12  # type: ignore[union-attr, assignment]
    EnlargeWidth().apply(third, wider)
    assert (wider(TOKENS) - parent(TOKENS)).abs().max() <= 1e-12
    again.load_state_dict(model("model.dim=32", "position=learned").state_dict())
    assert again.norm.eps == 1e-5  # type: ignore[union-attr]


REFUSALS = {
    "factor must be at least 2": lambda: EnlargeWidth(factor=1),
    "window must be at least 1": lambda: EnlargeWidth(window=0),
    "spread must lie between": lambda: EnlargeWidth(spread=1.5),
    "noise -1": lambda: EnlargeWidth(noise=-1),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_refuses_bad_arguments(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        REFUSALS[message]()


MISFITS = {
    r"model\.dim is 40 and the parent's 16": ("model.dim=40",),
    r"model\.dim is 16 and the parent's 16": ("model.dim=16",),
    "the child has 3 blocks and its parent 2": ("model.dim=32", "model.num_layers=3"),
    r"different activations \(model.ffn\)": ("model.dim=32", "model.ffn=relu"),
    r"elsewhere in one of the models \(model.norm_order\)": (
        "model.dim=32", "model.norm_order=post"),
    r"Layer of the parent is RMS in the child": ("model.dim=32", "norm=rms"),
    "a table of 24 rows cannot become one of 30": ("model.dim=32", "position.max_length=30"),
    "different position codes": ("model.dim=32", "position=alibi"),
    "6 heads of 6 are no multiple of the parent's 4 heads of 4": (
        "model.dim=32", "model.num_heads=6", "model.head_dim=6"),
    "the child has output, the parent has not": ("model.dim=32", "model.tie_embeddings=false"),
    r"biases, the other has none \(model.bias\)": ("model.dim=32", "model.bias=false"),
}  # fmt: skip


@pytest.mark.parametrize("message", MISFITS)
def test_refuses_what_does_not_fit(message: str) -> None:
    child = model("position=learned", *MISFITS[message])
    with pytest.raises(ValueError, match=message) as caught:
        EnlargeWidth().apply(model("model.dim=16", "position=learned"), child)
    assert "\n" not in str(caught.value)


def test_refuses_a_factor_that_the_child_does_not_have() -> None:
    parent, child = (model(f"model.dim={d}", "position=learned") for d in (16, 32))
    with pytest.raises(ValueError, match=r"factor=3 makes 48 of the parent's model.dim 16, but"):
        EnlargeWidth(factor=3).apply(parent, child)


def test_refuses_a_window_that_does_not_divide_the_head() -> None:
    parent, child = (model(f"model.dim={d}", "position=learned") for d in (16, 32))
    with pytest.raises(ValueError, match="window 3 does not divide the 4 features of a head"):
        EnlargeWidth(window=3).apply(parent, child)


def test_every_tensor_must_be_claimed() -> None:
    parent, child = (model(f"model.dim={d}", "position=learned") for d in (16, 32))
    for each in (parent, child):
        each.blocks[0].feed_forward.gate = nn.Parameter(torch.ones(1))  # type: ignore[union-attr, index]
    with pytest.raises(ValueError, match=r"no enlargement rule for blocks\.0\.feed_forward\.gate"):
        EnlargeWidth().apply(parent, child)


def test_a_layer_of_another_class_is_refused() -> None:
    class Adapted(nn.Linear):
        pass

    parent, child = (model(f"model.dim={d}", "position=learned") for d in (16, 32))
    for each, dim in ((parent, 16), (child, 32)):
        each.blocks[0].attention.output = Adapted(dim, dim)  # type: ignore[union-attr, index]
    with pytest.raises(ValueError, match="no enlargement rule for Adapted"):
        EnlargeWidth().apply(parent, child)
    assert Adapted not in RULES


@pytest.mark.parametrize(
    "choice", ["attention=performer", "attention=linear", "position=sinusoidal"]
)
def test_refused_when_the_config_is_composed(choice: str) -> None:
    with pytest.raises(
        UserError, match=f"transform=enlarge_width cannot be combined with {choice}"
    ):
        resolve(["transform=enlarge_width", choice, 'parent=["model.dim=64"]'])


@pytest.mark.slow
def test_runs_of_three_generations(tmp_path: Path) -> None:
    first = r"parent=[\"model.dim=16\",\"trainer.max_steps=20\"]"
    middle = f'parent=["model.dim=32","transform=enlarge_width","{first}"]'
    common = ["position=learned", "transform=enlarge_width", "trainer.max_steps=0", "model.dim=64"]
    config = spec_of([*tiny(tmp_path), *common, middle, "transform.split=asymmetric"])
    assert config.config["parent"]["parent"]["model"]["dim"] == 16
    summary = execute(config)
    assert summary.status == "finished", summary.error
    assert summary.metrics["transform/max_logit_difference"] < 1e-5
    origin = Run(config.origins["parent"].origins["parent"]).summary()
    assert origin is not None
    loss = [each.metrics["val/loss"] for each in (summary, origin)]
    assert loss[0] == pytest.approx(loss[1], abs=1e-5)


def test_all_pairs_of_norm_and_position_have_rules() -> None:
    for norm, position in itertools.product(("layer", "rms"), ("learned", "rope", "alibi", "none")):
        repeat = ("position.freq_repeat=2",) if position == "rope" else ()
        parent = model("model.dim=16", f"norm={norm}", f"position={position}")
        child = model("model.dim=32", f"norm={norm}", f"position={position}", *repeat)
        EnlargeWidth().apply(parent, child)
