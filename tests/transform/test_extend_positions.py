from pathlib import Path
from typing import Any

import pytest
import torch

import suexp
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.position import Hierarchical
from suexp.transform import ExtendPositions, Pretrained
from suexp.transform.extend_positions import KINDS, interpolate

SMALL = ("data.tokenizer=bytes", "model.dim=8", "model.num_heads=2", "task=masked_lm")
SHORT, LONG = "data.block_size=6", "data.block_size=24"


def model(*overrides: str) -> Any:
    return suexp.build(suexp.compose([*SMALL, *overrides])).model.eval()  # type: ignore[attr-defined, union-attr]


@pytest.fixture(scope="module")
def parent() -> Any:
    return model("position=learned", SHORT)


def child(*overrides: str) -> Any:
    return model("seed=1", "position=learned", LONG, *overrides)


def shared(*overrides: str) -> Any:
    return model("seed=1", "position=hierarchical", "position.base_length=6", LONG, *overrides)


TEXT = torch.randint(256, (2, 24), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_short_texts_are_read_as_before_where_the_first_rows_stay(parent: Any, kind: Any) -> None:
    made = child()
    ExtendPositions(kind).apply(parent, made)
    table, old = made.position.embedding.weight, parent.position.embedding.weight
    stays = kind not in ("interpolate", "fresh")
    assert torch.equal(table[:6], old) == stays
    difference = (made(TEXT[:, :6]) - parent(TEXT[:, :6])).abs().max()
    assert (difference < 1e-6) == stays
    assert made(TEXT).isfinite().all()
    for name, value in parent.state_dict().items():
        if not name.startswith("position."):
            assert torch.equal(made.state_dict()[name], value), name


def test_both_ways_of_keeping_hierarchical_codes_agree(parent: Any) -> None:
    one, other = child(), shared()
    ExtendPositions().apply(parent, one)
    ExtendPositions().apply(parent, other)
    assert len(other.position.embedding.weight) == 6
    torch.testing.assert_close(one(TEXT), other(TEXT), atol=1e-6, rtol=0)
    assert torch.equal(other(TEXT[:, :6]), parent(TEXT[:, :6]))


def test_the_other_tables() -> None:
    torch.manual_seed(0)
    table = torch.randn(4, 300)
    assert torch.equal(KINDS["tile"](table, 6, 0.4), table[[0, 1, 2, 3, 0, 1]])
    assert torch.equal(KINDS["repeat_last"](table, 6, 0.4), table[[0, 1, 2, 3, 3, 3]])
    stretched = interpolate(table, 7, 0.4)
    torch.testing.assert_close(stretched[::2], table)
    torch.testing.assert_close(stretched[1], (table[0] + table[1]) / 2)
    for kind, first in (("random", 4), ("fresh", 0)):
        drawn = KINDS[kind](table, 16, 0.4)[first:]
        assert drawn.std() == pytest.approx(table.std().item(), rel=0.05)


def test_a_classifier_keeps_its_own_head(parent: Any) -> None:
    made = model("task=classification", "data=docstring_topic", "position=learned", LONG)
    with pytest.raises(ValueError, match=r"the child has classifier"):
        ExtendPositions().apply(parent, made)
    before = made.classifier.weight.clone()
    ExtendPositions(leave_out=["classifier"]).apply(parent, made)
    assert torch.equal(made.classifier.weight, before)
    assert torch.equal(made.position.embedding.weight[:6], parent.position.embedding.weight)


@pytest.mark.slow
def test_what_cannot_be_extended_is_refused_in_one_line(parent: Any) -> None:
    extend = ExtendPositions()
    for name in ("rope", "alibi", "sinusoidal"):
        other = model(f"position={name}", SHORT)
        with pytest.raises(ValueError, match=f"no learned position table.* position={name}; give"):
            extend.apply(other, child())
        with pytest.raises(ValueError, match="child has no table of positions: use position=lear"):
            extend.apply(parent, model(f"position={name}", SHORT))
    with pytest.raises(ValueError, match=r"reach n\*n = 36; asked for position.max_length 37"):
        extend.apply(parent, model("position=learned", "data.block_size=37"))
    ExtendPositions("tile").apply(parent, model("position=learned", "data.block_size=37"))
    with pytest.raises(ValueError, match="the parent has 24 positions, the child 6"):
        extend.apply(child(), parent)
    with pytest.raises(ValueError, match=r"position.base_length is 6, the parent has 24"):
        extend.apply(child(), shared())
    with pytest.raises(ValueError, match=r"position.alpha is 0.1, transform.alpha 0.4"):
        extend.apply(parent, shared("position.alpha=0.1"))
    with pytest.raises(ValueError, match="kind=tile makes rows of its own: use position=learned"):
        ExtendPositions("tile").apply(parent, shared())
    with pytest.raises(ValueError, match=r"hierarchical already: set position.max_length up to 36"):
        extend.apply(shared(), child())
    with pytest.raises(ValueError, match=r"alpha=0.5 gives positions"):
        ExtendPositions(alpha=0.5)


def test_is_refused_at_composition_without_parent_or_table() -> None:
    with pytest.raises(UserError, match=r"transform=extend_positions needs parent"):
        resolve(["position=learned", "transform=extend_positions"])
    with pytest.raises(
        UserError, match=r"extend_positions needs position=learned or position=hier"
    ):
        resolve(["position=rope", "transform=extend_positions", "parent=['seed=1']"])
    resolved = resolve(
        [
            "position=hierarchical",
            "position.alpha=0.3",
            "transform=extend_positions",
            "parent=['position=learned']",
        ]
    )
    assert resolved.config["transform"]["alpha"] == 0.3
    with pytest.raises(UserError, match=r"transform\.kind: .*tiles"):
        resolve(
            [
                "position=learned",
                "parent=['seed=1']",
                "transform=extend_positions",
                "transform.kind=tiles",
            ]
        )


def test_lengthening_hierarchical_positions_further_is_a_copy() -> None:
    short, longer = shared("data.block_size=12"), shared()
    longer.load_state_dict(short.state_dict())
    assert isinstance(longer.position, Hierarchical)
    assert torch.equal(longer(TEXT[:, :12]), short(TEXT[:, :12]))


def test_a_checkpoint_reads_longer_texts_and_short_ones_as_before(tmp_path: Path) -> None:
    """BERT's table goes straight into hierarchical positions, or through a stage into others."""
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=259,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=6,
        type_vocab_size=2,
    )
    torch.manual_seed(3)
    bert = transformers.BertForMaskedLM(config).eval()
    bert.save_pretrained(tmp_path)
    like = ("model.dim=16", "model.num_layers=1", "model.bias=true", "model.norm_order=post")
    like += (
        "model.embedding_norm=true",
        "model.num_segments=2",
        "model.head=mlm",
        "norm.eps=1e-12",
    )
    hierarchical = shared(*like)
    Pretrained(str(tmp_path)).load(hierarchical)
    short, long = model("position=learned", SHORT, *like), child(*like)
    Pretrained(str(tmp_path)).load(short)
    ExtendPositions().apply(short, long)
    with torch.no_grad():
        theirs = bert(TEXT[:, :6]).logits
        for ours in (hierarchical, long):
            torch.testing.assert_close(ours(TEXT[:, :6]), theirs, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(hierarchical(TEXT), long(TEXT), atol=1e-5, rtol=1e-5)
