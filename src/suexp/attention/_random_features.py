"""Random features of moderate size, and their derivatives."""

import torch
from jaxtyping import Float
from torch import Tensor

from suexp.attention._feature_map import FeatureMap

RELU_EPS = 1e-3


class RandomFeatures(FeatureMap):
    r"""FAVOR+ features with each row divided by its largest one.

    The largest exponent of a row is subtracted before exp and returned as ``log_scale``. For a
    query any factor of its row cancels in the attention, so it is dropped, and $|q|^2/2$ with it.
    The factors $m^{-1/2}$ cancel too. A row is $e^{u - \max u} + \epsilon$.

    Args:
        projection: W (m, d), already multiplied by $d^{-1/4}$.
        kernel: positive, hyperbolic, trigonometric or relu.
        is_key: whether the rows are keys, whose scales count.
        eps: added to the features after exp.
    """

    def __init__(
        self, projection: Float[Tensor, "m d"], kernel: str, is_key: bool, eps: float = 0.0
    ) -> None:
        self.projection = projection
        self.kernel = kernel
        self.is_key = is_key
        self.eps = eps
        self.square = projection.shape[1] ** -0.5  # |x|^2 / 2 is half of this times |q|^2
        self.fusible = eps == 0

    def __call__(
        self, x: Float[Tensor, "B n d"]
    ) -> tuple[Float[Tensor, "B n f"], Float[Tensor, "B n"] | None]:
        """Return features at most 1, and for keys the logarithm of what they were divided by."""
        u = x @ self.projection.mT
        if self.kernel == "relu":
            return u.relu_().add(RELU_EPS), None
        if self.kernel == "trigonometric":
            features = torch.cat([u.cos(), u.sin()], -1)
            log_scale = self._half_norm(x) if self.is_key else None
        else:
            if self.kernel == "hyperbolic":
                u = torch.cat([u, -u], -1)
            if self.eps:  # beside it the largest feature does not cancel, nor does its gradient
                top = u.amax(-1, keepdim=True)
                features = (u - top).exp()
            else:
                top = u.detach().amax(-1, keepdim=True)
                features = u.sub_(top).exp_()
            log_scale = top[..., 0] - self._half_norm(x) if self.is_key else None
        return features + self.eps if self.eps else features, log_scale

    def _half_norm(self, x: Tensor) -> Tensor:
        return x.square().sum(-1) * (self.square / 2)

    def vjp(
        self, x: Float[Tensor, "B n d"], features: Float[Tensor, "B n f"], grad: Tensor
    ) -> Float[Tensor, "B n d"]:
        """Return the gradient for x, its scale's included."""
        if self.kernel == "relu":
            return grad.mul_(features > RELU_EPS) @ self.projection
        m = self.projection.shape[0]
        if self.kernel == "trigonometric":
            du = grad[..., m:] * features[..., :m] - grad[..., :m] * features[..., m:]
            along = (grad * features).sum(-1, keepdim=True) if self.is_key else None
        else:
            du = grad.mul_(features)
            along = -du.sum(-1, keepdim=True) if self.is_key else None
            if self.kernel == "hyperbolic":
                du = du[..., :m] - du[..., m:]
        dx = du @ self.projection
        return dx if along is None else dx.addcmul_(along, x, value=self.square)


class PeerFeatures(FeatureMap):
    r"""Positive features as others stabilise them: $m^{-1/2}(e^{u - |x|^2/2 - c} + \epsilon)$.

    c is the largest u of a query's row, or of all keys of a head together: later keys change what
    earlier tokens see. As there, the gradient takes it for a constant, which it is not beside
    $\epsilon$. If causal, $10^{-6}$ is added to each feature's sum over keys. Only for
    comparing with such implementations.

    Args:
        projection: W (m, d), already multiplied by $d^{-1/4}$.
        is_key: whether the rows are keys.
        eps: $\epsilon$.
    """

    fusible = False
    floor = 1e-6

    def __init__(self, projection: Float[Tensor, "m d"], is_key: bool, eps: float) -> None:
        self.projection = projection
        self.is_key = is_key
        self.eps = eps

    def __call__(self, x: Float[Tensor, "B n d"]) -> tuple[Float[Tensor, "B n m"], None]:
        """Return the features."""
        m, d = self.projection.shape
        u = x @ self.projection.mT
        top = u.detach().amax((-1, -2) if self.is_key else -1, keepdim=True)
        half = x.square().sum(-1, keepdim=True) * (d**-0.5 / 2)
        return (torch.exp(u - half - top) + self.eps) * m**-0.5, None
