"""A teacher's similarities of sentences, all pairs of a batch, as what a student learns."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from suexp.errors import at_least
from suexp.method._frozen import Frozen
from suexp.method.base import Batch, Method, Objective
from suexp.nn.gather import gather_rows
from suexp.nn.intervene import heard

if TYPE_CHECKING:
    from suexp.task.base import Task


def cosine_gap(u: Float[Tensor, "n c"], v: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    r"""Return $\frac{1}{n^2} \sum_{ij} (\cos(u_i, u_j) - \cos(v_i, v_j))^2$, in float32 at least.

    It is 0 wherever the cosines agree, after any rotation of the vectors, which need not have the
    same size. The diagonal adds nothing.
    """
    with torch.autocast(u.device.type, enabled=False):
        first, second = (
            F.normalize(x if x.dtype == torch.float64 else x.float(), dim=-1) for x in (u, v)
        )
        return (first @ first.T - second @ second.T).square().mean()


class SimilarityDistill(Method):
    r"""$L = L_{task} + \frac{\lambda}{n^2} \sum_{ij} (\cos(u_i, u_j) - \cos(v_i, v_j))^2$.

    v (n, d) are the vectors of a batch's sources as the student reads them, noise included, u
    (n, c) those of the teacher, which reads the sources without noise, is frozen and drops nothing.
    The batch is that of all processes. It is the second stage of RoFormer-Sim, where it takes the
    place of the contrastive loss: set ``task.sim_weight=0``. The two may differ in all but their
    tokens.

    Post: https://kexue.fm/archives/8454; Park et al., Relational Knowledge Distillation,
    arXiv:1904.05068.

    Example:
        >>> import torch
        >>> from suexp.method.similarity_distill import cosine_gap
        >>> cosine_gap(torch.eye(2), torch.ones(2, 5))
        tensor(0.5000)

    Args:
        weight: $\lambda$; 100 in the post. With 0 nothing is distilled, and
            callback=teacher_cosines measures how far apart the two are.
        source: the teacher: a name in the config's ``sources``, or ``parent``.

    Raises:
        ValueError: a weight below 0; no teacher, one that gives no vectors of sentences, or one
            with other tokens.
    """

    provides: ClassVar[set[str]] = {"teacher_vectors"}
    needs: ClassVar[dict[str, str]] = {
        "similar_sentences": "it compares vectors of sentences; use task=similar_sentence",
        "{source}": "the teacher is another run; name it with "
        "'sources={teacher:[seed=1]}', say, or with method.similarity_distill.source=parent",
    }

    def __init__(self, weight: float | int = 100.0, source: str = "teacher") -> None:
        super().__init__()
        at_least(0, weight=weight)
        self.weight, self.source = weight, source
        self._frozen: Frozen | None = None
        self._vectors: Callable[[Batch], Tensor] | None = None

    def adopt(self, task: "Task", origins: "Mapping[str, Task]") -> None:
        """Take the teacher.

        Raises:
            ValueError: there is none, it gives no vectors, or it reads other tokens.
        """
        teacher: Any = origins.get(self.source)
        if teacher is None:
            raise ValueError(
                f"method=similarity_distill needs a teacher: no run is named {self.source}"
            )
        if not hasattr(teacher, "source_vectors"):
            raise ValueError(
                f"method=similarity_distill: the run {self.source} gives no vectors of sentences; "
                "let it have task=similar_sentence"
            )
        ours, theirs = (one.data.sizes["vocab_size"] for one in (task, teacher))
        if ours != theirs:
            raise ValueError(
                f"method=similarity_distill: the teacher has {theirs} different tokens, the "
                f"student {ours}; choose one tokenizer for both"
            )
        self._frozen = Frozen(teacher.model.eval())
        self._vectors = teacher.source_vectors

    def teacher_vectors(self, task: "Task", batch: Batch) -> Float[Tensor, "n c"]:
        """Return the teacher's vectors of the sources, which are read without noise.

        Raises:
            ValueError: there is no teacher yet.
        """
        if self._frozen is None or self._vectors is None:
            raise ValueError("method=similarity_distill has no teacher yet")
        self._frozen.beside(task.model)
        with torch.no_grad():
            return self._vectors(batch)

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the task's loss and the weighted gap."""
        if self.weight == 0:
            return inner(batch)
        with heard(task.model.pooler) as calls:
            loss = inner(batch)
        teacher = gather_rows(self.teacher_vectors(task, batch))
        gaps = [cosine_gap(teacher, gather_rows(call.output)) for call in calls]
        return loss + self.weight * torch.stack(gaps).mean()
