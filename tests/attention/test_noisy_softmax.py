"""Noise on scores cancels where it should, stays where it should, and can be had again."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor

from suexp.attention import NoisySoftmax, Softmax
from suexp.attention.noisy_softmax import check_noise, draw_noise, exp_moment
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.mask import Bidirectional, Causal, ExcludeSelf, Padding
from suexp.nn.clone import clone
from tests.support.tiny import tiny


def qkv(n: int = 9, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.randn(2, 3, n, size, dtype=dtype) for size in (8, 8, 5)]


def always(**changes: Any) -> NoisySoftmax:
    return NoisySoftmax(**({"noise_std": 1.0, "when": "always"} | changes))


def test_without_noise_it_is_scaled_dot_product_attention() -> None:
    q, k, v = qkv(dtype=torch.float32)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    for attention in (always(noise_std=0.0), always(law="constant", noise_std=0.0)):
        torch.testing.assert_close(attention(q, k, v, Causal()), expected, rtol=0, atol=1e-6)


def test_constant_noise_changes_nothing() -> None:
    q, k, v = qkv()
    out = always(law="constant", noise_std=3.0)(q, k, v, Causal())
    torch.testing.assert_close(out, Softmax()(q, k, v, Causal()), rtol=0, atol=1e-12)


def test_noise_in_proportion_to_the_scores_is_another_temperature() -> None:
    q, k, v = qkv()
    out = always(law="proportional", noise_std=1.5)(q, k, v, Causal())
    expected = Softmax(scale=2.5 * 8**-0.5)(q, k, v, Causal())
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("law", ["normal", "uniform", "laplace", "cauchy"])
def test_a_single_key_or_equal_values_know_no_noise(law: Any) -> None:
    attention = always(law=law, noise_std=2.0)
    q, k, v = qkv(1)
    torch.testing.assert_close(attention(q, k, v, Bidirectional()), v, rtol=0, atol=1e-12)
    q, k, v = qkv()
    v = v[..., :1, :].expand_as(v)
    torch.testing.assert_close(attention(q, k, v, Causal()), v, rtol=0, atol=1e-12)


def test_a_clean_denominator_is_that_of_softmax() -> None:
    q, k, _ = qkv()
    weights = always(law="constant", noise_std=0.7, denominator="clean").weights(q, k, Causal())
    torch.testing.assert_close(weights, math.exp(0.7) * Softmax().weights(q, k, Causal()))
    attention = always(denominator="clean").eval()
    noisy = attention.weights(q, k, Causal())
    attention.eval()
    attention.denominator = "noisy"
    usual = attention.weights(q, k, Causal())
    torch.testing.assert_close(noisy / noisy.sum(-1, keepdim=True), usual)
    assert (noisy.sum(-1) - 1).abs().max() > 0.1


@pytest.mark.parametrize("denominator", ["noisy", "clean"])
@pytest.mark.parametrize("law", ["normal", "laplace"])
def test_hidden_keys_stay_hidden(law: Any, denominator: Any) -> None:
    q, k, v = qkv()
    keep = torch.ones(2, 9, dtype=torch.bool)
    keep[1, :4] = False
    mask = Causal() & ExcludeSelf() & Padding(keep)
    attention = always(law=law, noise_std=50.0, denominator=denominator)
    weights = attention.weights(q, k, mask)
    assert weights.masked_select(~mask.dense(9, 9).expand_as(weights)).count_nonzero() == 0
    out = attention(q, k, v, mask)
    assert out.isfinite().all()
    assert out[1, :, :5].count_nonzero() == 0


def test_each_query_key_and_head_has_noise_of_its_own_and_each_pass_other() -> None:
    q = k = torch.zeros(2, 3, 40, 8)
    attention = always()
    first, second = (attention.weights(q, k, Bidirectional()) for _ in range(2))
    assert not torch.equal(first, second)
    rows = first.flatten(0, 2).log()
    agreement = np.corrcoef(rows.numpy())
    assert abs(agreement[~np.eye(len(rows), dtype=bool)].mean()) < 0.01


def test_noise_is_there_when_it_is_asked_for() -> None:
    q, k, v = qkv()
    clean = Softmax()(q, k, v, Causal())
    for when, in_training, in_tests in [
        ("train", True, False),
        ("test", False, True),
        ("always", True, True),
    ]:
        attention = always(when=when)
        for mode, noisy in ((True, in_training), (False, in_tests)):
            out = attention.train(mode)(q, k, v, Causal())
            assert torch.equal(out, clean) != noisy


def test_a_test_begins_with_the_same_noise_and_layers_share_none() -> None:
    q, k, v = qkv()
    prototype = always(when="test", seed=3)
    layers = [clone(prototype), copy.deepcopy(prototype)]

    def run(state: int) -> list[Tensor]:
        torch.manual_seed(state)
        for layer in layers:
            layer.eval()
        return [layer(q, k, v, Causal()) for layer in layers]

    first, again = run(0), run(1)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], first[1])
    other = always(when="test", seed=4).eval()(q, k, v, Causal())
    assert not torch.equal(first[0], other)


def test_noise_in_tests_leaves_the_global_generator_alone() -> None:
    q, k, v = qkv()
    state = torch.random.get_rng_state()
    always(when="test").eval()(q, k, v, Causal())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("law", ["normal", "uniform", "laplace", "cauchy"])
def test_laws_are_scipys(law: Any) -> None:
    std = 1.5
    peer = {
        "normal": scipy.stats.norm(scale=std),
        "uniform": scipy.stats.uniform(-math.sqrt(3) * std, 2 * math.sqrt(3) * std),
        "laplace": scipy.stats.laplace(scale=std / math.sqrt(2)),
        "cauchy": scipy.stats.cauchy(scale=std),
    }[law]
    drawn = draw_noise(law, std, torch.zeros(20_000, dtype=torch.float64))
    assert scipy.stats.kstest(drawn.numpy(), peer.cdf).pvalue > 1e-3


@pytest.mark.parametrize("law", ["normal", "uniform", "laplace"])
def test_moments_are_integrals(law: Any) -> None:
    std, t = 0.5, 2.0
    peer = {
        "normal": scipy.stats.norm(scale=std),
        "uniform": scipy.stats.uniform(-math.sqrt(3) * std, 2 * math.sqrt(3) * std),
        "laplace": scipy.stats.laplace(scale=std / math.sqrt(2)),
    }[law]
    size = 40 if law != "uniform" else math.sqrt(3) * std
    wanted, _ = scipy.integrate.quad(
        lambda x: peer.pdf(x) * math.exp(t * x), -size, size, points=[0]
    )
    assert exp_moment(law, std, t) == pytest.approx(wanted, rel=1e-6)


def test_moments_that_do_not_exist() -> None:
    assert exp_moment("laplace", 2.0) == math.inf
    assert exp_moment("laplace", 1.0) < math.inf == exp_moment("laplace", 1.0, 2.0)
    assert exp_moment("cauchy", 0.1) == math.inf
    assert math.isnan(exp_moment("proportional", 1.0))
    assert exp_moment("constant", 0.5, 2.0) == math.e


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise_std": -1.0}, "noise_std must be at least 0"),
        ({"dropout": 1.0}, "dropout must be at least 0"),
        ({"law": "cauchy", "denominator": "clean"}, "use denominator=noisy"),
    ],
)
def test_mistakes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NoisySoftmax(**changes)
    with pytest.raises(ValueError, match="law must be one of"):
        check_noise(1.0, "gauss", "noisy")


def test_a_trained_model_is_tested_with_noise_the_same_each_time(tmp_path: Path) -> None:
    steps = ("trainer.max_steps=3", "trainer.val_check_interval=3")
    trained = execute(spec_of(tiny(tmp_path, *steps))).metrics["val/loss"]
    noisy = ("attention=noisy_softmax", "attention.noise_std=2", "attention.when=test")
    child = ("parent=['attention=softmax','trainer.max_steps=3']", "trainer.max_steps=0", *noisy)
    overrides = tiny(tmp_path, *steps[1:], *child)
    losses = [execute(spec_of([*overrides, "rerun=true"])).metrics for _ in range(2)]
    assert losses[0]["val/loss"] == losses[1]["val/loss"] != trained
    off = [*overrides, "attention.noise_std=0"]
    assert execute(spec_of(off)).metrics["val/loss"] == pytest.approx(trained, abs=1e-6)


@pytest.mark.peer
def test_a_checkpoint_of_bert_is_tested_with_noise(tmp_path: Path) -> None:
    """The paper scale's form, on a checkpoint and a text of our own."""
    peer = pytest.importorskip("transformers")
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters)]
    settings = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = peer.BertConfig(
        vocab_size=len(words), intermediate_size=64, max_position_embeddings=20, **settings
    )
    folder = tmp_path / "bert"
    peer.BertForMaskedLM(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    for split in ("train", "val"):
        text = "the quick brown fox jumps over the lazy dog\n" * 40
        (tmp_path / f"{split}.txt").write_text(f"{split} {text}", encoding="utf-8")
    overrides = [
        *("task=masked_lm", "data=files", f"data.train={tmp_path}/train.txt"),
        *(f"data.validation={tmp_path}/val.txt", "data.tokenizer=wordpiece", "data.block_size=12"),
        *(f"data.vocab={folder}", "position=learned", "position.max_length=20", "norm.eps=1e-12"),
        *("model.dim=16", "model.num_heads=2", "model.norm_order=post", "model.bias=true"),
        *("model.head=mlm", "model.num_segments=2", "model.embedding_norm=true"),
        *("transform=pretrained", f"transform.source={folder}", "trainer.max_steps=0"),
        "transform.differs=[attention]",
        *(f"out={tmp_path}", "trainer=cpu", "trainer.enable_progress_bar=false", "threads=1"),
    ]
    noisy = ["attention=noisy_softmax", "attention.when=test", "attention.noise_std=2"]
    losses = []
    for extra in ([], noisy, [*noisy, "attention.denominator=clean"]):
        summary = execute(spec_of([*overrides, *extra]))
        assert summary.status == "finished", summary.error
        losses.append(summary.metrics["val/loss"])
    assert len(set(losses)) == 3
    assert all(math.isfinite(loss) for loss in losses)
