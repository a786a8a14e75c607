"""Attentions in transformers' models, tiny and random."""

import copy
import doctest
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import suexp.hf
from suexp.attention import Softmax

transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SIZES = {
    **{"vocab_size": 17, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "max_position_embeddings": 64},
}
PADDING = torch.tensor([[1] * 7, [0, 0, 0, 1, 1, 1, 1]])


def llama(**settings: Any) -> Any:
    """A causal model whose queries share keys."""
    config = transformers.LlamaConfig(**SIZES, num_key_value_heads=2, **settings)
    return transformers.LlamaForCausalLM(config).eval()


def bert(**settings: Any) -> Any:
    return transformers.BertForMaskedLM(transformers.BertConfig(**SIZES, **settings)).eval()


def under(name: str, model: Any) -> Any:
    """Return a model of the same weights with another attention."""
    found = copy.deepcopy(model)
    found.set_attn_implementation(name)
    return found


@pytest.fixture(scope="module", autouse=True)
def known() -> None:
    for name in ("softmax", "linear"):
        assert suexp.hf.register(name) == name
    suexp.hf.register("performer", num_features=16)
    suexp.hf.register("mine", Softmax, kernel="materialised")


def tokens(n: int = 7) -> Tensor:
    return torch.randint(0, 17, (2, n))


@pytest.mark.parametrize("name", ["softmax", "mine"])
@pytest.mark.parametrize("make", [llama, bert])
@pytest.mark.parametrize("padding", [None, PADDING])
def test_softmax_is_transformers_own(make: Any, name: str, padding: Tensor | None) -> None:
    model, x = make(), tokens()
    found = under(name, model)(x, attention_mask=padding).logits
    real = slice(None) if padding is None else padding.bool()
    for theirs in ("sdpa", "eager"):
        expected = under(theirs, model)(x, attention_mask=padding).logits
        torch.testing.assert_close(found[real], expected[real], atol=1e-5, rtol=1e-5)


def test_a_sliding_window_is_a_table_to_softmax_and_refused_without_one() -> None:
    sizes = {**SIZES, "num_key_value_heads": 2, "sliding_window": 3}
    model = transformers.MistralForCausalLM(transformers.MistralConfig(**sizes)).eval()
    x = tokens()
    found = under("softmax", model)(x).logits
    torch.testing.assert_close(found, under("sdpa", model)(x).logits, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="attention=performer sees all keys or all earlier ones"):
        under("performer", model)(x)


@pytest.mark.parametrize("name", ["performer", "linear"])
@pytest.mark.parametrize("make", [llama, bert])
def test_padded_tokens_are_not_seen(make: Any, name: str) -> None:
    model, x = under(name, make()), tokens()
    other = torch.where(PADDING.bool(), x, 16 - x)
    found, expected = (model(i, attention_mask=PADDING).logits for i in (other, x))
    torch.testing.assert_close(found[PADDING.bool()], expected[PADDING.bool()])
    assert not torch.allclose(model(other).logits[1, -1], expected[1, -1], atol=1e-4)


def test_a_causal_model_stays_causal_and_a_bidirectional_one_is_not() -> None:
    x = tokens()
    other = torch.cat([x[:, :4], 16 - x[:, 4:]], 1)
    model = under("performer", llama())
    torch.testing.assert_close(model(x).logits[:, :4], model(other).logits[:, :4])
    model = under("performer", bert())
    assert not torch.allclose(model(x).logits[:, :4], model(other).logits[:, :4], atol=1e-4)


@pytest.mark.parametrize("name", ["softmax", "performer", "linear"])
@pytest.mark.parametrize("padding", [None, PADDING])
def test_decoding_from_the_cache_is_the_whole_text(name: str, padding: Tensor | None) -> None:
    model, x = under(name, llama()), tokens()
    with torch.no_grad():
        whole = model(x, attention_mask=padding).logits
        past = None
        for start, end in ((0, 4), (4, 6), (6, 7)):
            seen = None if padding is None else padding[:, :end]
            # Positions count from the row's beginning, as they do when the whole is read at once.
            places = torch.arange(start, end)[None]
            out = model(
                x[:, start:end],
                attention_mask=seen,
                position_ids=places,
                past_key_values=past,
                use_cache=True,
            )
            past = out.past_key_values
    torch.testing.assert_close(out.logits[:, -1], whole[:, -1], atol=1e-5, rtol=1e-5)


def test_it_generates() -> None:
    model, x = under("performer", llama()), tokens()
    settings = {"max_new_tokens": 3, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    with torch.no_grad():
        made = model.generate(x, attention_mask=torch.ones_like(x), **settings)
        greedy = x
        for _ in range(3):
            greedy = torch.cat([greedy, model(greedy).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(made, greedy)


@pytest.mark.slow
def test_performer_trains() -> None:
    model, x = under("performer", llama()).train(), tokens(12)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        loss = model(x, labels=x).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_a_saved_model_computes_the_same(tmp_path: Path) -> None:
    model, x = under("performer", bert()), tokens()
    expected = model(x).logits
    model.save_pretrained(tmp_path)
    loaded = transformers.BertForMaskedLM.from_pretrained(tmp_path, attn_implementation="performer")
    torch.testing.assert_close(loaded.eval()(x).logits, expected)


def test_what_cannot_be_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def line(kind: type[Exception], call: Any) -> str:
        with pytest.raises(kind) as raised:
            call()
        assert "\n" not in str(raised.value)
        return str(raised.value)

    x = tokens()
    assert "did you mean performer" in line(ValueError, lambda: suexp.hf.register("perfomer"))
    said = line(ValueError, lambda: suexp.hf.register("performer", features=3))
    assert said.startswith("attention=performer has no argument features")
    said = line(ValueError, lambda: suexp.hf.register("talking_heads"))
    assert said.startswith("attention=talking_heads has weights of its own")
    dropping = under("performer", bert()).train()
    assert "set the config's attention dropout to 0" in line(ValueError, lambda: dropping(x))
    model = under("performer", llama())
    static = transformers.StaticCache(config=model.config, max_cache_len=16)
    said = line(ValueError, lambda: model(x, past_key_values=static))
    assert "cannot read a cache with places for what is to come" in said
    monkeypatch.setitem(sys.modules, "transformers", None)
    said = line(suexp.UserError, lambda: suexp.hf.register("performer"))
    assert said == "suexp.hf needs transformers: pip install 'suexp[hf]'"


def test_the_example_runs() -> None:
    (test,) = doctest.DocTestFinder(recurse=False).find(suexp.hf.register, "it", globs={})
    assert len(test.examples) >= 5
    assert doctest.DocTestRunner().run(test).failed == 0
