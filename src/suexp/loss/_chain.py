r"""Scores of label chains: what the losses for tagging share (https://kexue.fm/archives/5542).

A path $y_1 \ldots y_T$ of C labels has the score
$s(y) = \sum_k f_k(y_k) + \sum_{k \ge 2} g(y_{k-1}, y_k)$ with emissions f (B, T, C) and
transitions g (C, C); ``lengths`` (B,) says how many of the T steps are real.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from suexp.errors import UserError
from suexp.nn.tag_scheme import allowed

Implementation = Literal["loop", "scan", "parallel"]
IMPLEMENTATIONS = ("loop", "scan", "parallel")

# Half of the powers of e that float64 has room for: two such products are multiplied at the end.
_ROOM = 350.0


@dataclass(frozen=True)
class Constraints:
    """Which labels may begin a path, end it, and follow each other: True where it may be."""

    start: Bool[Tensor, " c"]
    end: Bool[Tensor, " c"]
    pairs: Bool[Tensor, "c c"]

    def __post_init__(self) -> None:
        reached, ends = self.start, self.end
        for _ in range(len(ends)):
            if bool((reached & ends).any()):
                return
            reached = (self.pairs & reached[:, None]).any(0)
        raise ValueError(
            "constraints leave no path: no label that may end can be reached from one that may "
            "begin; allow more pairs"
        )


def constraints_of(
    constraints: "str | Constraints | None", names: Sequence[str] | None, num_labels: int
) -> Constraints | None:
    """Return the constraints of a scheme, or those given.

    Raises:
        ValueError: a scheme without the labels' names or that does not fit them, a wrong size.
    """
    if isinstance(constraints, str):
        if names is None:
            raise ValueError(f"constraints={constraints} needs label_names, the labels' names")
        constraints = Constraints(*allowed(constraints, names, "loss.constraints"))
    if constraints is not None and len(constraints.start) != num_labels:
        raise ValueError(
            f"the constraints are for {len(constraints.start)} labels, not {num_labels}"
        )
    return constraints


def lengths_of(
    mask: Bool[Tensor, "b t"], labels: Int[Tensor, "b t"] | None = None, num_labels: int = 0
) -> Int[Tensor, " b"]:
    """Return the number of real steps of each row, after a look at mask and labels.

    Raises:
        UserError: a mask that is no non-empty prefix, or a label outside 0 .. num_labels - 1.
    """
    wrong = ~mask[:, 0].all() | (mask[:, 1:] & ~mask[:, :-1]).any()
    outside = torch.zeros_like(wrong)
    if labels is not None:
        outside = (((labels < 0) | (labels >= num_labels)) & mask).any()
    if bool(wrong | outside):  # one look, since each waits for the device
        if bool(wrong):
            raise UserError(
                "mask must be a non-empty prefix of each row: True at the first step and False "
                "only at the end"
            )
        assert labels is not None
        row, step = ((((labels < 0) | (labels >= num_labels)) & mask).nonzero()[0]).tolist()
        raise UserError(
            f"labels[{row}, {step}] is {int(labels[row, step])}, outside 0 to {num_labels - 1}"
        )
    return mask.sum(1)


def reversal(lengths: Int[Tensor, " b"], t: int) -> Int[Tensor, "b t"]:
    """Return the places that turn each row's real steps round and leave the padding in place."""
    places = torch.arange(t, device=lengths.device)
    turned = lengths[:, None] - 1 - places
    return torch.where(turned >= 0, turned, places)


def turned(x: Tensor, places: Int[Tensor, "b t"]) -> Tensor:
    """Return x (b, t) or (b, t, c) with its steps at these places."""
    if x.dim() == 3:
        return x.gather(1, places.unsqueeze(-1).expand_as(x))
    return x.gather(1, places)


def path_score(
    unary: Float[Tensor, "b t c"],
    pairwise: Float[Tensor, "c c"],
    labels: Int[Tensor, "b t"],
    lengths: Int[Tensor, " b"],
) -> Float[Tensor, " b"]:
    """Return s(y); labels of padded steps must lie in range."""
    real = torch.arange(unary.shape[1], device=unary.device) < lengths[:, None]
    own = unary.gather(2, labels.unsqueeze(-1)).squeeze(-1)
    score = torch.where(real, own, 0).sum(1)
    steps = pairwise[labels[:, :-1], labels[:, 1:]]
    return score + torch.where(real[:, 1:], steps, 0).sum(1)


def log_partition(
    unary: Float[Tensor, "b t c"],
    pairwise: Float[Tensor, "c c"],
    lengths: Int[Tensor, " b"],
    implementation: Implementation = "scan",
) -> Float[Tensor, " b"]:
    r"""Return $\log Z = \log \sum_y e^{s(y)}$ of each row, exact in every implementation.

    ``loop`` is the recursion $a_1 = f_1$, $a_k(j) = f_k(j) + \log \sum_i e^{a_{k-1}(i) + g(i,j)}$
    as it stands. The other two multiply probabilities, which are divided by their size before they
    can leave the range of float64, in which everything is computed. ``scan`` goes through the steps
    once, from both ends at the same time, and takes the gradient from the marginals $p(y_k)$ and
    $p(y_{k-1}, y_k)$, so that nothing is differentiated step by step.
    ``parallel`` multiplies (C, C) matrices in a tree of depth $\log_2 T$, for devices with room for
    $T C^3$ operations at once. Sums of positive numbers lose no digits, however small some of them
    are; where the scores of one step span more than a factor of about $e^{170}$ both use ``loop``.
    """
    real = torch.arange(unary.shape[1], device=unary.device) < lengths[:, None]
    unary = unary.masked_fill(~real.unsqueeze(-1), 0)
    with torch.autocast(unary.device.type, enabled=False):
        if unary.device.type == "mps":  # which has no float64
            return _loop(unary, pairwise, lengths)
        if implementation != "loop":
            every = _steps_between(unary.detach(), pairwise.detach())
            if every > 0 and implementation == "parallel":
                return _tree(unary, pairwise, real)
            if every > 0:
                trains = torch.is_grad_enabled() and (unary.requires_grad or pairwise.requires_grad)
                result: Tensor = _Scan.apply(unary, pairwise, lengths, every, trains)  # type: ignore[no-untyped-call]
                return result
        return _loop(unary.double(), pairwise.double(), lengths)


def _steps_between(unary: Tensor, pairwise: Tensor) -> int:
    """Return how many steps may pass between divisions; 0 where even one is too many, or at NaN.

    With the largest emission and transition at 1, a step changes the sum over the labels, and the
    ratio of any two of them, by no more than the factor whose logarithm is ``span``.
    """
    own = (unary.amax(-1) - unary.amin(-1)).amax()
    span = float(own + pairwise.max() - pairwise.min()) + math.log(unary.shape[-1]) + 1
    return max(int(_ROOM / span) - 1, 0) if math.isfinite(span) else 0


def _loop(unary: Tensor, pairwise: Tensor, lengths: Tensor) -> Tensor:
    alpha = unary[:, 0]
    for k in range(1, unary.shape[1]):
        following = unary[:, k] + torch.logsumexp(alpha.unsqueeze(2) + pairwise, 1)
        alpha = torch.where((k < lengths)[:, None], following, alpha)
    return torch.logsumexp(alpha, 1)


class _Scan(torch.autograd.Function):
    r"""The recursion in the domain of probabilities, from both ends at the same time.

    With $e_k = e^{f_k - \max f_k}$ and $G = e^{g - \max g}$: $a_1 = e_1$, $m_k = a_{k-1} G$, $a_k =
    m_k \odot e_k$. The same on the turned row with $G^T$ gives $b_k = e_k \odot (G\,b_{k+1})$. Then
    $p(y_k = j) \propto m_k(j)\,b_k(j)$ and $p(y_{k-1} = i, y_k = j) \propto a_{k-1}(i)\,G(i,
    j)\,b_k(j)$, with one and the same sum to be divided by; what a and b were divided by before
    does not matter.
    """

    @staticmethod
    def forward(
        ctx: Any, unary: Tensor, pairwise: Tensor, lengths: Tensor, every: int, trains: bool
    ) -> Tensor:
        b, t, c = unary.shape
        top, most = unary.amax(-1, keepdim=True), pairwise.max()
        # Steps first, so that each is one piece of memory.
        emission = (unary - top).transpose(0, 1).double().exp_()
        matrix = (pairwise - most).double().exp_()
        places = reversal(lengths, t).t().unsqueeze(-1).expand(t, b, c)
        if trains:
            emission = torch.stack((emission, emission.gather(0, places)), 1)
            matrix = torch.stack((matrix, matrix.t()))
        else:
            emission, matrix = emission.unsqueeze(1), matrix.unsqueeze(0)
        before, after = torch.empty_like(emission), torch.empty_like(emission)  # m and a
        before[0], after[0] = 1, emission[0]
        sizes = [torch.zeros(b, dtype=torch.float64, device=unary.device)]
        steps = zip(after[:-1], before[1:], emission[1:], after[1:], strict=True)
        for k, (previous, product, own, following) in enumerate(steps, 1):
            if k % every == 0:
                size = previous.sum(-1, keepdim=True)
                previous.div_(size)
                sizes.append(size[0, :, 0].log())
            torch.bmm(previous, matrix, out=product)
            torch.mul(product, own, out=following)
        # A division before step k = every, 2 every, ... scaled step k - 1: it counts for the rows
        # that end there or later.
        divisions = (lengths // every).clamp(max=len(sizes) - 1)
        divided = torch.stack(sizes).cumsum(0).gather(0, divisions[None])[0]
        last = lengths - 1
        rest = after[last, 0, torch.arange(b, device=unary.device)].sum(-1).log()
        real = torch.arange(t, device=unary.device) < lengths[:, None]
        shift = (top.squeeze(-1) * real).double().sum(1) + most.double() * last
        ctx.save_for_backward(unary, pairwise, before, after, matrix, places, real)
        return divided + rest + shift

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        unary, pairwise, before, after, matrix, places, real = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated, too
            log_z = _tree(unary, pairwise, real)
            inputs = [
                x
                for x, wanted in zip((unary, pairwise), ctx.needs_input_grad[:2], strict=True)
                if wanted
            ]
            found = iter(torch.autograd.grad(log_z, inputs, gradient, create_graph=True))
            return *(next(found) if w else None for w in ctx.needs_input_grad[:2]), None, None, None
        c = matrix.shape[-1]
        backwards = after[:, 1].gather(0, places)
        marginal = before[:, 0] * backwards
        weight = (gradient * real.t()).unsqueeze(-1) / marginal.sum(-1, keepdim=True)
        backwards *= weight
        marginal *= weight
        pairs = after[:-1, 0].reshape(-1, c).t() @ backwards[1:].reshape(-1, c)
        pairs *= matrix[0]
        return marginal.transpose(0, 1).to(unary.dtype), pairs.to(unary.dtype), None, None, None


def _tree(unary: Tensor, pairwise: Tensor, real: Tensor) -> Tensor:
    """Multiply the steps' matrices two by two; padded steps are the identity."""
    top, most = unary.detach().amax(-1, keepdim=True), pairwise.detach().max()
    emission = (unary - top).double().exp()
    matrix = (pairwise - most).double().exp()
    identity = torch.eye(len(matrix), dtype=torch.float64, device=unary.device)
    product = torch.where(real[:, 1:, None, None], matrix * emission[:, 1:, None], identity)
    total = (top.squeeze(-1) * real).double().sum(1) + most.double() * (real.sum(1) - 1)
    while product.shape[1] > 1:
        pairs = product.shape[1] // 2
        joined = product[:, 0 : 2 * pairs : 2] @ product[:, 1 : 2 * pairs : 2]
        size = joined.detach().amax((-2, -1), keepdim=True)
        total = total + size.log().sum((1, 2, 3))
        product = torch.cat((joined / size, product[:, 2 * pairs :]), 1)
    ways = emission[:, 0] if unary.shape[1] == 1 else (emission[:, :1] @ product[:, 0])[:, 0]
    return total + ways.sum(1).log()


def best_path(
    unary: Float[Tensor, "b t c"],
    pairwise: Float[Tensor, "c c"],
    lengths: Int[Tensor, " b"],
    constraints: Constraints | None = None,
) -> list[list[int]]:
    r"""Return each row's path of the highest score, by Viterbi's algorithm.

    $v_1 = f_1$, $v_k(j) = f_k(j) + \max_i (v_{k-1}(i) + g(i, j))$. Which i it was is looked up on
    the way back, and only for the labels on the best path.

    Raises:
        UserError: the constraints leave no path of a row's length.
    """
    b, t, c = unary.shape
    real = torch.arange(t, device=unary.device) < lengths[:, None]
    # What all labels of a step have in common decides nothing, and would cost digits.
    unary = unary.masked_fill(~real.unsqueeze(-1), 0)
    unary = unary - unary.amax(-1, keepdim=True)
    if constraints is not None:
        never = -math.inf
        pairwise = pairwise.masked_fill(~constraints.pairs.to(unary.device), never)
        unary[:, 0].masked_fill_(~constraints.start.to(unary.device), never)
        final = torch.arange(t, device=unary.device) == lengths[:, None] - 1
        ends = ~constraints.end.to(unary.device)
        unary.masked_fill_(final.unsqueeze(-1) & ends, never)
    # Rows last: sums and maxima run along them, whatever the number of labels.
    scores = unary.permute(1, 2, 0).contiguous()  # becomes v in place
    room = unary.new_empty(c, c, b)
    best = unary.new_empty(c, b)
    steps = pairwise.unsqueeze(2)
    for previous, own in itertools.pairwise(scores.unbind()):
        torch.add(previous.unsqueeze(1), steps, out=room)
        own += torch.amax(room, 0, out=best)
    scores = scores.transpose(1, 2).contiguous()
    # Padding has label C, to which nothing is added: before it stands the row's last step.
    into = torch.cat((pairwise.t(), pairwise.new_zeros(1, c)))
    path = torch.full((t + 1, b), c, device=unary.device)
    padding, shortest = ~real.t(), int(lengths.min())
    for k in range(t - 1, -1, -1):
        torch.argmax(into.index_select(0, path[k + 1]).add_(scores[k]), 1, out=path[k])
        if k >= shortest:
            path[k].masked_fill_(padding[k], c)
    last = scores[lengths - 1, torch.arange(b, device=unary.device)].amax(-1)
    if constraints is not None and bool((last == -math.inf).any()):
        n = int(lengths[last == -math.inf][0])
        raise UserError(
            f"constraints leave no path of {n} labels: allow more pairs, or a label that may both "
            "begin and end"
        )
    return [row[:n] for row, n in zip(path[:t].t().tolist(), lengths.tolist(), strict=True)]
