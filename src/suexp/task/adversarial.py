"""A generator trained against a critic."""

import functools
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchmetrics.aggregation import CatMetric

from suexp.data.base import Data
from suexp.errors import UserError, at_least
from suexp.method.base import Method, Skip
from suexp.nn.param_groups import build_optimizer
from suexp.task._critic import (
    contour_rows,
    gradient_norms,
    line_metrics,
    line_rows,
    picture_rows,
    sample_rows,
)
from suexp.task._draws import generator_of
from suexp.task._samples import coverage, wasserstein
from suexp.task.base import Task

TIMED = 10  # steps between two that are timed


class Adversarial(Task):
    r"""A critic D learns to tell real points from G(z), $z \sim N(0, I)$: $\min_G \max_D$.

    A step of the run is one step of the generator. Before it the critic makes ``n_critic`` steps,
    each on its own part of the batch's rows (data.batch_size is n_critic times what the critic sees
    at once). Batches hold ``x`` (batch, d); the model has a ``generator``, a ``critic`` and
    ``latent_dim``; the loss has a side for each. D sees real and generated points in one pass.

    What methods wrap is the critic's loss, on a batch that holds ``x`` and the generated ``fake``;
    their `backward` wraps both sides', and `after_step` follows every step. They may replace
    ``model.critic`` (`suexp.method.gradient_normalization`); ``raw_critic`` stays the network.
    trainer.gradient_clip_val clips each side by itself.

    Logged: ``train/loss``, the critic's, and ``train/generator_loss``; for validation, and the test
    split where there is one, with ``num_samples`` points of each kind, the same noise every time:

    - ``w1``: exact Wasserstein distance between real and generated points, and
      ``share_good``, ``modes`` where the data has ``centres``: the share of points within 3
      standard deviations of a mode, and the modes that hold a tenth of their fair share;
    - ``max_grad_norm``, ``mean_grad_norm``: of $\nabla_x \hat f$ at all these points, $\hat f$ the
      critic with what methods make of it;
    - ``max_jump``, ``max_step``: the largest change of $\hat f$, and of the network itself, from
      one of ``line_points`` points to the next, on the segment from the first real point to the one
      farthest from it; ``line_step``, the distance of such neighbours, which is as far as a
      1-Lipschitz function can move; ``jumps``, how many changes of $\hat f$ exceed 10 of it.

    ``train/step_ms`` is the median time of a step, the critic's part included: processor time on a
    CPU, the clock's elsewhere. Tables: ``samples``, ``line``, and in the plane ``contour``; for
    square images ``picture``.

    References: Goodfellow et al., Generative Adversarial Networks, arXiv:1406.2661;
    https://kexue.fm/archives/8757.

    Args:
        n_critic: critic's steps for each of the generator.
        generator_lr: learning rate of the generator; None: the optimizer's own.
        generator_batch: points of the generator's step; None: as many as in one of the critic's.
        ema_decay: of the average of the generator's weights that is evaluated, 0.9999, say; None:
            the generator itself is.
        num_samples: points of each kind in an evaluation; the assignment costs their cube.
        line_points: 0: the critic is not looked at along a line.
        seed: of the noise.

    Raises:
        ValueError: a number out of range.
        UserError: a batch that cannot be parted, accumulated gradients, or weights of 16 bits.
    """

    provides: ClassVar[set[str]] = {"adversarial"}
    needs: ClassVar[dict[str, str]] = {
        "critic": "it trains a generator and a critic; use model=gan_mlp",
        "losses_of_two": "generator and critic have a loss each; use loss=gan",
        "vectors": "it makes vectors; use data=ring or data=digits",
        "optimizer": "use optimizer=adam",
        "scheduler": "use scheduler=constant",
    }
    refuses: ClassVar[dict[str, str]] = {
        "trainer=fsdp": "it does not shard generator and critic; use trainer=ddp",
    }

    def __init__(
        self,
        n_critic: int = 1,
        generator_lr: float | None = None,
        generator_batch: int | None = None,
        ema_decay: float | None = None,
        num_samples: int = 500,
        line_points: int = 16384,
        seed: int = 0,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        at_least(1, "task", n_critic=n_critic, num_samples=num_samples)
        at_least(1, "task", generator_batch=generator_batch)
        if generator_lr is not None and not generator_lr > 0:
            raise ValueError(f"task.generator_lr must be above 0, not {generator_lr}")
        if ema_decay is not None and not 0 <= ema_decay < 1:
            raise ValueError(f"task.ema_decay must lie in [0, 1), not {ema_decay}")
        if line_points == 1 or line_points < 0:
            raise ValueError(f"task.line_points must be 0 or at least 2, not {line_points}")
        self.automatic_optimization = False
        self.n_critic, self.generator_lr = n_critic, generator_lr
        self.generator_batch, self.ema_decay = generator_batch, ema_decay
        self.num_samples, self.line_points, self.seed = num_samples, line_points, seed
        self._raw_critic = (self.model.critic,)  # hidden from the state dict: it is in the model
        self.average: AveragedModel | None = None
        self.real = CatMetric(nan_strategy="disable")
        self._clip: float | None = None
        self._draws = 0
        self._times: list[float] = []

    def wrap(self, methods: Sequence[Method]) -> None:
        """Let methods wrap the training; then begin the average of what they leave."""
        super().wrap(methods)
        if self.ema_decay is not None:
            average = get_ema_multi_avg_fn(self.ema_decay)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(
                self.model.generator, multi_avg_fn=average, use_buffers=True
            ).requires_grad_(False)

    @property
    def raw_critic(self) -> Any:
        """The critic's network, without what methods have wrapped around it."""
        return self._raw_critic[0]

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the size of the points."""
        return {"input_dim": data.sizes["input_dim"]}

    def trainer_settings(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Take over the clipping; let DDP expect that each pass trains one network of two.

        Raises:
            UserError: gradients are to be accumulated, or weights to have 16 bits.
        """
        if (chosen.get("accumulate_grad_batches") or 1) > 1:
            raise UserError(
                f"trainer.accumulate_grad_batches={chosen['accumulate_grad_batches']}: "
                "task=adversarial steps at every batch; use a larger data.batch_size"
            )
        if str(chosen.get("precision")) in ("16-true", "bf16-true"):
            raise UserError(
                f"trainer.precision={chosen['precision']}: neither gradients of a critic nor the "
                f"average of a generator fit into 16 bits; use {chosen['precision'][:-4]}mixed"
            )
        self._clip = chosen.get("gradient_clip_val")
        parts: dict[str, Any] = {"gradient_clip_val": None}
        if chosen.get("strategy") == "ddp":
            parts["strategy"] = "ddp_find_unused_parameters_true"
        return {**chosen, **parts}

    def configure_optimizers(self) -> Any:
        """Build two optimizers, the generator's first, each with a schedule over all steps.

        Raises:
            UserError: what the optimizer or the scheduler refuses, a learning rate of 0, say.
        """
        total = max(int(self.trainer.estimated_stepping_batches), 1)
        own = {} if self.generator_lr is None else {"lr": self.generator_lr}
        recipes = (
            (functools.partial(self._optimizer, **own), (self.model.generator,)),
            (self._optimizer, tuple(m for m in (self.model.critic, self.loss) if _trains(m))),
        )
        configured = []
        try:
            for recipe, modules in recipes:
                optimizer = self.watched(build_optimizer(recipe, *modules))
                scheduler = self._scheduler(optimizer=optimizer, total_steps=total)
                configured.append({"optimizer": optimizer, "lr_scheduler": scheduler})
        except ValueError as error:
            raise UserError(str(error)) from error
        return configured

    # Training

    def generate(self, count: int) -> Float[Tensor, "b d"]:
        """Return generated points; gradients go to the generator where they are on.

        The noise is a function of the seed, the step, the process and how many draws the step has
        made: a run that is resumed draws what it would have drawn.
        """
        place = (self.seed, self.global_rank, self.global_step, self._draws)
        self._draws += 1
        generator = generator_of(self.device, *place)
        shape, like = (count, self.model.latent_dim), self._like
        z = torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
        return self.model.generator(z)

    def with_fake(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the batch with generated points, as many as real ones, where it has none."""
        if "fake" in batch:
            return batch
        with torch.no_grad():
            return {**batch, "fake": self.generate(len(batch["x"]))}

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the critic's loss of a batch."""
        batch = self.with_fake(batch)
        real, fake = batch["x"], batch["fake"]
        scores = self.model.critic(torch.cat([real, fake.to(real.dtype)]))
        return self.loss.critic(scores[: len(real)], scores[len(real) :])

    def generator_objective(self, count: int) -> Tensor:
        """Return the generator's loss of so many points."""
        return self.loss.generator(self.model.critic(self.generate(count)))

    def _parts(self, batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """Return the rows of each of the critic's steps."""
        rows = len(batch["x"])
        if rows % self.n_critic:
            raise UserError(
                f"a batch of {rows} rows cannot be parted among task.n_critic={self.n_critic} "
                f"steps; set data.batch_size to a multiple of {self.n_critic}"
            )
        size = rows // self.n_critic
        return [
            {name: value[start : start + size] for name, value in batch.items()}
            for start in range(0, rows, size)
        ]

    def training_step(  # type: ignore[override]
        self, batch: dict[str, Tensor], batch_idx: int
    ) -> dict[str, Tensor]:
        """Make n_critic steps of the critic and one of the generator; return their losses."""
        start = self._clock() if batch_idx % TIMED == 0 else None
        self._draws = 0
        generator, critic = self.optimizers()  # type: ignore[attr-defined]
        # Lightning's global step, which ends the run and names checkpoints, counts the generator's.
        critic._on_before_step = critic._on_after_step = _nothing
        objective, parts = self.wrapped_objective(), self._parts(batch)
        losses = []
        for part in parts:
            with suppress(Skip):  # a method skips this step of the critic
                loss = self._descend(critic, functools.partial(objective, self.with_fake(part)))
                losses.append(loss)
        count = self.generator_batch or len(parts[0]["x"])
        with _frozen(self.model.critic):
            generator_loss = self._descend(
                generator, functools.partial(self.generator_objective, count)
            )
        if self.average is not None:
            self.average.update_parameters(self.model.generator)
        for scheduler in self.lr_schedulers():  # type: ignore[union-attr]
            scheduler.step()
        if start is not None:
            self._times.append(self._clock() - start)
        critic_loss = {"loss": torch.stack(losses).mean()} if losses else {}
        return critic_loss | {"generator_loss": generator_loss}

    def _descend(self, optimizer: Any, objective: Any) -> Tensor:
        """Make a step of one side and return its loss."""
        loss: Tensor = objective()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss.detach()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradients of the side that steps; they are unscaled by now."""
        if self._clip:
            self.clip_gradients(
                optimizer, self._clip, self.trainer.gradient_clip_algorithm or "norm"
            )

    def _compute(self, batch: dict[str, Tensor]) -> None:
        objective, parts = self.wrapped_objective(), self._parts(batch)
        for part in parts:
            with suppress(Skip):
                self.backward(objective(self.with_fake(part)))
        with _frozen(self.model.critic):
            count = self.generator_batch or len(parts[0]["x"])
            self.backward(self.generator_objective(count))

    def _clock(self) -> float:
        if self.device.type == "cpu":
            return time.process_time()
        getattr(torch, self.device.type).synchronize()
        return time.perf_counter()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the times so far."""
        checkpoint["times"] = list(self._times)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with those."""
        self._times = list(checkpoint["times"])

    def on_train_end(self) -> None:
        """Store the median time of a step as a final metric."""
        if self._times:
            self.final["train/step_ms"] = 1000 * statistics.median(self._times)

    # Evaluation

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0) -> Float[Tensor, "n d"]:
        """Return generated points, the same for the same weights and seed."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(count, self.model.latent_dim, generator=generator).to(self._like)
        network = self.model.generator
        if self.average is not None and self.average.n_averaged > 0:
            network = self.average
        was = network.training
        points = network.eval()(z).to(self._like)
        network.train(was)
        return points

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Collect real points."""
        del batch_idx
        held = sum(len(rows) for rows in self.real.value)
        room = math.ceil(self.num_samples / self.trainer.world_size) - held
        if room > 0:
            self.real.update(batch["x"][:room])

    def on_validation_epoch_end(self) -> None:
        """Log the validation split's figures."""
        self._finish_split("val")

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Collect real points."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the test split's figures."""
        self._finish_split("test")

    def _finish_split(self, split: str) -> None:
        real = self.real.compute()[: self.num_samples].to(self._like)
        self.real.reset()
        fake = self.sample(len(real))
        metrics: dict[str, float] = {"w1": wasserstein(real, fake)}
        centres = getattr(self.data, "centres", None)
        if centres is not None:
            share, modes = coverage(fake, centres, self.data.std)  # type: ignore[attr-defined]
            metrics |= {"share_good": share, "modes": float(modes)}
        norm = gradient_norms(self.model.critic, torch.cat([real, fake]))
        metrics |= {"max_grad_norm": float(norm.max()), "mean_grad_norm": float(norm.mean())}
        if self.line_points:
            metrics |= line_metrics(self.model.critic, self.raw_critic, real, self.line_points)
        self.report({f"{split}/{name}": value for name, value in metrics.items()})

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures; the critic's have none."""
        covered = () if getattr(self.data, "centres", None) is None else ("share_good", "modes")
        return {f"{split}/w1": math.inf, **{f"{split}/{name}": 0.0 for name in covered}}

    # Figures

    def finish(self) -> str | None:
        """Record the rows of the figures."""
        real = self._validation_rows()
        fake = self.sample(len(real))
        was = self.model.training
        self.model.eval()
        critic = self.model.critic
        if self.line_points:
            rows = line_rows(critic, self.raw_critic, real, self.line_points)
            self.record_rows("line", rows)
        if real.shape[1] == 2:
            self.record_rows("samples", sample_rows(real, fake))
            self.record_rows("contour", contour_rows(critic, real))
        elif picture := picture_rows(real, fake):
            self.record_rows("picture", picture)
        self.model.train(was)
        return None

    @property
    def _like(self) -> Tensor:
        """A tensor where the networks are, and of their type."""
        return next(self.model.parameters())

    def _validation_rows(self) -> Tensor:
        rows = self.data.splits()["validation"]
        chosen = rows.__getitems__(list(range(min(len(rows), self.num_samples))))
        return self.data.collate(chosen)["x"].to(self._like)


def _nothing() -> None:
    """What is called around a step that is not counted."""


def _trains(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network without reaching its weights."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
