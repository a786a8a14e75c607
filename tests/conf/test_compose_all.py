"""Every option composes; every pair of options trains a step or is refused with its reason."""

import itertools
from pathlib import Path

import pytest
import torch
from omegaconf import open_dict

from suexp.code.instantiate import instantiate
from suexp.config.compose import _compose, resolve
from suexp.errors import UserError
from suexp.experiment.plan import plan
from suexp.folders import conf_dir, experiments_dir
from suexp.job.build import build
from suexp.task.base import Task
from suexp.task.closed_form import ClosedForm
from tests.support.companions import OPTIONS, with_companions

GROUPS = ("attention", "position", "mask", "model", "task")
SMALL = ("data.batch_size=2", "trainer.enable_progress_bar=false", "threads=1")


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def text_of(group: str, option: str) -> str:
    return (conf_dir() / group / f"{option}.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("choice", OPTIONS)
def test_every_option_composes_as_it_is_or_with_what_is_advised(choice: str) -> None:
    group, option = choice.split("=")
    resolved = resolve(with_companions(choice))
    if group != "scale" and resolved.config.get(group):
        assert resolved.choices[group] == option


def test_a_run_is_composed_without_hydra_s_own_groups() -> None:
    """It is the same; what is said to Hydra itself has them composed."""
    bare, whole = (_compose(("optimizer=lion", *said)) for said in ((), ("hydra.verbose=true",)))
    groups = {group for group in whole.hydra.runtime.choices if group.startswith("hydra/")}
    assert {"hydra/launcher", "hydra/sweeper", "hydra/job_logging"} <= groups
    assert not {group for group in bare.hydra.runtime.choices if group.startswith("hydra/")}
    for config in (bare, whole):
        with open_dict(config):
            del config["hydra"]
    assert bare == whole


# tests/experiments runs smoke, and composes laptop where a run of it is recorded.
SCALES = [(name, "paper") for name in options("experiment")] + [
    (name, "laptop")
    for name in options("experiment")
    if not (experiments_dir() / name / "results.json").is_file()
]


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "scale"), SCALES)
def test_every_experiment_composes_at_every_scale(experiment: str, scale: str) -> None:
    (item,) = plan([f"experiment={experiment}", f"scale={scale}"])
    assert item.header is not None
    assert item.header["claims"]
    assert len(item.runs()) == len(item.header["arms"]) * len(item.seeds)


# Densities, and the task that each is for.
DENSITIES = {
    "vae": "autoencoding",
    "bernoulli_vae": "autoencoding",
    "ppca": "density_fit",
    "gaussian": "density_fit",
    "gmm": "density_fit",
}
# Energies, and the tasks that they are for.
ENERGIES = {"energy_mlp": "score_energy", "gan_energy": "score_generator"}
# Classifiers by a formula.
CLOSED = ("analytic_classification", "hessian_bound")
# Tasks that only count their draws, and models that have no place for an option of a group.
ESTIMATIONS = {t for t in options("task") if "data: counter" in text_of("task", t)}


def stands_for_its_group(a: str, x: str, b: str, y: str) -> bool:
    """Where every option of a group is refused alike, the first is enough."""
    takes = f"${{{a}}}" in text_of(b, y)
    return takes or (b == "task" and y not in ESTIMATIONS) or x == options(a)[0]


# The pairs among attention, position and mask are in tests/contracts/test_model.py.
PAIRS = [
    (f"{a}={x}", f"{b}={y}")
    for a, b in itertools.combinations(GROUPS, 2)
    if b in ("model", "task")
    for x in options(a)
    for y in options(b)
    if stands_for_its_group(a, x, b, y)
]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(pair))
def test_a_pair_trains_a_step_or_is_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    chosen = dict(item.split("=") for item in pair)
    extra = list(SMALL)
    if chosen.get("model") in ENERGIES or chosen.get("task") in ENERGIES.values():
        extra += [] if "task" in chosen else [f"task={ENERGIES[chosen['model']]}"]
        extra += [] if chosen.get("model") not in (None, *ENERGIES) else ["model.dim=8"]
    elif chosen.get("model", "").startswith("gan_") or chosen.get("task") == "adversarial":
        extra += [] if "task" in chosen else ["task=adversarial"]
        extra += [] if "model" in chosen else ["model.dim=8"]
        extra += ["data=digits", "model.width=2"] if chosen.get("model") == "gan_dcgan" else []
    elif chosen.get("model") in DENSITIES or chosen.get("task") in DENSITIES.values():
        extra += [] if "task" in chosen else [f"task={DENSITIES[chosen['model']]}"]
        extra += ["data=digits", "data.dequantize=true"]
        if chosen.get("model") == "bernoulli_vae":
            images = (
                b"\0\0\x08\x03" + bytes([0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 2]) + bytes(range(36))
            )
            (tmp_path / "images").write_bytes(images)
            extra = [*extra[:-2], "data=idx", f"data.images={tmp_path}/images"]
            extra += ["data.pixels=binary", "data.val_fraction=0.5"]
    elif chosen.get("task") == "word_hashing" or chosen.get("data") == "ngram_bags":
        extra += ["data=ngram_bags", *([] if "task" in chosen else ["task=word_hashing"])]
        extra += ["data.max_rows=500", "data.vocab_size=50"]
    elif chosen.get("model", "").startswith("hash_") or chosen.get("task") == "hashing":
        extra += ["data=digits", *([] if "task" in chosen else ["task=hashing"])]
    elif chosen.get("model") == "heat" or chosen.get("task") == "heat":
        extra += ["data=digits", *([] if "task" in chosen else ["task=heat"])]
        small = ["model.dim=8", "model.width=4"]
        extra += [] if chosen.get("model") not in (None, "heat") else small
    elif chosen.get("model") == "dgcnn_tagger" or chosen.get("task") == "sentence_extraction":
        extra += [] if "task" in chosen else ["task=sentence_extraction"]
        extra += ["data=docstring_extract"]
        extra += [] if chosen.get("model") not in (None, "dgcnn_tagger") else ["model.dim=8"]
    elif chosen.get("model") == "conv_classifier":
        extra += [] if "task" in chosen else ["task=classification"]
        extra += ["data=digits", "model.dim=8", "model.width=4"]
    elif chosen.get("task") == "regression":
        extra += ["data=sklearn", "data.name=diabetes"]
        extra += [] if "model" in chosen else ["model.dim=8"]
    elif chosen.get("model") in ("mlp", "resnet"):
        extra += [] if "task" in chosen else ["task=classification"]
        extra += ["data=digits", f"model.{'dim' if chosen['model'] == 'mlp' else 'width'}=8"]
    elif chosen.get("model") == "linear":
        extra += ["data=sklearn"] if "task" in chosen else ["task=classification", "data=sklearn"]
    elif chosen.get("task") in CLOSED and "model" not in chosen:
        extra += ["data=sklearn"]
    elif chosen.get("task") not in ESTIMATIONS:
        extra += ["model.dim=8", "data.block_size=12", "data.tokenizer=bytes"]
        if chosen.get("task") in CLOSED:
            extra += ["data=docstring_topic"]
        if chosen.get("model") == "bag_encoder":
            extra += [] if "task" in chosen else ["task=matching"]
        elif chosen.get("model") in ("bilstm", "conv_tagger"):
            extra += [] if "task" in chosen else ["task=tagging"]
        elif chosen.get("model") == "univae":
            extra += ["model.num_heads=2", *([] if "task" in chosen else ["task=autoencode_text"])]
        else:
            extra += ["model.num_heads=2"]
        twice = "univae" in chosen.values() or "autoencode_text" in chosen.values()
        if twice and chosen.get("position") in ("learned", "hierarchical"):
            extra += ["position.max_length=24"]  # a row has its text twice
        if chosen.get("task") == "seq2seq":
            extra += ["data.block_size=160"]
        elif chosen.get("mask") == "prefix":
            extra += ["mask.length=4"]
        if "task" not in chosen and chosen.get("model") == "tta":
            extra += ["task=autoencode_lm"]
        elif "task" not in chosen and chosen.get("mask") in ("bidirectional", "exclude_self"):
            extra += ["task=masked_lm"]
    try:
        config = resolve([*pair, *extra, f"out={tmp_path}"]).config
    except UserError as error:
        reason = str(error)
        refusals = ("cannot be combined with", " needs ", "which this config lacks")
        assert any(refusal in reason for refusal in refusals), reason
        assert "\n" not in reason
        return
    data = instantiate(config["data"])
    task = build(config, data)
    if not isinstance(task, Task):
        return
    rows = data.splits()["train"][:2]
    batch = data.collate(
        [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
    )
    if isinstance(task, ClosedForm):
        task.accumulate(batch)
        assert task.sums
        return
    loss = task.objective(batch)
    loss.backward()
    gradients = [p.grad for p in task.model.parameters() if p.grad is not None]
    assert torch.isfinite(loss)
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
