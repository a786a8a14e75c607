"""A parent saved in the hub's format and read again, as what it is and as something else."""

import inspect
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from suexp.attention import EntropyInvariant, Softmax
from suexp.errors import UserError
from suexp.init import Default
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.mask import Bidirectional, Causal
from suexp.model import Transformer
from suexp.norm import Layer
from suexp.position import Learned, Rope
from suexp.transform import Pretrained, Reload
from suexp.transform._export import save_hub
from tests.support.tiny import tiny


def network(seed: int = 0, **changes) -> Transformer:
    torch.manual_seed(seed)
    arguments = {
        "vocab_size": 50,
        "attention": Softmax(),
        "position": Learned(12, 16),
        "norm": Layer(16),
        "mask": Causal(),
        "init": Default(),
        "dim": 16,
        "num_layers": 3,
        "num_heads": 2,
        "ffn": "gelu_tanh",
        "bias": True,
    }
    model = Transformer(**(arguments | changes)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


WRONG = {"norm_order": "gpt2_ml", "embedding_norm": True}
TOKENS = torch.randint(50, (3, 12), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("changes", [{}, {"tie_embeddings": False}, {"ffn_multiplier": 2}])
def test_the_right_layout_is_the_parent_bit_for_bit(changes: dict) -> None:
    parent, child = network(**changes), network(1, **changes)
    Reload()(parent, child)
    assert torch.equal(child(TOKENS), parent(TOKENS))


def test_the_wrong_layout_moves_the_norms_and_nothing_else() -> None:
    parent, child = network(), network(1, **WRONG)
    Reload("gpt2_ml")(parent, child)
    assert torch.equal(child.embedding_norm.weight, parent.blocks[0].attention_norm.weight)
    for layer in range(3):
        after = parent.norm if layer == 2 else parent.blocks[layer + 1].attention_norm
        assert torch.equal(child.blocks[layer].feed_forward_norm.bias, after.bias)
        own = parent.blocks[layer].feed_forward_norm
        assert torch.equal(child.blocks[layer].attention_norm.weight, own.weight)
        for part in ("attention", "feed_forward"):
            theirs = getattr(parent.blocks[layer], part).state_dict()
            for name, value in getattr(child.blocks[layer], part).state_dict().items():
                assert torch.equal(value, theirs[name])


@torch.no_grad()
def test_only_the_residual_branch_of_attention_differs() -> None:
    """One layer by hand: with x_0 in the place of its norm there, the two are one network."""
    parent, child = network(num_layers=1), network(1, num_layers=1, **WRONG)
    Reload("gpt2_ml")(parent, child)
    places = torch.arange(12)
    block = parent.blocks[0]
    x = parent.embed(TOKENS, None, places)
    y = block.attention_norm(x)

    def ends(residual: torch.Tensor) -> torch.Tensor:
        z = residual + block.attention(y, Causal())
        return parent.logits(parent.norm(z + block.feed_forward(block.feed_forward_norm(z))))

    torch.testing.assert_close(parent(TOKENS), ends(x))
    torch.testing.assert_close(child(TOKENS), ends(y))
    assert (parent(TOKENS) - child(TOKENS)).abs().max() > 0.1


def test_a_child_of_the_other_layout_is_told_what_to_set() -> None:
    line = r"set model\.norm_order=gpt2_ml model\.embedding_norm=true"
    with pytest.raises(UserError, match=line):
        Reload("gpt2_ml")(network(), network())
    with pytest.raises(UserError, match=r"set model\.norm_order=pre model\.embedding_norm=false"):
        Reload()(network(), network(**WRONG))
    with pytest.raises(ValueError, match="layout must be one of gpt2, gpt2_ml, not gpt3"):
        inspect.unwrap(Reload.__init__)(Reload.__new__(Reload), "gpt3")
    with pytest.raises(ValueError, match=r"name that run with parent=\[\.\.\.\]"):
        Reload()(None, network())


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"mask": Bidirectional()}, "mask is bidirectional, not causal"),
        ({"norm_order": "post"}, "model.norm_order is post, not pre"),
        ({"position": Rope(8)}, "position is rope, not learned"),
        ({"attention": EntropyInvariant()}, "attention is entropy_invariant, not softmax"),
        ({"attention": Softmax(scale=0.3)}, r"attention.scale is 0.3, not 1.0"),
        ({"ffn": "swiglu"}, "model.ffn is swiglu, not gelu or gelu_tanh or relu"),
        ({"bias": False}, "model.bias is false, not true"),
        ({"key_dim": 4}, "model.key_dim and model.head_dim are not"),
        ({"num_outputs": 3}, "it is a classifier"),
        ({"sharing": "all"}, "model.sharing is all, not none"),
        ({"init": Default(parametrization="ntk")}, "init.parametrization is not standard"),
    ],
)
def test_what_is_no_gpt2_is_not_saved(tmp_path: Path, changes: dict, line: str) -> None:
    with pytest.raises(UserError, match=f"does not compute what the model does: .*{line}"):
        save_hub(network(**changes), tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_the_files_are_those_of_the_hub(tmp_path: Path) -> None:
    save_hub(network(ffn_multiplier=2), tmp_path / "a" / "b")
    config = json.loads((tmp_path / "a" / "b" / "config.json").read_text())
    assert (config["model_type"], config["n_inner"], config["n_positions"]) == ("gpt2", 32, 12)
    state = load_file(tmp_path / "a" / "b" / "model.safetensors")
    assert len(state) == 3 * 12 + 4
    assert state["transformer.h.2.attn.c_attn.weight"].shape == (16, 48)  # Conv1D: (in, out)
    assert state["transformer.h.0.mlp.c_proj.weight"].shape == (32, 16)


def test_both_prefixes_and_the_mask_buffers_of_old_files(tmp_path: Path) -> None:
    """The first file of gpt2 has no prefix, and its causal masks among the weights."""
    parent = network()
    save_hub(parent, tmp_path)
    file = tmp_path / "model.safetensors"
    state = {n.removeprefix("transformer."): x for n, x in load_file(file).items()}
    state |= {f"h.{i}.attn.bias": torch.ones(1, 1, 12, 12) for i in range(3)}
    state |= {f"h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(3)}
    file.unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    child = network(1)
    Pretrained(str(tmp_path))(None, child)
    assert torch.equal(child(TOKENS), parent(TOKENS))


def test_a_layout_is_one_of_gpt2(tmp_path: Path) -> None:
    save_hub(network(), tmp_path)
    child = network(1, **WRONG)
    Pretrained(str(tmp_path), layout="gpt2_ml")(None, child)
    twice = network(2, **WRONG)
    Reload("gpt2_ml")(network(), twice)
    assert torch.equal(child(TOKENS), twice(TOKENS))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match=r"a checkpoint of bert; transform.layout=gpt2 reads those"):
        Pretrained(str(tmp_path), layout="gpt2")(None, child)


def test_in_a_run(tmp_path: Path) -> None:
    """No step, the same loss; the wrong layout, another one."""
    model = ["position=learned", "model.bias=true", "model.ffn=gelu_tanh", "model.dropout=0"]
    parent = tiny(tmp_path, *model, "trainer.max_steps=2", "trainer.val_check_interval=2")
    wrong = ["model.norm_order=gpt2_ml", "model.embedding_norm=true", "transform.layout=gpt2_ml"]
    losses = [execute(spec_of(parent)).metrics["val/loss"]]
    for more in ([], wrong):
        quoted = ",".join(f"'{item}'" for item in ["trainer.max_steps=2"])
        child = [*parent, "transform=reload", f"parent=[{quoted}]", "trainer.max_steps=0", *more]
        if more:
            quoted += ",'model.norm_order=pre','model.embedding_norm=false'"
            child[len(parent) + 1] = f"parent=[{quoted}]"
        summary = execute(spec_of(child))
        assert summary.status == "finished", summary.error
        losses.append(summary.metrics["val/loss"])
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert losses[2] != pytest.approx(losses[0], abs=1e-6)
