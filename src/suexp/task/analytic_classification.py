"""A linear classifier without optimisation (https://kexue.fm/archives/8578)."""

import math
from typing import Any, ClassVar, Literal, get_args

import torch
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from suexp.errors import UserError
from suexp.nn.moments import Moments, merge, merge_all, moments, total
from suexp.task.classification import Classification
from suexp.task.closed_form import ClosedForm

Covariance = Literal["within", "total", "identity", "diagonal"]
Priors = Literal["empirical", "uniform"]


class AnalyticClassification(ClosedForm, Classification):
    r"""Set a model's last layer to the posterior of Gaussian classes with one covariance.

    With $p(x|c) = N(\mu_c, \Sigma)$ and priors $\pi_c$, Bayes' rule gives exactly a linear layer
    under a softmax,

    $$p(c|x) = \mathrm{softmax}_c(w_c^\top x + b_c),\quad w_c = \Sigma^{-1}(\mu_c - \mu),\quad
    b_c = \log\pi_c - \tfrac12(\mu_c-\mu)^\top\Sigma^{-1}(\mu_c-\mu) - w_c^\top\mu,$$

    with any $\mu$, here the mean of all rows: it adds the same number to all logits. Means,
    covariance and priors are moments of the data, so one pass sets the weights; no learning rate,
    no epochs, and the result depends neither on the order of the rows nor on how they are spread
    over batches and processes. For two classes this is logistic regression with weights
    $\Sigma^{-1}(\mu_1-\mu_0)$.

    x (batch, dim) is what the model's ``classifier``, a linear layer, reads: the data itself for
    model=linear, a frozen encoder's pooled states otherwise (give the encoder as a parent). The
    sums are float64; eigenvalues of the correlations below eps times the largest are left out, as
    are features without variance.

    ``covariance=total`` is what the post's code does: it whitens by the covariance of all rows and
    then takes the classes' for the identity. Its logits are those of ``within`` divided by
    $1 + \pi_0\pi_1 D^2$ for two classes, without the prior's; with more, classes in the middle are
    masked by the outer ones. ``identity``: the nearest mean. ``diagonal``: independent features.

    Post: https://kexue.fm/archives/8578. References: Fisher, The Use of Multiple Measurements in
    Taxonomic Problems, https://doi.org/10.1111/j.1469-1809.1936.tb02137.x; Efron, The Efficiency of
    Logistic Regression Compared to Normal Discriminant Analysis,
    https://doi.org/10.1080/01621459.1975.10480319; Ledoit and Wolf, A well-conditioned estimator
    for large-dimensional covariance matrices, https://doi.org/10.1016/S0047-259X(03)00096-4.

    Args:
        covariance: ``within`` classes, ``total``, ``identity`` or ``diagonal`` (of within).
        shrinkage: $\alpha$ of $(1-\alpha)\Sigma + \alpha\,\mathrm{tr}(\Sigma)/d\,I$, between 0 and
            1, or ``ledoit_wolf``, which estimates it in a second pass.
        eps: eigenvalues of the features' correlations of at most this share of the largest are left
            out (pseudo-inverse).
        priors: ``empirical`` frequencies, or ``uniform`` over the classes that occur.
        prior_smoothing: added to each class's number of rows (Laplace); with 0 a class that does
            not occur gets the logit minus infinity.
        ddof: rows taken off for each mean that is estimated: with 1 the scatter within C classes is
            divided by N - C, the total one by N - 1.

    Raises:
        ValueError: a value out of range; shrinkage without a matrix to shrink; a model whose last
            layer is not linear.
    """

    needs: ClassVar[dict[str, str]] = {
        "labels": "it sets a classifier; use data=sklearn with model=linear, or "
        "data=docstring_topic",
        "model": "use model=linear for vectors, model=transformer for texts",
    }

    def __init__(
        self,
        covariance: Covariance = "within",
        shrinkage: float | int | Literal["ledoit_wolf"] = 0.0,
        eps: float = 1e-8,
        priors: Priors = "empirical",
        prior_smoothing: float | int = 0.0,
        ddof: int = 0,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        for value, known in ((covariance, Covariance), (priors, Priors)):
            if value not in get_args(known):
                raise ValueError(f"{value!r} is none of {', '.join(get_args(known))}")
        estimated = shrinkage == "ledoit_wolf"
        if not estimated and (isinstance(shrinkage, str) or not 0 <= shrinkage <= 1):
            raise ValueError(f"shrinkage={shrinkage} must lie in [0, 1], or be ledoit_wolf")
        if shrinkage and covariance == "identity":
            raise ValueError("covariance=identity has nothing to shrink; set shrinkage=0")
        if estimated and covariance == "diagonal":
            raise ValueError(
                "ledoit_wolf shrinks a whole matrix; use covariance=within or a number"
            )
        if not 0 <= eps < 1 or prior_smoothing < 0 or ddof < 0:
            raise ValueError(
                f"eps={eps} must lie in [0, 1), prior_smoothing={prior_smoothing} and ddof={ddof} "
                "must not be negative"
            )
        if prior_smoothing and priors == "uniform":
            raise ValueError("prior_smoothing changes empirical priors only; set it to 0")
        if not isinstance(getattr(self.model, "classifier", None), nn.Linear):
            raise ValueError(
                f"{type(self.model).__name__} has no linear layer named classifier to set; use "
                "model=linear, model=mlp or model=transformer"
            )
        self.covariance, self.shrinkage, self.eps = covariance, shrinkage, eps
        self.priors, self.prior_smoothing, self.ddof = priors, prior_smoothing, ddof
        self.passes = 2 if estimated else 1

    @property
    def layer(self) -> nn.Linear:
        """The layer that is set."""
        layer: nn.Linear = self.model.classifier
        return layer

    def features(self, batch: dict[str, Tensor]) -> Tensor:
        """Return what the classifier reads of a batch, (batch, dim), in float64."""
        read: list[Tensor] = []
        hook = self.layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        try:
            self.logits(batch)
        finally:
            hook.remove()
        return self.widened(read[0])

    def accumulate(self, batch: dict[str, Tensor]) -> None:
        """Add a batch's moments; in a second pass the fourth powers of the distances."""
        x = self.features(batch)
        label = batch["label"].to(x.device)
        if self.pass_number == 0:
            new = moments(x, label, self.layer.out_features, self.covariance in ("within", "total"))
            if self.sums:
                new = merge(Moments(**self.sums), new)
            elif (gigabytes := new.scatter.numel() * 8e-9) > 0.5:
                rank_zero_info(f"the covariance of {x.shape[1]} features takes {gigabytes:.1f} GB")
            self.sums = new._asdict()
            return
        seen = self._measured()
        mean = seen.mean.expand(self.layer.out_features, -1)
        fourth = (x - mean[label]).square().sum(1).square().sum()
        self.sums["fourth"] = self.sums.get("fourth", 0) + fourth

    def joined(self) -> dict[str, Tensor]:
        """Return the moments over all processes."""
        if "rows" in self.sums:
            return merge_all(Moments(**self.sums), self.over_processes)._asdict()
        return super().joined()

    def _measured(self) -> Moments:
        """Return the moments that the covariance is of: of classes, or of all rows as one."""
        within = Moments(**{name: self.known[name] for name in Moments._fields})
        return total(within) if self.covariance == "total" else within

    def solve(self) -> None:
        """Write the classifier's weights."""
        if self.pass_number == 0:
            self.known = self.joined()
            self.sums = {}
        else:
            self.known |= self.joined()
        if self.pass_number + 1 < self.passes:
            return
        seen, count, mean = self._measured(), self.known["rows"], self.known["mean"]
        rows = count.sum()
        centre = (mean * count[:, None]).sum(0) / rows
        # A class that does not occur is put where it stands for nothing.
        centred = torch.where(count[:, None] > 0, mean - centre, 0.0)
        weight = self._divide(centred, seen, float(rows), int((seen.rows > 0).sum()))
        bias = self._log_priors(count) - 0.5 * (weight * centred).sum(1) - weight @ centre
        self.layer.weight.copy_(weight / getattr(self.layer, "scales", (1.0,))[0])
        self.layer.bias.copy_(bias)

    def _divide(self, centred: Tensor, seen: Moments, rows: float, means: int) -> Tensor:
        r"""Return the class means times $\Sigma^{-1}$, (classes, dim)."""
        if self.covariance == "identity":
            return centred
        divisor = rows - self.ddof * means
        if divisor <= 0:
            raise UserError(
                f"{rows:.0f} rows of {means} classes leave nothing to estimate a covariance from; "
                "give more rows, or use task.covariance=identity"
            )
        scatter, dim = seen.scatter / divisor, centred.shape[1]
        diagonal = scatter if scatter.ndim == 1 else scatter.diagonal()
        level = diagonal.mean()
        alpha = self._shrinkage(seen, rows)
        if not alpha and self.covariance != "diagonal" and rows - means < dim:
            rank_zero_warn(
                f"{rows:.0f} rows of {means} classes do not determine a covariance of {dim} "
                "features; set task.shrinkage=ledoit_wolf"
            )
        if self.shrinkage:
            self.final["train/shrinkage"] = float(alpha)
        scatter = (1 - alpha) * scatter
        if scatter.ndim == 1:
            variance = scatter + alpha * level
            return centred * _inverse(variance, self.eps)
        scatter.diagonal().add_(alpha * level)
        # As correlations, so that it does not matter in what units a feature is: millimetres beside
        # square metres would lose their eigenvalues.
        scale = _inverse(scatter.diagonal(), 0.0).sqrt()
        values, vectors = torch.linalg.eigh(scale[:, None] * scatter * scale)
        return (centred * scale) @ vectors * _inverse(values, self.eps) @ vectors.mT * scale

    def _shrinkage(self, seen: Moments, rows: float) -> float:
        r"""Return $\alpha$; Ledoit and Wolf's is $\min(b, d)/d$ of these distances.

        $d = \|S - mI\|^2/p$ with $m = \mathrm{tr}S/p$, $b = (\sum_i\|x_i\|^4/n - \|S\|^2)/(pn)$.
        """
        if self.shrinkage != "ledoit_wolf":
            return float(self.shrinkage)
        covariance = seen.scatter / rows
        square, trace = float(covariance.square().sum()), float(covariance.trace())
        dim = len(covariance)
        spread = (square - trace * trace / dim) / dim
        noise = (float(self.known["fourth"]) / rows - square) / (dim * rows)
        return min(noise, spread) / spread if spread > 0 else 0.0

    def _log_priors(self, count: Tensor) -> Tensor:
        absent = [str(i) for i in (count == 0).nonzero().flatten().tolist()]
        if absent and not self.prior_smoothing:
            rank_zero_warn(
                f"no training row is of class {', '.join(absent)}, which is never predicted; "
                "task.prior_smoothing=1 leaves it a chance"
            )
        weight = count + self.prior_smoothing
        if self.priors == "uniform":
            weight = (count > 0).to(count)
        return weight.log() - math.log(float(weight.sum()))


def _inverse(values: Tensor, eps: float) -> Tensor:
    """Return one over the values, 0 for those that are as good as 0."""
    kept = values > eps * values.max()
    return torch.where(kept, 1 / values.where(kept, torch.ones_like(values)), 0.0)
