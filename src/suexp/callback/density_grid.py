"""What a learned density of the plane is, beside the true one."""

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from suexp.callback._when import is_last
from suexp.component import Component
from suexp.task.base import Task


class DensityGrid(Callback, Component):
    r"""Once training is over: $\mathrm{KL}(p_\sigma \| q)$ on a grid, q the learned density.

    $p_\sigma$ is the data's own density with the noise that the task's density has (none where it
    has none). Both are normalised on the grid, of points^2 points, which reaches ``reach``
    deviations beyond the outermost mode: a smaller one would cut mass off. Shapes: grid (n, 2),
    log-densities (n,).

    ``val/kl_grid``, in nats; ``val/mode_weight``, q's mass nearest to the heaviest mode, and
    ``val/true_mode_weight``, that of $p_\sigma$. The table ``densities`` has rows of x1, x2,
    density and ``of``: learned, true.

    Post: https://kexue.fm/archives/7038.

    Args:
        points: along each axis.
        reach: in deviations of a mode, its noise included.
        shown: points along each axis in the table.

    Raises:
        ValueError: fewer than 2 points, no reach.
    """

    needs: ClassVar[dict[str, str]] = {
        "plane": "it draws the plane; use data=ring or data=two_modes",
        "known_density": "it compares with the data's own density; use data=ring or two_modes",
        "unnormalised_density or fitted_density": "it looks at a density; use task=score_energy",
    }

    def __init__(self, points: int = 100, reach: float = 4.0, shown: int = 50) -> None:
        if points < 2 or shown < 2:
            raise ValueError(f"points={points}, shown={shown}: at least 2 each")
        if not reach > 0:
            raise ValueError(f"reach must be above 0, not {reach}")
        self.points, self.reach, self.shown = points, reach, shown

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the densities, once training is over."""
        if is_last(trainer):
            assert isinstance(pl_module, Task)
            self.measure(pl_module)

    @torch.no_grad()
    def measure(self, task: Any) -> None:
        """Compare the densities; the task keeps what is found."""
        sigma = getattr(task, "sigma", 0.0)
        law = task.data.law.noised(sigma**2)
        x, log_p, log_q = self._logs(task, law, sigma, self.points)
        kl = float((log_p.exp() * (log_p - log_q)).sum())
        centres = law.means
        nearest = torch.cdist(x, centres).argmin(1) == int(law.weights.argmax())
        task.final |= {
            "val/kl_grid": kl,
            "val/mode_weight": float(log_q.exp()[nearest].sum()),
            "val/true_mode_weight": float(log_p.exp()[nearest].sum()),
        }
        x, log_p, log_q = self._logs(task, law, sigma, self.shown)
        area = float(x[1, 1] - x[0, 1]) ** 2
        task.tables.pop("densities", None)
        for of, log in (("true", log_p), ("learned", log_q)):
            density = (log.exp() / area).tolist()
            rows = [
                {"x1": round(a, 3), "x2": round(b, 3), "density": round(p, 6), "of": of}
                for (a, b), p in zip(x.tolist(), density, strict=True)
            ]
            task.record_rows("densities", rows)

    def _logs(self, task: Any, law: Any, sigma: float, points: int) -> tuple[Any, Any, Any]:
        """Return the grid and the logarithms of both densities' masses on it, in float64."""
        spread = (task.data.std**2 + sigma**2) ** 0.5
        edge = float(law.means.norm(dim=1).max()) + self.reach * spread
        side = torch.linspace(-edge, edge, points, dtype=torch.float64)
        x = torch.cartesian_prod(side, side)
        model = task.model
        like = next(model.parameters())
        was = model.training
        model.eval()
        learned = task.log_density(x.to(like)).double().cpu()
        model.train(was)
        return x, law.log_prob(x).log_softmax(0), learned.log_softmax(0)
