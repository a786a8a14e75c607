"""Pictures that are completed from a block of them, to learn features without labels."""

from fractions import Fraction
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from suexp.data.base import Data
from suexp.errors import UserError, between, one_of
from suexp.extrapolator.base import Corner
from suexp.task._draws import hashed
from suexp.task._linear_map import LinearMap
from suexp.task._mean import weighted_mean
from suexp.task._splits import Evaluated


class Heat(Evaluated):
    r"""Show a block, predict the rest: $L = \frac1{|H|} \sum_{p \in H} (\hat x_p - x_p)^2$.

    H are the hidden pixels, those outside a square block of cells, or all pixels. The block's place
    is drawn for each training batch from ``seed`` and the step, uniformly; evaluation takes every
    place. Batches hold pictures ``x`` (B, channels * side^2). Logged for validation, and for the
    test split where there is one: ``hidden_mse``, the same over hidden pixels only, which is
    ``loss``; ``derivative_r2``, $1 - \sum |u_x - W u_y|^2 / \sum |u_x|^2$ for the best W, where u
    are the features of whole pictures and $u_x$, $u_y$ differences of neighbours: how nearly linear
    the two derivatives are in each other; and the extrapolator's own: ``path_gap``,
    $|AB - BA| / |A| |B|$, and ``growth``, the log of the largest norm of $M^k$ for the most steps.

    The tables of a finished run: ``picture`` (a held-out picture, what is seen, what is predicted,
    the norms of its features) and ``eigenvalues`` of A and B.

    Post: https://kexue.fm/archives/9359. Paper: Chen et al., Self-Supervised Learning based on Heat
    Equation, arXiv:2211.13228.

    Args:
        block_fraction: the block's side as a share of the picture's.
        position: where the block is in training: ``random``, or at one of the ``corners``.
        loss_on: ``hidden`` or ``all`` pixels.
        seed: of the places.
        parts: what every task is given.

    Raises:
        ValueError: a share outside (0, 1), an unknown word.
        UserError: a block that is no whole number of cells.
    """

    provides: ClassVar[set[str]] = {"blocks", "numbers"}
    needs: ClassVar[dict[str, str]] = {
        "block_reconstruction": "it completes pictures; use model=heat",
        "images": "it completes pictures; use data=plane_waves, digits or idx",
        "squared_error": "it compares pixels; use loss=mse",
    }

    def __init__(
        self,
        block_fraction: float = 0.5,
        position: Literal["random", "corners"] = "random",
        loss_on: Literal["hidden", "all"] = "hidden",
        seed: int = 0,
        **parts: Any,
    ) -> None:
        between("(0, 1)", block_fraction=block_fraction)
        one_of(("random", "corners"), position=position)
        one_of(("hidden", "all"), loss_on=loss_on)
        super().__init__(**parts)
        self.position, self.loss_on, self.seed = position, loss_on, seed
        stride, grid = self.model.stride, self.model.grid
        side = Fraction(str(block_fraction)) * grid
        if side.denominator > 1:
            pixels = float(side * stride)
            raise UserError(
                f"a block of {pixels:g} px is no multiple of stride {stride}; set "
                f"task.block_fraction to a multiple of 1/{grid}"
            )
        self.block = int(side)
        self.squared = weighted_mean()
        self.derivatives = LinearMap(self.model.encoder[-1].out_channels)

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the size of a picture."""
        return {"input_dim": data.sizes["input_dim"]}

    @property
    def corners(self) -> list[Corner]:
        """The places of the block in training: its first cell."""
        last = self.model.grid - self.block
        ends = range(last + 1) if self.position == "random" else (0, last)
        return [(row, column) for row in ends for column in ends]

    def corner(self, step: int) -> Corner:
        """Return the block's place at a step, the same in all processes."""
        return self.corners[hashed(self.seed, step) % len(self.corners)]

    def hidden(self, corner: Corner) -> Bool[Tensor, " d"]:
        """Return which numbers of a picture lie outside the block."""
        stride, channels = self.model.stride, self.model.channels
        side, pixels = self.model.grid * stride, self.block * stride
        top, left = (stride * first for first in corner)
        outside = torch.ones(channels, side, side, dtype=torch.bool, device=self.device)
        outside[:, top : top + pixels, left : left + pixels] = False
        return outside.flatten()

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean squared error of a batch, and the extrapolator's penalty."""
        corner = self.corner(self.global_step)
        predicted, x = self.model(batch["x"], corner, self.block), batch["x"]
        if self.loss_on == "hidden":
            hidden = self.hidden(corner)
            predicted, x = predicted[:, hidden], x[:, hidden]
        loss: Tensor = self.loss(predicted, x) + self.model.extrapolator.penalty()
        return loss

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Add the errors of a batch with the block at each place, and its derivatives."""
        x = batch["x"]
        for corner in self.corners:
            hidden = self.hidden(corner)
            error = (self.model(x, corner, self.block) - x)[:, hidden].float()
            self.squared.update(error.square().mean(), weight=len(x))
        u = self.model.encode(x).float()
        along_x = (u[..., :-1, 1:] - u[..., :-1, :-1]).movedim(1, -1).flatten(0, -2)
        along_y = (u[..., 1:, :-1] - u[..., :-1, :-1]).movedim(1, -1).flatten(0, -2)
        self.derivatives.update(along_y, along_x)

    def finish_split(self, split: str) -> None:
        """Log a split's figures."""
        error = self.squared.compute()
        found = {"loss": error, "hidden_mse": error, "derivative_r2": self.derivatives.compute()}
        found |= self.model.extrapolator.figures(self.model.grid - self.block)
        self.report({f"{split}/{name}": value for name, value in found.items()})
        self.squared.reset()
        self.derivatives.reset()

    @torch.no_grad()
    def finish(self) -> str | None:
        """Record a picture and the eigenvalues of the linear law."""
        self.model.eval()
        rows: Any = self.data.splits()["validation"]
        like = next(self.model.parameters())
        x = self.data.collate(rows.__getitems__([0]))["x"].to(like)
        corner = self.corners[len(self.corners) // 2]
        self.tables.clear()
        norms = self.model.features(x, corner, self.block)[0].norm(dim=0)
        seen = x.masked_fill(self.hidden(corner).to(x.device), float(x.min()))
        predicted = self.model(x, corner, self.block)
        side = self.model.grid * self.model.stride
        shown = {
            "picture": x,
            "seen": seen,
            "predicted": predicted,
            "feature norm": norms.repeat_interleave(self.model.stride, 0).repeat_interleave(
                self.model.stride, 1
            ),
        }
        for which, values in shown.items():
            values = values.float().flatten()[: side**2]  # of colours the first
            brightness = (values - values.min()) / (values.max() - values.min()).clamp_min(1e-12)
            self.record_rows(
                "picture",
                [
                    {"row": i // side, "column": i % side, "brightness": round(v, 4)}
                    | {"which": which}
                    for i, v in enumerate(brightness.tolist())
                ],
            )
        matrices = getattr(self.model.extrapolator, "matrices", None)
        for name, matrix in zip("AB", matrices, strict=True) if matrices else ():
            values = torch.linalg.eigvals(matrix.double().cpu())
            self.record_rows(
                "eigenvalues",
                [{"real": z.real, "imaginary": z.imag, "of": name} for z in values.tolist()],
            )
        return super().finish()
