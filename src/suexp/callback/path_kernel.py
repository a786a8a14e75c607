"""A trained model as a kernel machine over its training rows (https://kexue.fm/archives/8009)."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from suexp.callback._path_tables import record
from suexp.component import Component
from suexp.errors import UserError, at_least
from suexp.nn.tangent import Gradients, kernel, row_gradients
from suexp.task.base import Task
from suexp.task.regression import Regression

NAME = "callback=path_kernel"
MOST_BYTES = 2 * 1024**3  # of gradients held at once


class PathKernel(Callback, Component):
    r"""$f_T(x) \approx f_0(x) - \sum_i W(x, x_i)$ along a run of gradient descent.

    f is the model's output of a row: the number of task=regression, the difference $z_1 - z_0$ of
    two classes' logits. The loss is the mean over a batch of B rows, $L = \frac1B \sum_i l_i$; with
    $l_i' = \partial l_i / \partial f$, the tangent kernel
    $K_t(x, x') = \langle \nabla_\theta f_t(x), \nabla_\theta f_t(x') \rangle$, both before step t,
    and its learning rate $\eta_t$,

    $$W(x, x_i) = \sum_t \frac{\eta_t}{B} l_i'(t) K_t(x, x_i), \quad
    K^p(x, x_i) = \sum_t \eta_t K_t(x, x_i), \quad
    \bar a_i = -\frac1T \sum_t \eta_t l_i'(t), \quad T = \sum_t \eta_t.$$

    The first line is exact for gradient flow and for models that are linear in $\theta$; one step
    errs by $\frac{\eta^2}2 g^\top \nabla^2 f g + O(\eta^3)$, a run of given T by $O(\eta)$. With
    momentum each row keeps a velocity $c_i \leftarrow \mu c_i + \frac1B l_i' \nabla f(x_i)$, and
    $\eta \langle \nabla f(x), c_i \rangle$ is its part; weight decay is a part of its own. The true
    kernel machine has constants, $f_0(x) + \frac1N \sum_i \bar a_i K^p(x, x_i)$; how far W is from
    that is measured where each step reads all N rows, without momentum.

    Shapes: W and $K^p$ (M, N) of M probes, rows of the validation split, and N training rows.

    Final metrics: ``path/reconstruction_error``, $|f_0 - \sum_i W - f_T| / |f_T - f_0|$ over the
    probes; ``path/correlation`` of the two outputs; ``path/kernel_drift``,
    $|K_T - K_0| / |K_0|$; where constants are defined ``path/constant_alpha_error``, of the
    machine's output, and ``path/alpha_spread``, $|W + \bar a K^p / N| / |W|$; for classes
    ``path/accuracy``, ``path/reconstructed_accuracy``, ``path/constant_accuracy``. Tables:
    ``path_outputs``, ``path_kernel`` (a part of $K^p$, sorted by label), ``influence`` (the ten
    rows with the largest |W| of three probes).

    It changes nothing in the run; its state is in the checkpoint. A step costs about M + B passes.
    float64 (``trainer.precision=64-true``) is advisable: thousands of small terms are summed.

    Post: https://kexue.fm/archives/8009. Paper: Domingos, Every Model Learned by Gradient Descent
    Is Approximately a Kernel Machine, arXiv:2012.00152.

    Args:
        probe: M, how many rows of the validation split, the first.
        record_every: steps from one kernel to the next; between them the last one stands in.
        chunk_size: rows whose gradients are computed at once.

    Raises:
        ValueError: a number below 1.
        UserError: dropout, BatchNorm, several processes, clipping, more than two classes, a step
            that is not the sum of its rows' gradients, more gradients than fit in 2 GiB.
    """

    asks: ClassVar[set[str]] = {"index"}
    needs: ClassVar[dict[str, str]] = {
        "optimizer=sgd": "a kernel of the path is defined for gradient descent, with momentum or "
        "not; use optimizer=sgd",
        "vectors": "it differentiates a function of vectors; use data=sklearn with model=mlp",
        "classes or numbers": "it follows one output of each row; use task=classification with two "
        "classes or task=regression",
    }

    def __init__(self, probe: int = 60, record_every: int = 1, chunk_size: int = 256) -> None:
        at_least(1, probe=probe, record_every=record_every, chunk_size=chunk_size)
        self.probe, self.record_every, self.chunk_size = probe, record_every, chunk_size
        self.sums: dict[str, Tensor] = {}
        self._train: dict[str, Tensor] = {}
        self._batch: dict[str, Tensor] | None = None
        self._probes: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far."""
        return {"sums": {name: value.clone() for name, value in self.sums.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from them."""
        self.sums = {name: value.clone() for name, value in state_dict["sums"].items()}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse before training what has no such kernel."""
        del stage
        assert isinstance(pl_module, Task)
        if trainer.world_size > 1:
            raise UserError(f"{NAME} follows one process's steps; use trainer.devices=1")
        if trainer.gradient_clip_val:
            raise UserError(
                f"{NAME}: a clipped gradient is no sum over rows; set "
                "trainer.gradient_clip_val=null"
            )
        classes = pl_module.data.sizes.get("num_classes", 2)
        if not isinstance(pl_module, Regression) and classes != 2:
            raise UserError(f"{NAME} follows one output; the data have {classes} classes, not two")
        for name, module in pl_module.model.named_modules():
            if isinstance(module, _BatchNorm):
                why = "an output depends on the other rows of its batch; use norm=layer or null"
                raise UserError(f"{NAME}: {name} is a BatchNorm: {why}")
            if isinstance(module, nn.Dropout) and module.p > 0:
                raise UserError(f"{NAME}: {name} drops at random; set model.dropout=0")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the rows, and measure the start unless a checkpoint holds it."""
        task: Any = pl_module
        splits = trainer.datamodule.splits  # type: ignore[attr-defined]
        self._probes = self._rows(task, splits["validation"], self.probe)
        self._train = self._rows(task, splits["train"], len(splits["train"]))
        (optimizer,) = trainer.optimizers
        momentum = max(group["momentum"] for group in optimizer.param_groups)
        if momentum and self.record_every > 1:
            raise UserError(f"{NAME}: momentum needs each step's gradients; set record_every=1")
        self._check_memory(task, held=len(self._train["x"]) if momentum else 0)
        if self.sums:
            return
        m, n = len(self._probes["x"]), len(self._train["x"])
        start = self.output(task, self._probes["x"]).double()
        zeros = start.new_zeros
        self.sums = {
            "start": start,
            "kernel": zeros(m, n),
            "weighted": zeros(m, n),
            "decay": zeros(m),
            "slopes": zeros(n),
            "time": zeros(()),
            "whole": zeros(()) + 1,  # whether each step has read all rows, without momentum
            "first": self._tangent(task, self._probes["x"], self._train["x"]),
        }

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep what the step reads."""
        del trainer, pl_module, batch_idx
        self._batch = batch

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Add the step's part, with the weights before it."""
        task, batch, sums = pl_module, self._batch, self.sums
        assert isinstance(task, Task)
        assert batch is not None
        groups = optimizer.param_groups
        rate, momentum = groups[0]["lr"], groups[0]["momentum"]
        if any((g["lr"], g["momentum"]) != (rate, momentum) for g in groups):
            raise UserError(f"{NAME}: parameters have several learning rates; give them one")
        index = batch["index"]
        slopes = self.slopes(task, batch)
        here = self._gradients(task, self._probes["x"])
        if momentum or trainer.global_step == 0:
            own = self._gradients(task, batch["x"])
            if trainer.global_step == 0:
                self._check_gradient(task, own, slopes)
        sums["time"] += rate
        sums["slopes"].index_add_(0, index, rate * slopes.double() * len(index))
        if momentum or len(index) != sums["slopes"].numel():
            sums["whole"].zero_()
        self._add_decay(task, here, groups, rate, momentum)
        if momentum:
            self._add_velocities(here, own, slopes, index, groups[0], rate)
            return
        if self.record_every == 1:
            kernel = self._tangent(task, here, batch["x"])
        else:
            if trainer.global_step % self.record_every == 0 or "held" not in sums:
                sums["held"] = self._tangent(task, here, self._train["x"])
            kernel = sums["held"][:, index]
        sums["kernel"].index_add_(1, index, rate * kernel)
        sums["weighted"].index_add_(1, index, rate * kernel * slopes.double())

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write down how good the machine is."""
        del trainer
        task: Any = pl_module
        sums, n = self.sums, len(self._train["x"])
        end = self.output(task, self._probes["x"]).double()
        path = sums["start"] - sums["weighted"].sum(1) - sums["decay"]
        moved = (end - sums["start"]).norm().clamp(min=torch.finfo(torch.float64).tiny)
        last = self._tangent(task, self._probes["x"], self._train["x"])
        final = {
            "path/reconstruction_error": float((path - end).norm() / moved),
            "path/correlation": _correlation(path, end),
            "path/kernel_drift": float((last - sums["first"]).norm() / sums["first"].norm()),
        }
        outputs = {"network": end, "reconstructed": path}
        if sums["whole"]:
            constants = -sums["slopes"] / sums["time"]
            machine = sums["start"] + sums["kernel"] @ constants / n
            outputs["constant"] = machine
            spread = sums["weighted"] + constants * sums["kernel"] / n
            final["path/constant_alpha_error"] = float((machine - end).norm() / moved)
            final["path/alpha_spread"] = float(spread.norm() / sums["weighted"].norm())
        if "label" in self._probes:
            names = {"network": "accuracy", "reconstructed": "reconstructed_accuracy"}
            for name, value in outputs.items():
                right = (value > 0).long() == self._probes["label"]
                key = names.get(name, "constant_accuracy")
                final[f"path/{key}"] = float(right.double().mean())
        task.final |= final
        answer = "label" if "label" in self._probes else "target"
        answers = self._probes[answer], self._train[answer]
        record(task, outputs, *answers, kernel=sums["kernel"], weighted=sums["weighted"])

    def output(self, task: Task, x: Float[Tensor, "b i"]) -> Float[Tensor, " b"]:
        """Return f of rows."""
        with torch.no_grad():
            return self._of(task, task.model(x))

    @staticmethod
    def _of(task: Task, out: Tensor) -> Tensor:
        return out[..., 0] if isinstance(task, Regression) else out[..., 1] - out[..., 0]

    def slopes(self, task: Task, batch: dict[str, Tensor]) -> Float[Tensor, " b"]:
        """Return the derivative of the batch's mean loss by each row's f.

        Raises:
            UserError: the loss depends on more than f.
        """
        with torch.enable_grad():
            out = task.model(batch["x"]).detach().requires_grad_()
            if isinstance(task, Regression):
                loss = task.loss(out.squeeze(-1), batch["target"])
            else:
                loss = task.loss(out, batch["label"])
            (slope,) = torch.autograd.grad(loss, out)
        if isinstance(task, Regression):
            return slope.squeeze(-1)
        if float(slope.sum(-1).abs().max()) > 1e-3 * float(slope.abs().max()):
            raise UserError(f"{NAME}: this loss depends on more than the difference of two logits")
        return (slope[:, 1] - slope[:, 0]) / 2

    def _gradients(self, task: Task, x: Tensor) -> Gradients:
        """Return the gradient of each row's f."""
        return row_gradients(task.model, lambda out: self._of(task, out), x, self.chunk_size)

    def _tangent(self, task: Task, here: Gradients | Tensor, x: Tensor) -> Float[Tensor, "m b"]:
        """Return K of probes and rows, the rows' gradients in chunks."""
        probes = self._gradients(task, here) if isinstance(here, Tensor) else here
        chunks = x.split(self.chunk_size)  # type: ignore[no-untyped-call]
        return torch.cat([kernel(probes, self._gradients(task, rows)) for rows in chunks], 1)

    def _add_velocities(
        self,
        here: Gradients,
        own: Gradients,
        slopes: Tensor,
        index: Tensor,
        group: dict[str, Any],
        rate: float,
    ) -> None:
        """Add each row's part of a step with momentum."""
        total = self.sums["weighted"]
        for name, gradient in own.items():
            key = f"velocity/{name}"
            fresh = slopes[:, None] * gradient
            if key not in self.sums:
                self.sums[key] = fresh.new_zeros(total.shape[1], fresh.shape[1])
            velocity = self.sums[key]
            velocity.mul_(group["momentum"]).index_add_(0, index, fresh)
            step = velocity
            if group["nesterov"]:
                step = (group["momentum"] * velocity).index_add_(0, index, fresh)
            total += rate * (here[name] @ step.T).double()

    def _add_decay(
        self,
        task: Task,
        here: Gradients,
        groups: list[dict[str, Any]],
        rate: float,
        momentum: float,
    ) -> None:
        """Add weight decay's part of a step."""
        decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
        for name, parameter in task.model.named_parameters():
            decay = decays.get(id(parameter), 0.0)
            if not decay:
                continue
            fresh = decay * parameter.detach().flatten()
            step = fresh
            if momentum:
                key = f"decay/{name}"
                velocity = self.sums.setdefault(key, torch.zeros_like(fresh))
                velocity.mul_(momentum).add_(fresh)
                step = fresh + momentum * velocity if groups[0]["nesterov"] else velocity
            self.sums["decay"] += rate * (here[name] @ step).double()

    def _check_gradient(self, task: Task, own: Gradients, slopes: Tensor) -> None:
        """Refuse a step whose gradient the rows' own do not add up to."""
        error, size = 0.0, 0.0
        for name, parameter in task.model.named_parameters():
            if parameter.grad is None or name not in own:
                continue
            found = (slopes @ own[name]).double()
            error += float((found - parameter.grad.flatten().double()).square().sum())
            size += float(parameter.grad.double().square().sum())
        if error > 1e-4 * size:
            raise UserError(
                f"{NAME}: the step's gradient is not the sum of its rows'; leave out methods and "
                "use trainer.precision=32-true or 64-true"
            )

    def _check_memory(self, task: Task, held: int) -> None:
        parameters = [p for p in task.model.parameters() if p.requires_grad]
        row = sum(p.numel() * p.element_size() for p in parameters)
        rows = len(self._probes["x"]) + held + self.chunk_size
        if row * rows > MOST_BYTES:
            raise UserError(
                f"{NAME}: {rows} gradients of {row / 1e6:.0f} MB are more than 2 GiB; use a "
                "smaller model, fewer probes or rows, or a smaller chunk_size"
            )

    @staticmethod
    def _rows(task: Task, rows: Any, count: int) -> dict[str, Tensor]:
        found = rows.__getitems__(list(range(min(count, len(rows)))))
        return task.received(task.data.collate(found))


def _correlation(a: Tensor, b: Tensor) -> float:
    if len(a) < 2:
        return 1.0
    return float(torch.corrcoef(torch.stack((a, b)))[0, 1].nan_to_num())
