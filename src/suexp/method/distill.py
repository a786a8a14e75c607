"""Distillation: a student learns from its teacher's probabilities."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from suexp.method._divergence import divergence
from suexp.method._frozen import Frozen
from suexp.method.base import Batch, Method, Objective
from suexp.nn.intervene import heard

if TYPE_CHECKING:
    from suexp.task.base import Task


class Distill(Method):
    r"""$L = (1-\alpha) L_{task} + \alpha T^2 \mathrm{KL}(p^T_{teacher} \,\|\, p^T_{student})$.

    $p^T = \mathrm{softmax}(z/T)$ of the logits z, (b, C) or (b, n, C); of texts only real tokens
    count. The teacher is another run, frozen and without dropout; it reads exactly what the
    student reads. The two need not have the same sizes, only the same classes. The factor $T^2$
    keeps the gradient's size as T grows. Where the teacher is the run's parent, the run must say
    what its own weights begin as, say ``transform=truncate`` or ``transform=fresh``.

    Reference: Hinton et al., Distilling the Knowledge in a Neural Network, arXiv:1503.02531; what
    https://kexue.fm/archives/7575 compares module replacement with.

    Args:
        alpha: $\alpha$ in [0, 1], the weight of the teacher.
        temperature: T above 0.
        source: the teacher: ``parent``, or a name in the config's ``sources``.

    Raises:
        ValueError: a value out of range; no teacher, or one with other classes.
    """

    needs: ClassVar[dict[str, str]] = {
        "{source}": "the teacher is another run; name it with parent=['model.num_layers=6'], say, "
        "or with method.distill.source=teacher 'sources={teacher:[model.num_layers=6]}'"
    }
    refuses: ClassVar[dict[str, str]] = {
        "other_weights": "it compares softmax's probabilities; use normalizer=softmax"
    }

    def __init__(
        self, alpha: float | int = 0.5, temperature: float | int = 2.0, source: str = "parent"
    ) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must lie in [0, 1], not {alpha}")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        self.alpha, self.temperature, self.source = alpha, temperature, source
        self._frozen: Frozen | None = None

    def adopt(self, task: "Task", origins: "Mapping[str, Task]") -> None:
        """Take the teacher.

        Raises:
            ValueError: there is none.
        """
        del task
        if self.source not in origins:
            raise ValueError(f"method=distill needs a teacher: no run is named {self.source}")
        self._frozen = Frozen(origins[self.source].model.eval())

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the mixed loss.

        Raises:
            ValueError: the task does not ask its model for logits, or the teacher's differ.
        """
        if self._frozen is None:
            raise ValueError("method=distill has no teacher yet")
        with heard(task.model) as calls:
            loss = inner(batch)
        if not calls or not all(isinstance(call.output, Tensor) for call in calls):
            raise ValueError(
                "method=distill needs a model whose forward returns logits; use "
                "task=classification or a language model"
            )
        teacher = self._frozen.beside(task.model)
        soft = torch.stack([self._soft(teacher, *call) for call in calls]).mean()
        return (1 - self.alpha) * loss + self.alpha * soft

    def _soft(self, teacher: nn.Module, args: Any, kwargs: Any, logits: Tensor) -> Tensor:
        with torch.no_grad():
            target = teacher(*args, **kwargs)
        if target.shape != logits.shape:
            raise ValueError(
                f"the teacher's logits have shape {tuple(target.shape)}, the student's "
                f"{tuple(logits.shape)}: distillation needs the same classes"
            )
        keep = kwargs.get("keep") if logits.dim() == 3 else None
        return divergence(logits, target, self.temperature, keep)
