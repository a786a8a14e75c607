"""Some of a parent's layers; all else is the parent's."""

from pathlib import Path

import pytest
import torch

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.transform import Fresh, Truncate
from tests.method.test_theseus import DIGITS, logits, model


@pytest.mark.parametrize(("layers", "kept"), [("first", [0, 1]), ("every_nth", [2, 5])])
def test_keeps_these_layers_and_all_else(layers: str, kept: list[int]) -> None:
    parent, child = model(6), model(2, 1)
    Truncate(layers).apply(parent, child)  # type: ignore[arg-type]
    for block, place in zip(child.blocks, kept, strict=True):
        theirs = parent.blocks[place].state_dict()
        assert all(torch.equal(v, theirs[k]) for k, v in block.state_dict().items())
    for name in ("embedding", "position", "classifier"):
        theirs = getattr(parent, name).state_dict()
        assert all(torch.equal(v, theirs[k]) for k, v in getattr(child, name).state_dict().items())
    parent.blocks = parent.blocks[:0].extend([parent.blocks[i] for i in kept])
    assert torch.equal(logits(parent), logits(child))


def test_first_needs_no_divisor() -> None:
    Truncate().apply(model(6), model(4))
    with pytest.raises(
        ValueError, match=r"not divisible into 4 groups; use transform.layers=first"
    ):
        Truncate("every_nth").apply(model(6), model(4))


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="the child has 3 layers, its parent only 2"):
        Truncate().apply(model(2), model(3))
    with pytest.raises(ValueError, match=r"classifier\.weight has shape .* only the number of lay"):
        Truncate().apply(model(2, num_outputs=4), model(1))
    with pytest.raises(ValueError, match="keeps some blocks, which Linear has not"):
        Truncate().apply(torch.nn.Linear(1, 1), model(1))
    with pytest.raises(UserError, match="transform=truncate needs parent"):
        resolve([*DIGITS, "transform=truncate"])


def test_from_a_checkpoint_with_the_parents_classifier(tmp_path: Path) -> None:
    """The author's start: layers as they were pretrained, the classifier of the predecessor."""
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=11,
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=12,
        layer_norm_eps=1e-5,
    )
    torch.manual_seed(3)
    bert = transformers.BertModel(config)
    bert.save_pretrained(tmp_path)
    like_bert = {"bias": True, "embedding_norm": True, "num_segments": 2, "pooler": True}
    parent, child = model(4, **like_bert), model(2, 1, **like_bert)
    before = {name: value.clone() for name, value in parent.state_dict().items()}
    Truncate(source=str(tmp_path)).apply(parent, child)
    assert torch.equal(child.embedding.weight, bert.embeddings.word_embeddings.weight)
    theirs = bert.encoder.layer[1].output.dense.weight
    assert torch.equal(child.blocks[1].feed_forward.output.weight, theirs)
    assert torch.equal(child.classifier.weight, before["classifier.weight"])
    assert all(torch.equal(value, before[name]) for name, value in parent.state_dict().items())


def test_fresh_copies_nothing() -> None:
    child = model(2, 1)
    before = {name: value.clone() for name, value in child.state_dict().items()}
    Fresh()(model(6), child)
    assert all(torch.equal(value, before[name]) for name, value in child.state_dict().items())
    with pytest.raises(ValueError, match=r"Fresh starts from another run's weights"):
        Fresh()(None, child)
