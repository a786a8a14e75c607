"""L-BFGS: a quasi-Newton method for smooth losses of all rows at once."""

import copy
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, get_args

import torch

from suexp.component import Component
from suexp.errors import at_least
from suexp.optimizer.base import check, groups

LineSearch = Literal["strong_wolfe"]


class LBFGS(torch.optim.LBFGS, Component):
    r"""Torch's L-BFGS, with weight decay for each kind of parameter.

    One step is up to ``max_iter`` iterations on the same batch. In order of execution, with
    $s_k = \theta_{k+1} - \theta_k$, $y_k = g_{k+1} - g_k$ of the last ``history_size`` iterations:

        $g_k = \nabla L(\theta_k) + \lambda \theta_k$, the gradient of $L + \frac\lambda2|\theta|^2$
        $d_k = -H_k g_k$, $H_k$ built by BFGS from the pairs, starting at $I\,s^\top y/y^\top y$
        $\theta_{k+1} = \theta_k + t d_k$; t = $\eta$, or from $\eta$ by a line search

    until $\max|g| \le$ ``tolerance_grad``. Pairs from different batches are noise: let the batch be
    all rows (data.batch_size=10000, say). All parameters are flattened into one vector; shapes are
    any. Called without a closure it takes one iteration from the gradients at hand, without a line
    search.

    The maximum-likelihood baseline of https://kexue.fm/archives/8578.

    Reference: Liu and Nocedal, On the limited memory BFGS method for large scale optimization,
    https://doi.org/10.1007/BF01589116.

    Args:
        params: parameters, or groups as `suexp.nn.param_groups.param_groups` makes them.
        lr: $\eta$; 1.
        max_iter: iterations of a step; 100, where scikit-learn's logistic regression stops.
        max_eval: evaluations of the loss in a step; None: 1.25 max_iter.
        tolerance_grad: largest entry of the gradient at which a step ends; 1e-4 as scikit-learn.
        tolerance_change: change of loss or parameters at which it ends.
        history_size: pairs that are kept; 10 as SciPy.
        line_search: ``strong_wolfe``; None: t is $\eta$.
        weight_decay: $\lambda$, on what decays only; scikit-learn's C of N rows is 1/(N C).
        decay_embeddings: whether embedding tables decay.

    Raises:
        ValueError: lr not above 0, a negative weight_decay, max_iter below 1, another line search.

    Example:
        >>> import torch
        >>> from suexp.optimizer import LBFGS
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = LBFGS([w], max_iter=20)
        >>> def loss():
        ...     optimizer.zero_grad()
        ...     value = (w - torch.tensor([3.0, 4.0])).square().sum()
        ...     value.backward()
        ...     return value
        >>> _ = optimizer.step(loss)
        >>> w.data.round(decimals=3)
        tensor([3., 4.])
    """

    refuses_trainer: ClassVar[dict[str, str]] = {
        "gradient_clip_val": "it searches along a line of the loss itself, which that would bend"
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | int = 1.0,
        max_iter: int = 100,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-4,
        tolerance_change: float = 1e-9,
        history_size: int = 10,
        line_search: LineSearch | None = "strong_wolfe",
        weight_decay: float | int = 0.0,
        decay_embeddings: bool = True,
    ) -> None:
        check(lr, weight_decay)
        at_least(1, max_iter=max_iter, max_eval=max_eval, history_size=history_size)
        at_least(0, tolerance_grad=tolerance_grad, tolerance_change=tolerance_change)
        if line_search is not None and line_search not in get_args(LineSearch):
            raise ValueError(f"line_search={line_search}: use strong_wolfe or null")
        super().__init__(
            [torch.empty(0)],
            lr=lr,
            max_iter=max_iter,
            max_eval=max_eval,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            history_size=history_size,
            line_search_fn=line_search,
        )
        # Torch knows one group only; here they stay apart, and are one vector during a step.
        self.defaults["weight_decay"] = weight_decay
        self.param_groups: list[dict[str, Any]] = []
        for entry in groups(params, decay_embeddings):
            self.add_param_group(entry if isinstance(entry, dict) else {"params": entry})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take a group; its members join the vector."""
        super().add_param_group(param_group)
        self._params = [p for group in self.param_groups for p in group["params"]]
        self._numel_cache = None

    @property
    def evaluations(self) -> int:
        """How often loss and gradient were computed in all steps so far."""
        return int(self.state[self._params[0]].get("func_evals", 0))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Iterate; ``closure`` computes loss and gradients anew and returns the loss."""
        kept = self.param_groups
        whole = {**kept[0], "params": self._params}
        if closure is None:
            whole |= {"max_iter": 1, "line_search_fn": None}
        self.param_groups = [whole]
        try:
            step: Callable[[Any], Any] = super().step
            return step(lambda: self._decayed(kept, closure() if closure else 0.0))
        finally:
            self.param_groups = kept

    @staticmethod
    @torch.no_grad()
    def _decayed(groups: list[dict[str, Any]], loss: Any) -> Any:
        """Return the loss with its penalty, whose gradient is added to the parameters'."""
        loss = loss.detach() if isinstance(loss, torch.Tensor) else loss
        for group in groups:
            decay = group["weight_decay"]
            for p in group["params"] if decay else ():
                if p.grad is not None:
                    p.grad.add_(p, alpha=decay)
                    loss = loss + 0.5 * decay * p.square().sum()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state; torch would go on writing into the tensors that it was given."""
        super().load_state_dict(copy.deepcopy(state_dict))
