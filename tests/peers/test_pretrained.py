"""Checkpoints of transformers' BERT and GPT-2, written to a folder, load into our model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from suexp.attention import EntropyInvariant, Softmax
from suexp.errors import UserError
from suexp.init import Default
from suexp.mask import Bidirectional, Causal
from suexp.model import Transformer
from suexp.norm import Layer
from suexp.position import Learned
from suexp.transform import Pretrained

peer = pytest.importorskip("transformers")
pytestmark = pytest.mark.peer

BERT = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 20,
    "type_vocab_size": 2,
}
GPT2 = {
    "vocab_size": 50,
    "n_positions": 20,
    "n_embd": 16,
    "n_layer": 3,
    "n_head": 2,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


def ours(**changes: Any) -> Transformer:
    arguments = {
        "vocab_size": 50,
        "attention": Softmax(),
        "position": Learned(12, 16),
        "norm": Layer(16, eps=1e-12),
        "mask": Bidirectional(),
        "init": Default(),
        "dim": 16,
        "num_layers": 3,
        "num_heads": 2,
        "norm_order": "post",
        "bias": True,
        "num_segments": 2,
        "embedding_norm": True,
    }
    return Transformer(**(arguments | changes)).eval()


def saved(model: torch.nn.Module, folder: Path, **options: Any) -> str:
    """Give biases and gains values that show, and write the checkpoint as the hub has it."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.eval().save_pretrained(folder, **options)  # type: ignore[operator]
    return str(folder)


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    keep = torch.arange(12) < torch.tensor([[12], [7], [1]])
    return {
        "tokens": torch.randint(50, (3, 12)),
        "segments": torch.randint(2, (3, 12)),
        "keep": keep,
    }


def theirs(model: Any, rows: dict[str, torch.Tensor]) -> Any:
    return model(
        input_ids=rows["tokens"],
        token_type_ids=rows["segments"],
        attention_mask=rows["keep"].long(),
    )


@torch.no_grad()
def test_bert_for_masked_tokens(tmp_path: Path) -> None:
    model = peer.BertForMaskedLM(peer.BertConfig(**BERT))
    child, rows = ours(head="mlm"), batch()
    Pretrained(saved(model, tmp_path))(None, child)
    expected = theirs(model, rows).logits
    found = child(**rows)
    torch.testing.assert_close(found[rows["keep"]], expected[rows["keep"]], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_bert_for_classification(tmp_path: Path) -> None:
    """The pooler and the classifier; a classifier of other classes stays as it was drawn."""
    model = peer.BertForSequenceClassification(peer.BertConfig(**BERT, num_labels=4))
    child, rows = ours(num_outputs=4, pooler=True, pool="first"), batch()
    source = saved(model, tmp_path)
    Pretrained(source)(None, child)
    torch.testing.assert_close(child(**rows), theirs(model, rows).logits, atol=1e-5, rtol=1e-5)
    other = ours(num_outputs=3, pooler=True, pool="first")
    drawn = other.classifier.weight.clone()
    Pretrained(source)(None, other)
    assert torch.equal(other.classifier.weight, drawn)
    assert torch.equal(other.pooler[0].weight, child.pooler[0].weight)


@torch.no_grad()
def test_bert_alone_gives_the_hidden_states(tmp_path: Path) -> None:
    model = peer.BertModel(peer.BertConfig(**BERT))
    child, rows = ours(num_outputs=2), batch()
    Pretrained(saved(model, tmp_path))(None, child)
    hidden = child.hidden(**rows)
    expected = theirs(model, rows).last_hidden_state
    torch.testing.assert_close(hidden[rows["keep"]], expected[rows["keep"]], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_gpt2(tmp_path: Path) -> None:
    model = peer.GPT2LMHeadModel(peer.GPT2Config(**GPT2))
    child = ours(
        norm=Layer(16),
        mask=Causal(),
        norm_order="pre",
        ffn="gelu_tanh",
        num_segments=0,
        embedding_norm=False,
    )
    Pretrained(saved(model, tmp_path))(None, child)
    tokens = batch()["tokens"]
    torch.testing.assert_close(child(tokens), model(tokens).logits, atol=1e-5, rtol=1e-5)


def test_old_names_and_torch_files(tmp_path: Path) -> None:
    """pytorch_model.bin with gamma and beta, as checkpoints of 2019 have it."""
    model = peer.BertForMaskedLM(peer.BertConfig(**BERT))
    source = saved(model, tmp_path)
    new = ours(head="mlm")
    Pretrained(source)(None, new)
    state = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in model.state_dict().items()
    }
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    old = ours(head="mlm")
    Pretrained(source)(None, old)
    assert all(torch.equal(a, b) for a, b in zip(new.parameters(), old.parameters(), strict=True))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"num_layers": 2},
            r"num_hidden_layers is 3, model\.num_layers 2; set model\.num_layers=3$",
        ),
        ({"num_layers": 4}, r"set model\.num_layers=3$"),
        ({"dim": 32, "norm": Layer(32), "position": Learned(12, 32)}, r"set model\.dim=16 "),
        ({"position": Learned(30, 16)}, r"max_position_embeddings is 20, position\.max_length 30"),
        ({"vocab_size": 60}, r"vocab_size is 50, the data's vocabulary 60$"),
        ({"embedding_norm": False}, r"model\.embedding_norm=true, the model false; set "),
        ({"mask": Causal()}, r"is_decoder is false, mask causal; set mask=bidirectional; if it is"),
        ({"num_heads": 4}, r"num_attention_heads is 2, model\.num_heads 4; .*differs=\[model\.num"),
        ({"ffn": "relu"}, r"hidden_act is gelu, model\.ffn relu; set model\.ffn=gelu"),
        ({"norm": Layer(16)}, r"layer_norm_eps is 1e-12, norm\.eps 1e-05; set norm\.eps=1e-12"),
        ({"num_segments": 0}, r"type_vocab_size is 2, model\.num_segments 0; set model\.num_segm"),
        (
            {"attention": EntropyInvariant()},
            r"attention=softmax, the model entropy_inv.*; set attention=softmax",
        ),
    ],
)
def test_another_architecture(tmp_path: Path, changes: dict[str, Any], line: str) -> None:
    source = saved(peer.BertModel(peer.BertConfig(**BERT)), tmp_path)
    with pytest.raises(UserError, match=line) as caught:
        Pretrained(source)(None, ours(num_outputs=2, **{"norm": Layer(16, eps=1e-12), **changes}))
    assert "\n" not in str(caught.value)


def test_what_is_meant_to_differ_is_named(tmp_path: Path) -> None:
    source = saved(peer.BertModel(peer.BertConfig(**BERT)), tmp_path)
    child = ours(num_outputs=2, mask=Causal(), ffn="relu")
    with pytest.raises(UserError, match=r"transform\.differs=\[model\.ffn\]$"):
        Pretrained(source, differs=["mask"])(None, child)
    Pretrained(source, differs=["mask", "hidden_act"])(None, child)  # a field, or our setting
    with pytest.raises(UserError, match=r"does not fit the model: it has no blocks\.3"):
        Pretrained(source, differs=["model.num_layers"])(None, ours(num_outputs=2, num_layers=4))


@pytest.mark.parametrize("said", [True, False])
@torch.no_grad()
def test_an_output_layer_of_its_own(tmp_path: Path, said: bool) -> None:
    """The table that is not tied, and its bias; also where config.json says that they are tied."""
    model = peer.BertForMaskedLM(peer.BertConfig(**BERT, tie_word_embeddings=False))
    source, rows = saved(model, tmp_path), batch()
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "tie_word_embeddings": said}))
    expected = theirs(peer.BertForMaskedLM.from_pretrained(tmp_path).eval(), rows).logits
    child = ours(head="mlm", tie_embeddings=False)
    Pretrained(source)(None, child)
    assert not torch.equal(child.output.weight, child.embedding.weight)
    torch.testing.assert_close(child(**rows)[0], expected[0], atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match=r"; set model\.tie_embeddings=false"):
        Pretrained(source)(None, ours(head="mlm"))
    Pretrained(source)(None, ours(num_outputs=2))  # of which a classifier takes nothing


@torch.no_grad()
def test_an_output_layer_of_gpt2_s_own(tmp_path: Path) -> None:
    model = peer.GPT2LMHeadModel(peer.GPT2Config(**GPT2, tie_word_embeddings=False))
    source, tokens = saved(model, tmp_path), batch()["tokens"]
    settings = {"norm": Layer(16), "mask": Causal(), "norm_order": "pre", "ffn": "gelu_tanh"}
    settings |= {"num_segments": 0, "embedding_norm": False}
    child = ours(**settings, tie_embeddings=False)
    Pretrained(source)(None, child)
    torch.testing.assert_close(child(tokens), model(tokens).logits, atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match=r"; set model\.tie_embeddings=false"):
        Pretrained(source)(None, ours(**settings))


@torch.no_grad()
def test_a_classifier_needs_what_it_was_trained_behind(tmp_path: Path) -> None:
    model = peer.BertForSequenceClassification(peer.BertConfig(**BERT, num_labels=4))
    source = saved(model, tmp_path)
    with pytest.raises(UserError, match=r"; set model\.pool=first model\.pooler=true"):
        Pretrained(source)(None, ours(num_outputs=4))
    Pretrained(source)(None, ours(num_outputs=3))
    tagger = ours(num_labels=4)
    drawn = tagger.classifier.weight.clone()
    Pretrained(source)(None, tagger)  # of another task
    assert torch.equal(tagger.classifier.weight, drawn)


@torch.no_grad()
def test_a_tagger(tmp_path: Path) -> None:
    model = peer.BertForTokenClassification(peer.BertConfig(**BERT, num_labels=4))
    child, rows = ours(num_labels=4), batch()
    Pretrained(saved(model, tmp_path))(None, child)
    keep = rows["keep"]
    expected = theirs(model, rows).logits[keep]
    torch.testing.assert_close(child(**rows)[keep], expected, atol=1e-5, rtol=1e-5)


def test_names_of_a_model_that_was_trained_in_parallel(tmp_path: Path) -> None:
    model = peer.BertModel(peer.BertConfig(**BERT))
    source = saved(model, tmp_path)
    plain, parallel = ours(num_outputs=2), ours(num_outputs=2)
    Pretrained(source)(None, plain)
    (tmp_path / "model.safetensors").unlink()
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save(state, tmp_path / "pytorch_model.bin")
    Pretrained(source)(None, parallel)
    assert torch.equal(
        plain.blocks[2].attention.qkv.weight, parallel.blocks[2].attention.qkv.weight
    )


def test_damaged_files(tmp_path: Path) -> None:
    source = saved(peer.BertModel(peer.BertConfig(**BERT)), tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged or cut short"):
        Pretrained(source)(None, ours(num_outputs=2))
    weights.unlink()
    with pytest.raises(UserError, match=r"has none of model\.safetensors, .*, pytorch_model\.bin"):
        Pretrained(source)(None, ours(num_outputs=2))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}), encoding="utf-8")
    with pytest.raises(UserError, match="a checkpoint of t5; what can be read is bert, gpt2"):
        Pretrained(source)(None, ours(num_outputs=2))
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        Pretrained(source)(None, ours(num_outputs=2))


def test_a_source_is_needed_and_replaces_the_parent(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"transform\.source is not set"):
        Pretrained()
    with pytest.raises(ValueError, match="leave out parent"):
        Pretrained(str(tmp_path))(ours(), ours())
    with pytest.raises(UserError, match=r"no folder \./nowhere"):
        Pretrained("./nowhere")(None, ours())
