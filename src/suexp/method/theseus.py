"""Compression by replacing a trained model's modules, one by one and at random."""

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from suexp.method._chunked import rows_of
from suexp.method._frozen import Frozen
from suexp.method.base import Batch, Method, Objective, Skip
from suexp.origins import PARENT
from suexp.transform.base import mismatch

if TYPE_CHECKING:
    from suexp.task.base import Task

Schedule = Literal["constant", "linear"]
Granularity = Literal["batch", "sample"]
Mix = Literal["bernoulli", "uniform", "anneal"]

# What `embed` and `relate` of a transformer read; its blocks aside, the rest is its classifier.
EMBEDDINGS = ("embedding", "segment_embedding", "position", "embedding_norm")


class Theseus(Method):
    r"""$x_i = r_i S_i(x_{i-1}) + (1 - r_i) P_i(x_{i-1})$ with $r_i \sim \mathrm{Bernoulli}(p_t)$.

    The run's own model is the successor, of k layers $S_1..S_k$; its parent is the predecessor,
    whose L layers are cut into k modules $P_1..P_k$ of L/k layers. While the successor trains on
    the task's own loss, frozen modules of the predecessor stand in the place of some of its layers;
    gradients pass through them. Validation and test see the successor alone. Another run fine-tunes
    it afterwards: ``parent=[method=theseus, ...]``.

    Only what is drawn is computed, (1 - p) L + p k layers on average. A layer that is not drawn has
    no gradient, and is not moved by decay or momentum either; a step in which nothing that trains
    is drawn is left out. Draws depend on the seed and the step alone: processes agree on them, and
    a resumed run repeats them. Positions inside attention are those of the module that stands
    there. Of the schedules, with t the step and s ``steps_for_replacing``:

        $p_t = p$ (constant) or $\min(1, p + \kappa t)$ (linear), and $p_t = 1$ from s on

    Shapes: hidden states $x_i$ (b, n, dim), draws r one for each module, or (b,) for each.

    Post: https://kexue.fm/archives/7575. Paper: Xu et al., BERT-of-Theseus, arXiv:2002.02925. The
    author's code replaces the embeddings, too, the paper's shares them; both freeze the classifier
    and leave the predecessor's dropout on. Beyond both: ``granularity=sample``, and the post's open
    questions ``mix=uniform`` and ``mix=anneal``.

    Args:
        schedule: ``constant`` or ``linear``.
        replacing_rate: p, the share of successor modules (the author's $\epsilon$ is 1 - p), in
            (0, 1]; 0.5 in the post. A line may begin at 0 (0.3 in the paper).
        linear_k: $\kappa$, what a step adds to the rate of a line; 0.0006 in the paper.
        steps_for_replacing: s, after which the successor trains alone; None: never.
        replace_embeddings: draw and train the embeddings as another module; false: they are the
            predecessor's, and frozen.
        granularity: one draw for the whole batch, or one for each row, which computes both modules.
        mix: ``bernoulli``; ``uniform``, r uniform on [0, 1] whatever the rate; ``anneal``, r = p_t.
        freeze_classifier: what follows the layers is the predecessor's, and frozen.
        predecessor_dropout: dropout in the predecessor's modules.
        seed: of the draws.

    Raises:
        ValueError: a value out of range; a predecessor that is missing or does not fit.
    """

    provides: ClassVar[set[str]] = {"other_embeddings if replace_embeddings"}
    needs: ClassVar[dict[str, str]] = {
        "parent": "the predecessor is another run; name it with parent=['model.num_layers=6'], say"
    }
    refuses: ClassVar[dict[str, str]] = {
        "residual_scores": "replaced layers would break the chain of scores; use attention=softmax",
        "model=mlp": "it has no blocks to replace; use model=transformer",
        "trainer=ddp if granularity=batch": "several processes cannot skip a step in which no "
        "module is drawn; use method.theseus.granularity=sample",
        "trainer=fsdp": "a sharded block must stay in its place; use trainer=ddp",
    }
    leaves_unused: ClassVar[bool] = True

    def __init__(
        self,
        schedule: Schedule = "constant",
        replacing_rate: float | int = 0.5,
        linear_k: float | int = 0.0006,
        steps_for_replacing: int | None = None,
        replace_embeddings: bool = True,
        granularity: Granularity = "batch",
        mix: Mix = "bernoulli",
        freeze_classifier: bool = True,
        predecessor_dropout: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for value, known in ((schedule, Schedule), (granularity, Granularity), (mix, Mix)):
            if value not in get_args(known):
                raise ValueError(f"{value!r} is none of {', '.join(get_args(known))}")
        if not 0 <= replacing_rate <= 1 or (schedule == "constant" and replacing_rate == 0):
            raise ValueError(f"replacing_rate must lie in (0, 1], not {replacing_rate}")
        if linear_k < 0 or (schedule == "linear" and linear_k == 0):
            raise ValueError(f"linear_k must be above 0, not {linear_k}")
        if steps_for_replacing is not None and steps_for_replacing < 0:
            raise ValueError(f"steps_for_replacing must be at least 0, not {steps_for_replacing}")
        self.schedule, self.replacing_rate, self.linear_k = schedule, replacing_rate, linear_k
        self.steps_for_replacing, self.replace_embeddings = steps_for_replacing, replace_embeddings
        self.granularity, self.mix, self.seed = granularity, mix, seed
        self.freeze_classifier, self.predecessor_dropout = freeze_classifier, predecessor_dropout
        self._frozen: Frozen | None = None

    def adopt(self, task: "Task", origins: "Mapping[str, Task]") -> None:
        """Take the predecessor, share with it what is shared, and freeze that.

        Raises:
            ValueError: there is none, or it cannot be cut into the successor's modules.
        """
        successor = task.model
        if PARENT not in origins:
            raise ValueError("method=theseus needs a predecessor: name its run with parent=[...]")
        parent = origins[PARENT].model
        _compare(parent, successor)
        parts = [name for name, _ in successor.named_children() if name != "blocks"]
        embeddings = [name for name in parts if name in EMBEDDINGS]
        if not self.replace_embeddings:
            _share(parent, successor, embeddings, "replace_embeddings=true")
        if self.freeze_classifier:
            classifier = [name for name in parts if name not in EMBEDDINGS]
            _share(parent, successor, classifier, "freeze_classifier=false")
        self._frozen = Frozen(parent.train(self.predecessor_dropout))

    def rate(self, step: int) -> float:
        """Return $p_t$, the probability that a successor's module stands in its place."""
        if self.steps_for_replacing is not None and step >= self.steps_for_replacing:
            return 1.0
        if self.schedule == "constant":
            return float(self.replacing_rate)
        return float(min(1.0, self.replacing_rate + self.linear_k * step))

    def draw(self, step: int, modules: int, rows: int) -> Float[Tensor, "modules rows"]:
        """Return the weight r of each successor module for each of the rows."""
        rate = self.rate(step)
        uniform = torch.from_numpy(np.random.default_rng([self.seed, step]).random((rows, modules)))
        if rate == 1 or self.mix == "anneal":
            return torch.full((modules, rows), rate)
        mixed = (uniform < rate).float() if self.mix == "bernoulli" else uniform.float()
        return mixed.T

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the task's loss on the hybrid.

        Raises:
            Skip: no module that trains was drawn.
        """
        weights = self._weights(task, batch, task.global_step)
        self._record(task, task.global_step)
        if self._idle(weights):
            raise Skip
        with self.hybrid(task.model, weights):
            return inner(batch)

    def _weights(self, task: "Task", batch: Batch, step: int) -> Float[Tensor, "modules rows"]:
        """Return the weights of a step for the rows of this process."""
        modules = len(task.model.blocks) + 1
        if self.granularity == "batch":
            return self.draw(step, modules, 1)
        # A share of the draws for the rows of all processes, as it is of the rows.
        rank, processes = task.place
        end = task.first_row + rows_of(batch)
        weights = self.draw(step, modules, end * processes)
        return weights[:, task.first_row * processes + rank :: processes]

    def _idle(self, weights: Float[Tensor, "modules rows"]) -> bool:
        """Tell whether no module that trains was drawn."""
        drawn = weights if self.replace_embeddings else weights[1:]
        return self.freeze_classifier and not drawn.any()

    def alike(self, task: "Task", batch: Batch, step: int) -> Hashable:
        """Return which modules stand in which places."""
        weights = self._weights(task, batch, step)
        return self._idle(weights), *map(_alone, weights)

    @contextmanager
    def hybrid(self, model: Any, weights: Float[Tensor, "modules rows"]) -> Iterator[None]:
        """Let the predecessor stand in the successor's places for a while.

        Args:
            model: the successor.
            weights: r of the embeddings and of each layer; one column counts for all rows.
        """
        if self._frozen is None:
            raise ValueError("method=theseus has no predecessor yet")
        old: Any = self._frozen.beside(model)
        size = len(old.blocks) // len(model.blocks)
        relation = _Relation(model, old)
        kept = model.blocks
        places = [
            _placed(block, _Predecessor(old.blocks[i * size : (i + 1) * size], relation), weight)
            for i, (block, weight) in enumerate(zip(kept, weights[1:], strict=True))
        ]
        hiding: dict[str, Any] = {"relate": relation}  # of the model's own methods
        if self.replace_embeddings:
            hiding["embed"] = _placed(model.embed, old.embed, weights[0])
        model.blocks = nn.ModuleList(places)
        vars(model).update(hiding)
        try:
            yield
        finally:
            model.blocks = kept
            for name in hiding:
                del vars(model)[name]

    def _record(self, task: "Task", step: int) -> None:
        """Log the rate, as often as the losses."""
        trainer = task._trainer
        due = trainer is not None and step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        if due and task.first_row == 0:
            task.log_step({"train/replacing_rate": self.rate(step)}, step)


class _Relation:
    """What positions do inside attention: the successor's, and the predecessor's on the side."""

    def __init__(self, new: Any, old: Any) -> None:
        self._new, self._old = new.relate, old.relate
        self.olds: tuple[Any, ...] = ()

    def __call__(self, *places: Tensor) -> tuple[Any, ...]:
        self.olds = self._old(*places)
        return self._new(*places)


class _Predecessor(nn.Module):
    """Some of the predecessor's blocks, called as one block of the successor is."""

    def __init__(self, blocks: nn.ModuleList, relation: _Relation) -> None:
        super().__init__()
        self.blocks, self.relation = blocks, relation

    def forward(self, x: Tensor, mask: Any, *_: Any) -> Tensor:
        for block in self.blocks:
            x = block(x, mask, *self.relation.olds)
        return x


class _Mixed(nn.Module):
    """Predecessor and successor together, weighted row by row."""

    def __init__(self, new: Any, old: Any, weight: Float[Tensor, " rows"]) -> None:
        super().__init__()
        self.new, self.old, self.weight = new, old, weight

    def forward(self, *arguments: Any) -> Tensor:
        new, old = self.new(*arguments), self.old(*arguments)
        return torch.lerp(old, new, self.weight.to(new).view(-1, 1, 1))


def _placed(new: Any, old: Any, weight: Float[Tensor, " rows"]) -> Any:
    """Return what stands in a place: one of the two where a single draw decides, else both."""
    alone = _alone(weight)
    return _Mixed(new, old, weight) if alone is None else new if alone else old


def _alone(weight: Float[Tensor, " rows"]) -> bool | None:
    """Tell which of the two stands alone, the successor's module or not; None: both are needed."""
    return bool(weight) if len(weight) == 1 and float(weight) in (0.0, 1.0) else None


def _compare(predecessor: Any, successor: Any) -> None:
    """Refuse a predecessor that cannot be cut into the successor's modules."""
    for model in (predecessor, successor):
        if not all(hasattr(model, name) for name in ("blocks", "embed", "relate", "dim")):
            raise ValueError(
                f"method=theseus replaces blocks, which {type(model).__name__} has not; use "
                "model=transformer"
            )
        if len({id(block) for block in model.blocks}) < len(model.blocks):
            raise ValueError(
                "method=theseus cannot replace layers that share their weights: unshare them first"
            )
    old, new = len(predecessor.blocks), len(successor.blocks)
    if new > old:
        raise ValueError(
            f"the successor has {new} layers, its predecessor only {old}; set model.num_layers to "
            f"at most {old}"
        )
    if old % new:
        fitting = ", ".join(str(k) for k in range(1, old + 1) if old % k == 0)
        raise ValueError(
            f"the predecessor has {old} layers, not divisible into {new} modules; set "
            f"model.num_layers to one of {fitting}"
        )
    if predecessor.dim != successor.dim:
        raise ValueError(
            f"the successor has model.dim={successor.dim}, its predecessor {predecessor.dim}: a "
            "replaced module must have the same width; use method=distill"
        )


def _share(predecessor: Any, successor: Any, parts: list[str], remedy: str) -> None:
    """Copy parts of the predecessor, and freeze them."""
    for name in parts:
        ours, theirs = getattr(successor, name), getattr(predecessor, name, None)
        state = {} if theirs is None else theirs.state_dict()
        complaint = mismatch(state, ours.state_dict())
        if complaint:
            raise ValueError(
                f"model.{name} cannot be the predecessor's ({complaint}); set "
                f"method.theseus.{remedy}"
            )
        ours.load_state_dict(state)
        ours.requires_grad_(False)
