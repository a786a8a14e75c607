"""Checkpoints that were made to harm: one line each, nothing run, nothing loaded, little memory."""

import json
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file

from suexp.attention import Softmax
from suexp.errors import UserError
from suexp.init import Default
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.mask import Causal
from suexp.model import Transformer
from suexp.norm import Layer
from suexp.position import Learned
from suexp.transform import Pretrained, Truncate
from suexp.transform._hub_folder import FILES
from tests.code.test_untrusted import Trap
from tests.support.tiny import tiny

SIZES = {"vocab_size": 11, "n_embd": 4, "n_layer": 1, "n_head": 2, "n_positions": 6}
MOST_BYTES = 100 * 2**20
INDEX = "model.safetensors.index.json"


def model() -> Transformer:
    return Transformer(
        11,
        Softmax(),
        Learned(6, 4),
        Layer(4),
        Causal(),
        Default(),
        dim=4,
        num_layers=1,
        num_heads=2,
        ffn="gelu_tanh",
        bias=True,
    )


def weights() -> dict[str, torch.Tensor]:
    """Return the tensors of a GPT-2 of one layer."""
    block = {"ln_1": (4,), "ln_2": (4,), "attn.c_attn": (4, 12), "attn.c_proj": (4, 4)}
    block |= {"mlp.c_fc": (4, 16), "mlp.c_proj": (16, 4)}
    shapes = {"wte.weight": (11, 4), "wpe.weight": (6, 4), "ln_f.weight": (4,), "ln_f.bias": (4,)}
    for name, shape in block.items():
        shapes |= {f"h.0.{name}.weight": shape, f"h.0.{name}.bias": shape[-1:]}
    torch.manual_seed(0)
    return {name: torch.randn(shape) for name, shape in shapes.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a checkpoint that loads."""
    path = tmp_path / "gpt2"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "gpt2", **SIZES}))
    save_file(weights(), path / "model.safetensors")
    return path


def peak_bytes() -> int:
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0])


def refused(folder: Path) -> str:
    """Return the line, after looking at the memory and the model."""
    built = model()
    before = {name: value.clone() for name, value in built.state_dict().items()}
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    started = peak_bytes()
    with pytest.raises(UserError) as caught:
        Pretrained(str(folder)).load(built)
    assert peak_bytes() - started < MOST_BYTES
    assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800
    return str(caught.value)


def header(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change what the file says of its tensors."""
    content = save(weights())
    size = struct.unpack("<Q", content[:8])[0]
    said = json.loads(content[8 : 8 + size])
    edit(said)
    text = json.dumps(said).encode()
    whole = struct.pack("<Q", len(text)) + text + content[8 + size :]
    (folder / "model.safetensors").write_bytes(whole)


def of_eight_exabytes(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**63) + b"{}")


def cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-40])


def negative(folder: Path) -> None:
    header(folder, lambda said: said["wpe.weight"].update(data_offsets=[-96, 0]))


def overlapping(folder: Path) -> None:
    header(folder, lambda said: said["wpe.weight"].update(said["ln_f.bias"]))


def past_the_end(folder: Path) -> None:
    header(
        folder, lambda said: said["wpe.weight"].update(shape=[2**40, 4], data_offsets=[0, 2**44])
    )


def sparse(folder: Path) -> None:
    """A file of 16 GB that takes no room: all three projections of 2**16 features."""
    text = json.dumps(
        {"wte.weight": {"dtype": "F32", "shape": [2**32], "data_offsets": [0, 2**34]}}
    )
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text.encode())
        file.truncate(8 + len(text) + 2**34)


def with_nan(folder: Path) -> None:
    state = weights()
    state["h.0.mlp.c_fc.weight"].fill_(torch.nan)
    save_file(state, folder / "model.safetensors")


def of_integers(folder: Path) -> None:
    state = weights()
    state["wte.weight"] = state["wte.weight"].to(torch.int8)
    save_file(state, folder / "model.safetensors")


def one_projection(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')
    save_file(
        {"encoder.layer.0.attention.self.query.weight": torch.ones(4, 4)},
        folder / "model.safetensors",
    )


def a_bomb(folder: Path) -> None:
    """A ZIP archive that unpacks to 1000 times its size."""
    (folder / "model.safetensors").unlink()
    torch.save({"wte.weight": torch.zeros(2**20)}, folder / "plain.bin")
    with (
        zipfile.ZipFile(folder / "plain.bin") as plain,
        zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))


def a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"x": Trap(folder / "sprung")}, folder / "pytorch_model.bin")


def more_than_tensors(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"step": 3, "model": weights()}, folder / "pytorch_model.bin")


def index(folder: Path, places: Any) -> None:
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))


def outside(folder: Path) -> None:
    index(folder, dict.fromkeys(weights(), "../outside.safetensors"))


def absolute(folder: Path) -> None:
    index(folder, dict.fromkeys(weights(), str(folder.parent / "outside.safetensors")))


def through_a_link(folder: Path) -> None:
    index(folder, dict.fromkeys(weights(), "model-1.safetensors"))
    (folder / "model-1.safetensors").symlink_to(folder.parent / "outside.safetensors")


def shard_missing(folder: Path) -> None:
    index(folder, dict.fromkeys(weights(), "model-1.safetensors"))


def tensor_missing(folder: Path) -> None:
    index(folder, dict.fromkeys([*weights(), "more"], "model-1.safetensors"))
    (folder.parent / "outside.safetensors").rename(folder / "model-1.safetensors")


def no_map(folder: Path) -> None:
    index(folder, ["model-1.safetensors"])


def config(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)


def config_of_a_gigabyte(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.write(b"{")
        file.truncate(2**30)


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (of_eight_exabytes, "is damaged or cut short"),
        (cut_short, "is damaged or cut short"),
        (negative, "is damaged or cut short"),
        (overlapping, "is damaged or cut short"),
        (past_the_end, "is damaged or cut short"),
        (sparse, r"wte|embedding\.weight has shape \(4294967296,\)|vocab"),
        (with_nan, r"feed_forward\.input\.weight holds nan or infinity"),
        (of_integers, r"embedding\.weight holds torch\.int8, not floating-point numbers"),
        (one_projection, "is not what the model is"),
        (a_bomb, "its parts are packed, which torch's own never are"),
        (a_pickle, "holds more than weights and state, of which nothing was run"),
        (more_than_tensors, "holds more than a name and a tensor each"),
        (outside, "leads out of its folder, to '../outside.safetensors'; it is not followed"),
        (absolute, "leads out of its folder"),
        (through_a_link, "leads out of its folder, to 'model-1.safetensors'"),
        (shard_missing, "names model-1.safetensors, which is missing"),
        (tensor_missing, "promises 'more', which model-1.safetensors lacks"),
        (no_map, "has no weight_map from tensors to files"),
        (config_of_a_gigabyte, r"config\.json cannot be read: it is larger than 16 MiB"),
        (lambda f: config(f, "[" * 10**5), r"config\.json cannot be read: maximum recursion"),
        (lambda f: config(f, '{"a":' * 10**5), r"config\.json cannot be read: maximum recursion"),
        (lambda f: config(f, "[1]"), r"config\.json holds no settings"),
        (lambda f: config(f, '{"n_embd": ' + "9" * 10**4 + "}"), r"config\.json cannot be read"),
        (lambda f: config(f, '{"model_type": ["gpt2"]}'), r'a checkpoint of \["gpt2"\]'),
        (lambda f: config(f, '{"model_type": "gpt2", "n_embd": 0}'), "n_embd is 0, model.dim 4"),
        (lambda f: config(f, '{"model_type": "gpt2", "n_layer": [1]}'), r"n_layer is \[1\]"),
        (
            lambda f: config(
                f, json.dumps({"model_type": "gpt2", **SIZES, "x" * 999: "y" * 10**6})
            ),
            r"yyy\.\.\., which no setting does",
        ),
    ],
)
def test_one_line_and_nothing_loaded(folder: Path, harm: Callable[[Path], None], line: str) -> None:
    harm(folder)
    assert re.search(line, refused(folder))
    assert not (folder / "sprung").exists()


def test_the_checkpoint_itself_loads_whole_or_in_parts(folder: Path) -> None:
    whole, parts = model(), model()
    Pretrained(str(folder)).load(whole)
    state = weights()
    assert torch.equal(whole.embedding.weight, state["wte.weight"])
    names = sorted(state)
    (folder / "model.safetensors").unlink()
    places = {name: f"model-{1 + (i > 5)}.safetensors" for i, name in enumerate(names)}
    for file in sorted(set(places.values())):
        save_file({n: state[n] for n in names if places[n] == file}, folder / file)
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    Pretrained(str(folder)).load(parts)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name])


def test_the_hub_s_cache_is_made_of_links(folder: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "repo" / "blobs", tmp_path / "repo" / "snapshots" / "main"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    index(folder, dict.fromkeys(weights(), "model-1.safetensors"))
    (tmp_path / "outside.safetensors").rename(blobs / "0")
    (folder / INDEX).rename(blobs / "1")
    (folder / "config.json").rename(blobs / "2")
    names = ("model-1.safetensors", INDEX, "config.json")
    for number, name in enumerate(names):
        (snapshot / name).symlink_to(blobs / str(number))
    Pretrained(str(snapshot)).load(model())


def test_what_reads_a_checkpoint_s_folder_knows_all_of_its_files() -> None:
    assert {*Pretrained.paths["source"]} == {*FILES} == {*Truncate.paths["source"]}


def test_a_run_fails_as_by_a_mistake(folder: Path, tmp_path: Path) -> None:
    settings = ("position=learned", "model.ffn=gelu_tanh", "model.bias=true", "model.dim=4")
    settings += ("transform=pretrained", f"transform.source={folder}")
    summary = execute(spec_of(tiny(tmp_path, *settings)))
    assert summary.mistake
    assert "n_layer is 1, model.num_layers 2; " in summary.error
    assert not (summary.folder / "checkpoints").exists()
