"""A generator that is pulled by the difference of two learned scores."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from suexp.loss.denoising_score import noise_like
from suexp.nn.density import at_least_float32
from suexp.nn.input_gradient import require_independent
from suexp.task._samples import coverage, energy_distance, wasserstein
from suexp.task.adversarial import Adversarial


class ScoreGenerator(Adversarial):
    r"""Lower $\mathrm{KL}(q_\sigma \| p_\sigma)$ of generated points, with no adversary.

    Its gradient is $E[(\nabla s_q - \nabla s_p)(g(z) + \eta) \cdot \partial g]$; $s_p$ and $s_q$
    are learned by denoising, of data and of what g makes, and stand still in the generator's step,
    $L = E[E_p - E_q](g(z) + \eta)$. Energies are $E = -s$.

    A step of the run is one of the generator. Before it the two energies make ``n_critic`` steps,
    each on its own part of the batch's rows (data.batch_size is n_critic times what they see at
    once); the lag of $s_q$ behind g is what more of these steps keep small. What methods wrap is
    the energies' loss.

    Logged: ``train/loss``, of the energies; for validation, and the test split where there is one,
    with ``num_samples`` points of each kind and the same noise every time, ``w1`` and
    ``energy_distance`` between real and generated points, and, where the data has ``centres``,
    ``share_good`` and ``modes``. Tables: ``samples``, and in the plane ``contour``, of
    $s_q - s_p$.

    Post: https://kexue.fm/archives/7038. Paper: Bigdeli et al., Learning Generative Models using
    Denoising Density Estimators, arXiv:2001.02728, whose code has the generator step every tenth
    time.

    Args:
        n_critic: the energies' steps for each of the generator.
        generator_lr: learning rate of the generator; None: the optimizer's own.
        generator_batch: points of the generator's step; None: as many as in one of the energies'.
        ema_decay: of the average of the generator's weights that is evaluated; None: the generator
            itself is.
        num_samples: points of each kind in an evaluation; the assignment costs their cube.
        line_points: of the difference of scores on a line, for the table ``line``; 0: none.
        seed: of the noise.

    Raises:
        ValueError: a number out of range, energies whose gradients are not their own.
        UserError: a batch that cannot be parted, accumulated gradients, or weights of 16 bits.
    """

    provides: ClassVar[set[str]] = {"score_generating", "samples"}
    needs: ClassVar[dict[str, str]] = {
        "two_energies": "it learns two energies and a generator; use model=gan_energy",
        "denoising": "energies learn by denoising; use loss=denoising_score",
        "vectors": "it makes vectors; use data=ring or data=digits",
        "optimizer": "use optimizer=adam",
        "scheduler": "use scheduler=constant",
    }

    def __init__(
        self,
        n_critic: int = 5,
        generator_lr: float | None = None,
        generator_batch: int | None = None,
        ema_decay: float | None = None,
        num_samples: int = 500,
        line_points: int = 0,
        seed: int = 0,
        **parts: Any,
    ) -> None:
        super().__init__(
            n_critic,
            generator_lr,
            generator_batch,
            ema_decay,
            num_samples,
            line_points,
            seed,
            **parts,
        )
        require_independent(self.model.critic, "model")

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the two energies' loss of a batch."""
        batch = self.with_fake(batch)
        data: Tensor = self.loss(self.model.critic.data, batch["x"])
        fake = batch["fake"].detach().to(batch["x"].dtype)
        generated: Tensor = self.loss(self.model.critic.generated, fake)
        return data + generated

    def generator_objective(self, count: int) -> Tensor:
        """Return what the generator lowers, of so many points."""
        x = at_least_float32(self.generate(count))
        noised = x + self.loss.sigma * noise_like(x, None)
        # The two energies are near to each other: 16 bits would hold little of their difference.
        with torch.autocast(x.device.type, enabled=False):
            pull: Tensor = self.model.critic(noised).mean()
        return pull

    def _finish_split(self, split: str) -> None:
        real = self.real.compute()[: self.num_samples].to(self._like)
        self.real.reset()
        fake = self.sample(len(real))
        metrics = {"w1": wasserstein(real, fake), "energy_distance": energy_distance(real, fake)}
        centres = getattr(self.data, "centres", None)
        if centres is not None:
            share, modes = coverage(fake, centres, self.data.std)  # type: ignore[attr-defined]
            metrics |= {"share_good": share, "modes": float(modes)}
        self.report({f"{split}/{name}": value for name, value in metrics.items()})

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        return {**super().worst(split), f"{split}/energy_distance": math.inf}
