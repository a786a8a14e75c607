"""Each field of config.json and each setting of ours: refused, or the logits of transformers.

No field stands here by hand. Theirs are perturbed one by one, and transformers itself tells which
change the logits; so are ours. What a refusal says to set is set.
"""

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from suexp.code.instantiate import instantiate
from suexp.config.catalogue import Catalogue
from suexp.config.compose import compose
from suexp.errors import UserError
from suexp.model import Transformer
from suexp.transform import Pretrained
from tests.peers.test_pretrained import BERT, GPT2, saved

peer = pytest.importorskip("transformers")
pytestmark = [pytest.mark.peer, pytest.mark.slow]

CONFIGS = {"bert": "BertConfig", "gpt2": "GPT2Config"}
CLASSES = {"bert": "BertForMaskedLM", "gpt2": "GPT2LMHeadModel"}
SIZES = {"bert": BERT, "gpt2": GPT2}
COMMON = ("model.dim=16", "model.num_layers=3", "model.num_heads=2", "model.bias=true")
COMMON += ("position=learned", "position.max_length=12")
SETTINGS = {
    "bert": (
        *("task=masked_lm", "mask=bidirectional", *COMMON, "norm.eps=1e-12"),
        *("model.norm_order=post", "model.embedding_norm=true", "model.num_segments=2"),
        "model.head=mlm",
    ),
    "gpt2": (*COMMON, "model.ffn=gelu_tanh"),
}
TOKENS = torch.randint(50, (3, 12), generator=torch.Generator().manual_seed(1))
ACTIVATIONS = ("hidden_act", "activation_function")
GROUPS = ("attention", "mask", "norm", "position")
SET = re.compile(r"; set ([^;]+)")


def ours(kind: str, *changes: str) -> Any:
    """Return the model of these settings, whatever a task would say to them."""
    cfg = composed(kind).copy()
    for change in changes:
        key, _, value = change.partition("=")
        if key in GROUPS:
            cfg[key] = Catalogue().option(key, value).content
        else:
            OmegaConf.update(cfg, key, OmegaConf.create(f"x: {value}").x)
    node: Any = OmegaConf.to_container(cfg.model, resolve=True)
    return instantiate(node, vocab_size=50).eval()


@functools.cache
def composed(kind: str) -> Any:
    return compose(SETTINGS[kind])


def checkpoint(kind: str, folder: Path) -> None:
    saved(getattr(peer, CLASSES[kind])(getattr(peer, CONFIGS[kind])(**SIZES[kind])), folder)


@torch.no_grad()
def theirs(kind: str, folder: Path) -> torch.Tensor | None:
    """Return transformers' logits, or None where it does not take the folder."""
    try:
        model = getattr(peer, CLASSES[kind]).from_pretrained(folder)
        model.config.return_dict = True
        return model.eval()(input_ids=TOKENS).logits
    except Exception:  # of its many kinds
        return None


@torch.no_grad()
def loaded(kind: str, folder: Path, *changes: str) -> tuple[torch.Tensor | None, int]:
    """Return the logits after doing as refusals say, None if one says nothing; how many said so."""
    for refusals in range(3):
        try:
            model = ours(kind, *changes)
            Pretrained(str(folder)).load(model)
        except OmegaConfBaseException:  # sizes that do not divide
            return None, refusals
        except UserError as error:
            found = SET.search(str(error))
            if found is None:
                return None, refusals + 1
            changes = (*changes, *found[1].split())
            continue
        return model(TOKENS), refusals
    return None, 3


def others(value: Any) -> list[Any]:
    """Return values of the same type that are not this one."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, 2 * value]
    if isinstance(value, float):
        return [value * 2 + 0.1]
    return [True, 3, "tanh"] if value is None else []


def perturbed(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        for other in peer.activations.ACT2FN if name in ACTIVATIONS else others(value):
            yield name, other


# Of which refusals say what to set; shapes do not tell them.
MENDED = {
    "bert": {"layer_norm_eps", "is_decoder", "hidden_act", "num_attention_heads"},
    "gpt2": {"layer_norm_epsilon", "scale_attn_weights", "activation_function", "n_head"},
}


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_every_field_of_theirs(tmp_path: Path, kind: str) -> None:
    checkpoint(kind, tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    before = theirs(kind, tmp_path)
    assert before is not None
    of = getattr(peer, CONFIGS[kind])
    done: dict[str, set[str]] = {"as it is": set(), "mended": set(), "refused": set()}
    for name, value in perturbed({**of(**config).to_dict(), **config}):
        try:
            of(**{**config, name: value})
        except Exception:  # no value of this field
            continue
        file.write_text(json.dumps({**config, name: value}))
        expected, where = theirs(kind, tmp_path), f"{name}={value}"
        found, refusals = loaded(kind, tmp_path)
        if found is not None:
            assert expected is not None, where
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5, msg=where)
        if refusals and expected is not None and torch.equal(expected, before):
            assert name in (*ACTIVATIONS, "add_cross_attention"), (
                where
            )  # of larger scores, or texts
        done["refused" if found is None else "mended" if refusals else "as it is"].add(name)
    assert MENDED[kind] <= done["mended"]
    assert len(done["as it is"]) > 12


def settings_of_ours(kind: str) -> Iterator[str]:
    """Give overrides that change one setting of the model or of its parts."""
    catalogue = Catalogue()
    for group in GROUPS:
        yield from (f"{group}={option}" for option in catalogue.groups[group])
    hints = get_type_hints(Transformer.__init__)
    for group in ("model", *GROUPS):
        node: Any = OmegaConf.to_container(composed(kind)[group])
        for name, value in node.items():
            literal = [word for word in get_args(hints.get(name)) if isinstance(word, str)]
            for other in literal if group == "model" and literal else others(value):
                yield f"{group}.{name}={str(other).lower()}"


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_every_setting_of_ours(tmp_path: Path, kind: str) -> None:
    checkpoint(kind, tmp_path)
    expected = theirs(kind, tmp_path)
    assert expected is not None
    mended = set()
    for override in settings_of_ours(kind):
        try:
            ours(kind, override)
        except (UserError, OmegaConfBaseException):  # no model, of whatever checkpoint
            continue
        found, refusals = loaded(kind, tmp_path, override)
        assert found is not None, override
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5, msg=override)
        if refusals:
            mended.add(override.partition("=")[0])
    assert {*GROUPS, "model.num_heads", "model.ffn", "norm.eps", "attention.scale"} <= mended
