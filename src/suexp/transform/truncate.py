"""Start from some of a deeper parent's layers."""

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from suexp.transform.base import Transform, mismatch
from suexp.transform.pretrained import Pretrained


class Truncate(Transform):
    r"""$\theta^{child}_{block\,j} = \theta^{parent}_{block\,i(j)}$; all else is the parent's.

    The child keeps k of the parent's L blocks: with ``layers=first`` $i(j) = j$, the common way to
    a smaller BERT and the start of BERT-of-Theseus (https://kexue.fm/archives/7575,
    arXiv:2002.02925); with ``every_nth`` $i(j) = (j+1) L/k$, counted from 1, the last of each group
    of L/k (Sun et al., Patient Knowledge Distillation, arXiv:1908.09355). Embeddings and classifier
    are copied.

    Args:
        layers: ``first`` or ``every_nth``.
        source: take the blocks and embeddings of this checkpoint instead (see
            `suexp.transform.pretrained`), of the parent's depth; the classifier stays the parent's.
            It is how the author of BERT-of-Theseus starts; None: the parent's own.
        revision: of that checkpoint.
        differs: settings that are meant to be other than that checkpoint's.

    Raises:
        ValueError: a parent that is missing, not deep enough, or of other sizes.
    """

    needs = {"parent": "it keeps some layers of another run; name it, parent=['seed=1'] say"}

    paths: ClassVar[dict[str, tuple[str, ...]]] = {
        "source": (
            "config.json",
            "model*.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
        )
    }

    def __init__(
        self,
        layers: Literal["first", "every_nth"] = "first",
        source: str | None = None,
        revision: str | None = None,
        differs: Sequence[str] = (),
    ) -> None:
        if layers not in ("first", "every_nth"):
            raise ValueError(f"layers must be first or every_nth, not {layers}")
        self.layers = layers
        self.source = Pretrained(source, revision, differs) if source else None

    @torch.no_grad()
    def apply(self, parent: nn.Module, child: nn.Module) -> None:
        """Copy.

        Raises:
            ValueError: the parent is not deep enough, or has other sizes.
        """
        if self.source is not None:
            parent = copy.deepcopy(parent)
            self.source.load(parent)
        chosen = self._chosen(_depth(parent), _depth(child))
        state = {}
        for name, value in parent.state_dict().items():
            first, _, rest = name.partition(".")
            if first != "blocks":
                state[name] = value
                continue
            place, _, rest = rest.partition(".")
            if int(place) in chosen:
                state[f"blocks.{chosen.index(int(place))}.{rest}"] = value
        complaint = mismatch(state, child.state_dict())
        if complaint:
            raise ValueError(f"{complaint}; only the number of layers may differ")
        child.load_state_dict(state)

    def _chosen(self, depth: int, wanted: int) -> list[int]:
        if wanted > depth:
            raise ValueError(
                f"the child has {wanted} layers, its parent only {depth}; set model.num_layers to "
                f"at most {depth}"
            )
        if self.layers == "first":
            return list(range(wanted))
        if depth % wanted:
            raise ValueError(
                f"the parent has {depth} layers, not divisible into {wanted} groups; use "
                "transform.layers=first"
            )
        step = depth // wanted
        return list(range(step - 1, depth, step))


def _depth(model: Any) -> int:
    blocks = getattr(model, "blocks", None)
    if not isinstance(blocks, nn.ModuleList):
        raise ValueError(
            f"transform=truncate keeps some blocks, which {type(model).__name__} has not; use "
            "model=transformer"
        )
    return len(blocks)
