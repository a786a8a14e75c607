"""Start from a checkpoint in the hub's format."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import nn

from suexp.errors import UserError, one_of
from suexp.model.transformer import Transformer
from suexp.position.learned import Learned
from suexp.tensors import first_with
from suexp.transform._differences import differences, refusal, short
from suexp.transform._hub_config import LAYER_SCALE, Asked, Config, asked
from suexp.transform._hub_folder import locate, read_json, read_weights, refuse_tensorflow
from suexp.transform._names import LAYOUTS, NAMES, State, layers_scaled
from suexp.transform._settings import settings
from suexp.transform.base import Transform

# What a task may have that the checkpoint was not trained with, or the other way round.
OPTIONAL = ("classifier", "head", "output", "pooler")


class Pretrained(Transform):
    r"""$\theta \leftarrow \theta_{checkpoint}$: weights of BERT or GPT-2 as the hub names them.

    The folder holds ``config.json`` and ``model.safetensors``, one or several with their index (or
    ``pytorch_model.bin``, read without running any code in it). Logits equal those of
    `transformers` to 1e-5: every field of config.json that they depend on is compared with the
    model, and what differs is refused with the overrides that mend it. Of its positions the first
    ``max_length`` are taken. An output layer that the checkpoint lacks stays as it was drawn; a
    classifier of another task does, too.

    ``layout=gpt2_ml`` takes a checkpoint of GPT-2 for one of GPT2-ML, the mistake of
    https://kexue.fm/archives/7912: all tensors find a place in a model with norm_order=gpt2_ml and
    embedding_norm=true, which then computes something else.

    References: Devlin et al., BERT, arXiv:1810.04805; Radford et al., Language Models are
    Unsupervised Multitask Learners; GPT2-ML, https://github.com/imcaspar/gpt2-ml;
    https://huggingface.co/docs/safetensors.

    Args:
        source: a folder, or the hub's name of a checkpoint, which is downloaded if there is no such
            folder.
        revision: a commit or tag of the hub; null: the newest.
        differs: settings (``attention``, ``mask``) and fields of config.json that are meant to be
            other than the checkpoint's.
        layout: null, as config.json says; ``gpt2`` or ``gpt2_ml``: what a checkpoint of GPT-2 is
            taken for.

    Raises:
        ValueError: no source, another layout, or a run that has a parent, too.
        UserError: a file that is missing or damaged, or another architecture.
    """

    paths: ClassVar[dict[str, tuple[str, ...]]] = {
        "source": (
            "config.json",
            "model*.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
        )
    }

    refuses: ClassVar[dict[str, str]] = {
        "scaled_weights": "a checkpoint's weights are multiplied by as they are; use "
        "init.parametrization=standard"
    }

    def __init__(
        self,
        source: str | None = None,
        revision: str | None = None,
        differs: Sequence[str] = (),
        layout: Literal["gpt2", "gpt2_ml"] | None = None,
    ) -> None:
        if not source:
            raise ValueError("transform.source is not set; name a checkpoint's folder")
        if layout is not None:
            one_of(("gpt2", "gpt2_ml"), layout=layout)
        self.source, self.revision, self.differs = source, revision, list(differs)
        self.layout = layout

    def __call__(self, parent: nn.Module | None, child: nn.Module) -> None:
        """Load the checkpoint.

        Raises:
            ValueError: there is a parent, whose weights would be overwritten.
        """
        if parent is not None:
            raise ValueError(
                "transform=pretrained replaces all weights: leave out parent=[...], or let the "
                "parent start from the checkpoint"
            )
        self.load(child)

    @torch.no_grad()
    def load(self, model: nn.Module) -> None:
        """Overwrite the model's weights.

        Raises:
            UserError: a file that is missing or damaged, or another architecture.
        """
        folder = locate(self.source, self.revision)
        refuse_tensorflow(folder)
        config = read_json(folder / "config.json")
        kind = config.get("model_type")
        if not isinstance(kind, str) or kind not in NAMES:
            raise UserError(
                f"{folder}: a checkpoint of {short(kind) if kind else 'an unknown kind'}; what can "
                f"be read is {', '.join(NAMES)} (as model_type in its config.json)"
            )
        names = NAMES[kind]
        if self.layout is not None:
            if kind != "gpt2":
                raise UserError(
                    f"{folder}: a checkpoint of {kind}; transform.layout={self.layout} reads those "
                    "of gpt2"
                )
            kind, names = self.layout, LAYOUTS[self.layout]
        theirs = read_weights(folder)
        if not isinstance(model, Transformer):
            raise UserError(f"{folder} holds {kind}, which only model=transformer reads")
        # Shapes first: of a tensor that does not fit no page is read.
        outline = {name: value.to("meta") for name, value in theirs.items()}
        outline = _part(names(outline), kind, config, model)
        misfit = _misfit(outline, model.state_dict())
        self._refuse(folder, kind, _wanted(kind, outline, config, model), model, misfit)
        state = _part(names(theirs), kind, config, model)
        if kind in LAYOUTS and config.get(LAYER_SCALE):
            state = layers_scaled(state)
        table = state.get("output.weight")
        tied = config.get("tie_word_embeddings", True)
        if table is not None:
            tied = torch.equal(table, state["embedding.weight"])
        if not tied:
            meant = {"tie_word_embeddings", "model.tie_embeddings"} & {*self.differs}
            whole = "head.dense.weight" in state or model.head is None
            if table is None and model.classifier is None and whole and not meant:
                raise UserError(f"{folder} says that its output layer is not tied, but has none")
            untied = Asked("tie_word_embeddings", False, "model.tie_embeddings", (False,))
            self._refuse(folder, kind, [untied], model, None)
        elif table is None and model.output is not None:
            state["output.weight"] = state["embedding.weight"]
        used = {name: state[name] for name in model.state_dict() if name in state}
        for name, value in used.items():
            if not value.is_floating_point():
                raise UserError(f"{folder}: {name} holds {value.dtype}, not floating-point numbers")
        if bad := first_with(lambda x: ~x.isfinite(), used):
            raise UserError(f"{folder}: {bad} holds nan or infinity; the checkpoint is damaged")
        model.load_state_dict(used, strict=False)

    def _refuse(
        self,
        folder: Path,
        kind: str,
        wanted: Iterable[Asked],
        model: Transformer,
        misfit: str | None,
    ) -> None:
        found = differences(wanted, settings(model))
        meant = {*self.differs}
        unmeant = [item for item in found if not item.names & meant]
        if unmeant:
            raise UserError(refusal(folder, kind, unmeant, acceptable=misfit is None))
        if misfit is not None:
            raise UserError(f"{folder} does not fit the model: {misfit}")


def _part(state: State, kind: str, config: Config, model: Transformer) -> State:
    """Return what the model can take: no classifier of another task, no longer table of places."""
    state, own = dict(state), model.state_dict()
    places = "position.embedding.weight"
    told = next(want.said for want in asked(kind, config) if want.key == "position.max_length")
    if isinstance(model.position, Learned) and places in state and len(state[places]) == told:
        state[places] = state[places][: model.position.max_length]
    tags = "pooler.0.weight" not in state or "TokenClass" in str(config.get("architectures"))
    names = ("classifier.weight", "classifier.bias")
    if tags != model.tags or any(
        name in own and name in state and own[name].shape != state[name].shape for name in names
    ):
        return {name: value for name, value in state.items() if name not in names}
    return state


def _wanted(kind: str, outline: State, config: Config, model: Transformer) -> Iterator[Asked]:
    """Give what the checkpoint wants by its config, and by the output layers that it holds."""
    yield from asked(kind, config)
    if "head.dense.weight" in outline:
        yield Asked("", None, "model.head", ("mlm",))
    if model.classifier is not None and "classifier.weight" in outline:
        yield Asked("", None, "model.pool", ("first",))
        yield Asked("", None, "model.pooler", (True,))


def _misfit(state: State, own: State) -> str | None:
    """Return what tensor is missing, left over, or of another shape; output layers may be."""
    there = {name.partition(".")[0] for name in state}
    for name, value in own.items():
        part = name.partition(".")[0]
        if name not in state:
            if part in OPTIONAL and part not in there:
                continue
            return f"it has no {name}"
        if state[name].shape != value.shape:
            theirs, ours = tuple(state[name].shape), tuple(value.shape)
            return f"{name} has shape {theirs}, the model's has {ours}"
    for name in state:
        if name not in own and name.partition(".")[0] not in (*OPTIONAL, "segment_embedding"):
            return f"it has {name}, the model has not"
    return None
