"""Known answers of CRF and MEMM: enumeration of all paths, symmetries, label bias."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from suexp.errors import UserError
from suexp.loss._chain import IMPLEMENTATIONS, Constraints, log_partition
from suexp.loss._tagging import TaggingLoss
from suexp.loss.crf import Crf
from suexp.loss.memm import Memm
from suexp.loss.softmax_tagging import SoftmaxTagging

B, T, C = 4, 5, 3
LENGTHS = torch.tensor([5, 1, 4, 2])
MASK = torch.arange(T) < LENGTHS[:, None]

MAKERS: dict[str, Callable[..., TaggingLoss]] = {
    "softmax": SoftmaxTagging,
    **{f"crf_{name}": functools.partial(Crf, implementation=name) for name in IMPLEMENTATIONS},  # type: ignore[arg-type]
    "memm": Memm,
    "memm_average": functools.partial(Memm, average_logits=True),
    "bi_memm": functools.partial(Memm, bidirectional=True),
    "bi_memm_average": functools.partial(Memm, bidirectional=True, average_logits=True),
}  # fmt: skip
EVERY = pytest.mark.parametrize("name", MAKERS)
WITH_TRANSITIONS = pytest.mark.parametrize("name", [name for name in MAKERS if name != "softmax"])


def make(name: str, g: Tensor | float | None = None, **arguments: Any) -> TaggingLoss:
    loss = MAKERS[name](C if not isinstance(g, Tensor) else len(g), **arguments)
    if hasattr(loss, "transitions") and g is not None:
        with torch.no_grad():
            loss.transitions.table.copy_(torch.as_tensor(g))
    return loss


def batch(c: int = C) -> tuple[Tensor, Tensor]:
    return torch.randn(B, T, c, dtype=torch.float64), torch.randint(c, (B, T))


def paths(n: int, c: int = C) -> Tensor:
    return torch.tensor(list(itertools.product(range(c), repeat=n)))


def score(f: Tensor, g: Tensor, path: list[int]) -> float:
    own = sum(float(f[k, y]) for k, y in enumerate(path))
    return own + sum(float(g[i, j]) for i, j in itertools.pairwise(path))


def log_softmax(values: list[float], place: int) -> float:
    return values[place] - math.log(sum(math.exp(v) for v in values))


def memm_log_prob(f: Tensor, g: Tensor, path: list[int], average: bool) -> float:
    """One direction, as the post writes it, one step at a time."""
    result = log_softmax(f[0].tolist(), path[0])
    for k in range(1, len(path)):
        values = (f[k] + g[path[k - 1]]) * (0.5 if average else 1)
        result += log_softmax(values.tolist(), path[k])
    return result


def log_prob(name: str, f: Tensor, g: Tensor, path: list[int]) -> float:
    """The definition, on the real steps alone."""
    if name == "softmax":
        return sum(log_softmax(f[k].tolist(), y) for k, y in enumerate(path))
    if name.startswith("crf"):
        every = [score(f, g, p) for p in paths(len(path), len(g)).tolist()]
        return score(f, g, path) - math.log(sum(math.exp(s) for s in every))
    forwards = memm_log_prob(f, g, path, "average" in name)
    if not name.startswith("bi"):
        return forwards
    return (forwards + memm_log_prob(f.flip(0), g.t(), path[::-1], "average" in name)) / 2


@EVERY
def test_log_prob_is_its_definition(name: str) -> None:
    (f, y), g = batch(), torch.randn(C, C)
    found = make(name, g).log_prob(f, y, MASK)
    g = torch.zeros(C, C) if name == "softmax" else g
    for row, n in enumerate(LENGTHS.tolist()):
        expected = log_prob(name, f[row, :n], g, y[row, :n].tolist())
        assert found[row].item() == pytest.approx(expected, abs=1e-6)


@EVERY
def test_without_transitions_all_losses_are_the_softmax(name: str) -> None:
    (f, y), mask = batch(), MASK
    f = f.float()
    if "average" in name:  # halved from the second step on
        f, y, mask = f[:, :1], y[:, :1], mask[:, :1]
    loss = make(name, 0.0)
    plain = torch.nn.functional.cross_entropy(f[mask], y[mask])
    torch.testing.assert_close(loss(f, y, mask), plain, atol=1e-6, rtol=0)
    argmax = [row[:n] for row, n in zip(f.argmax(-1).tolist(), mask.sum(1), strict=True)]
    for decoding in loss.decodings:
        assert loss.decode(f, mask, decoding) == argmax


@EVERY
@pytest.mark.parametrize("constrained", [False, True])
def test_decoding_finds_the_best_of_all_paths(name: str, constrained: bool) -> None:
    constraints = None
    if constrained:
        pairs = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 0]]).bool()
        constraints = Constraints(
            torch.tensor([1, 1, 0]).bool(), torch.tensor([0, 1, 1]).bool(), pairs
        )
    for seed in range(8):
        torch.manual_seed(seed)
        (f, _), g = batch(), 2 * torch.randn(C, C)
        loss = make(name, g, constraints=constraints)
        for decoding in loss.decodings:
            found = loss.decode(f, MASK, decoding)
            for row, n in enumerate(LENGTHS.tolist()):
                every = paths(n).tolist()
                if constraints is not None and decoding != "argmax":
                    every = [
                        p for p in every
                        if constraints.start[p[0]] and constraints.end[p[-1]]
                        and all(constraints.pairs[i, j] for i, j in itertools.pairwise(p))
                    ]  # fmt: skip
                rule = name if decoding == "exact" or name == "softmax" else "score"
                ours = f[row, :n]
                best = max(
                    every,
                    key=lambda p: (
                        score(ours, g, p) if rule == "score" else log_prob(rule, ours, g, p)
                    ),
                )
                assert found[row] == best, decoding


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_partition_function_sums_over_all_paths(implementation: Any) -> None:
    (f, _), g = batch(), torch.randn(C, C, dtype=torch.float64)
    found = log_partition(f, g, LENGTHS, implementation)
    for row, n in enumerate(LENGTHS.tolist()):
        total = sum(math.exp(score(f[row], g, p)) for p in paths(n).tolist())
        assert found[row].item() == pytest.approx(math.log(total), abs=1e-10)


@pytest.mark.parametrize("name", ["memm", "memm_average", "crf_scan", "softmax"])
def test_probabilities_sum_to_one(name: str) -> None:
    f, every = torch.randn(1, T, C, dtype=torch.float64), paths(T)
    loss = make(name, torch.randn(C, C))
    total = loss.log_prob(f.expand(len(every), -1, -1), every).exp().sum()
    torch.testing.assert_close(total.item(), 1.0, atol=1e-6, rtol=0)


def test_the_average_of_both_directions_is_no_likelihood() -> None:
    f, every = torch.randn(1, T, C, dtype=torch.float64).expand(C**T, -1, -1), paths(T)
    total = make("bi_memm", torch.randn(C, C)).log_prob(f, every).exp().sum()
    assert total < 1 - 1e-3
    total = make("bi_memm", 0.0).log_prob(f, every).exp().sum()
    torch.testing.assert_close(total.item(), 1.0, atol=1e-9, rtol=0)


def authors_loss(f: Tensor, g: Tensor, y: Tensor, mask: Tensor, backwards: bool) -> Tensor:
    """bert4keras' MaximumEntropyMarkovModel.basic_loss, transcribed."""
    if backwards:
        f, y = f.clone(), y.clone()
        for row, n in enumerate(mask.sum(1).tolist()):
            f[row, :n], y[row, :n] = f[row, :n].flip(0), y[row, :n].flip(0)
        g = g.t()
    history = torch.cat((f[:, :1], g[y][:, :-1]), 1)
    logits = (f + history) / 2
    loss = torch.nn.functional.cross_entropy(logits.mT, y, reduction="none")
    return (loss * mask).sum() / mask.sum()


def test_average_logits_is_the_authors_layer() -> None:
    (f, y), g = batch(), torch.randn(C, C)
    one, other = (authors_loss(f, g, y, MASK, backwards) for backwards in (False, True))
    found = make("memm_average", g)(f, y, MASK)
    torch.testing.assert_close(found, one, atol=1e-5, rtol=0, check_dtype=False)
    found = make("bi_memm_average", g)(f, y, MASK)
    torch.testing.assert_close(found, (one + other) / 2, atol=1e-5, rtol=0, check_dtype=False)


@WITH_TRANSITIONS
def test_reversal_symmetry(name: str) -> None:
    (f, y), g = batch(), torch.randn(C, C)
    loss, turned = make(name, g), make(name, g.t())
    symmetric = name.startswith(("crf", "bi"))
    for row, n in enumerate(LENGTHS.tolist()):
        a = loss.log_prob(f[row : row + 1, :n], y[row : row + 1, :n])
        b = turned.log_prob(f[row : row + 1, :n].flip(1), y[row : row + 1, :n].flip(1))
        assert (abs(float((a - b).detach())) < 1e-9) == (symmetric or n == 1)


@WITH_TRANSITIONS
def test_low_rank_with_an_identity_is_the_full_table(name: str) -> None:
    (f, y), g = batch(), torch.randn(C, C)
    full, low = make(name, g), MAKERS[name](C, rank=C)
    with torch.no_grad():
        low.transitions.left.copy_(g)
        low.transitions.right.copy_(torch.eye(C))
    torch.testing.assert_close(full.log_prob(f, y, MASK), low.log_prob(f, y, MASK))
    for decoding in full.decodings:
        assert full.decode(f, MASK, decoding) == low.decode(f, MASK, decoding)


def test_low_rank_memm_never_makes_the_whole_table() -> None:
    many = 300_000  # its square would be 360 GB
    loss = Memm(many, rank=2, bidirectional=True)
    f = torch.randn(1, 3, many, requires_grad=True)
    loss(f, torch.tensor([[5, 299_999, 0]])).backward()
    assert f.grad is not None
    assert f.grad.isfinite().all()


@EVERY
@pytest.mark.parametrize("fill", [0.0, 1e30, math.nan])
def test_padding_changes_nothing(name: str, fill: float) -> None:
    (f, y), g = batch(), torch.randn(C, C)
    f.requires_grad_()
    loss = make(name, g)
    short = loss(f, y, MASK)
    (gradient,) = torch.autograd.grad(short, f)
    assert gradient[~MASK].count_nonzero() == 0
    assert gradient[MASK].isfinite().all()
    wide = torch.nn.functional.pad(f, (0, 0, 0, 7), value=fill)
    mask = torch.nn.functional.pad(MASK, (0, 7))
    wide = wide.masked_fill(~mask.unsqueeze(-1), fill)
    labels = torch.nn.functional.pad(y, (0, 7), value=-100)
    long = loss(wide, labels, mask)
    torch.testing.assert_close(short, long)
    torch.testing.assert_close(torch.autograd.grad(long, f)[0], gradient)
    assert loss.decode(f, MASK) == loss.decode(wide, mask)


def test_label_bias() -> None:
    """After label 0 only label 1 follows: what is seen there moves no MEMM, but a CRF."""
    g = torch.zeros(C, C)
    g[0, 1] = 50
    f = torch.zeros(1, 3, C, dtype=torch.float64)
    f[0, 1, 1], f[0, 1, 0] = -49, -200  # the text speaks against label 1
    f.requires_grad_()
    y = torch.tensor([[0, 1, 2]])
    (memm,) = torch.autograd.grad(make("memm", g)(f, y), f)
    (crf,) = torch.autograd.grad(make("crf_scan", g)(f, y), f)
    assert memm[0, 0].abs().max() == pytest.approx(2 / 9)  # as if nothing followed
    assert crf[0, 0].abs().max() < 0.9 * 2 / 9  # what follows counts
    f = torch.randn(1, 3, C, dtype=torch.float64, requires_grad=True)
    (memm,) = torch.autograd.grad(make("memm", g)(f, y), f)
    assert memm[0, 1].abs().max() < 1e-12
    y = torch.tensor([[2, 1, 2]])
    (crf,) = torch.autograd.grad(make("crf_scan", g)(f, y), f)
    assert crf[0, 1].abs().max() > 1e-3


@pytest.mark.parametrize("implementation", ["scan", "parallel"])
@pytest.mark.parametrize("size", [1.0, 30.0, 200.0, 1e4])
def test_implementations_agree_with_the_loop(implementation: Any, size: float) -> None:
    lengths = torch.tensor([40, 1, 17, 33])
    f = (size * torch.randn(4, 40, 6, dtype=torch.float64)).requires_grad_()
    g = (size * torch.randn(6, 6, dtype=torch.float64)).requires_grad_()
    weight = torch.randn(4, dtype=torch.float64)
    results = []
    for which in ("loop", implementation):
        value = log_partition(f, g, lengths, which)
        results.append((value, *torch.autograd.grad((weight * value).sum(), (f, g))))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_forbidden_labels_and_long_rows_stay_finite(implementation: Any) -> None:
    f = torch.randn(2, 50, 4)
    f[:, 10, :3] = -math.inf
    value = log_partition(f, torch.randn(4, 4), torch.tensor([50, 30]), implementation)
    assert value.isfinite().all()
    f = 20 * torch.randn(2, 5000, 4, requires_grad=True)
    value = log_partition(f, torch.randn(4, 4), torch.tensor([5000, 4000]), implementation)
    (gradient,) = torch.autograd.grad(value.sum(), f)
    torch.testing.assert_close(gradient.sum(-1)[0], torch.ones(5000), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_gradients_and_their_gradients() -> None:
    f = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    g = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([6, 4])
    for name in ("loop", "scan", "parallel"):

        def log_z(f: Tensor, g: Tensor, name: Any = name) -> Tensor:
            return log_partition(f, g, lengths, name)

        assert torch.autograd.gradcheck(log_z, (f, g))
        assert torch.autograd.gradgradcheck(log_z, (f, g))


@EVERY
def test_half_precision_is_computed_in_float32(name: str) -> None:
    f, y = torch.randn(2, 200, C), torch.randint(C, (2, 200))
    loss = make(name, torch.randn(C, C))
    narrow = f.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(narrow, y)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(narrow.float(), y))
    found.backward()
    assert narrow.grad is not None
    assert narrow.grad.dtype == torch.bfloat16
    assert narrow.grad.isfinite().all()


@WITH_TRANSITIONS
def test_the_multiplier_is_a_learning_rate_of_its_own(name: str) -> None:
    torch.manual_seed(0)
    one = MAKERS[name](C)
    torch.manual_seed(0)
    thousand = MAKERS[name](C, lr_multiplier=1000.0)
    torch.testing.assert_close(one.transitions(), thousand.transitions())
    (f, y), moved = batch(), []
    for loss in (one, thousand):
        before = loss.transitions().detach().clone()
        optimizer = torch.optim.Adam(loss.parameters(), lr=1e-4)
        loss(f, y, MASK).backward()
        optimizer.step()
        moved.append((loss.transitions().detach() - before).abs().max())
    assert moved[1] / moved[0] == pytest.approx(1000, rel=0.01)


@WITH_TRANSITIONS
def test_state_dict_round_trip(name: str) -> None:
    f, y = batch()
    loss, other = make(name), make(name)
    other.load_state_dict(loss.state_dict())
    torch.testing.assert_close(loss(f, y, MASK), other(f, y, MASK))


@EVERY
def test_reductions(name: str) -> None:
    (f, y), g = batch(), torch.randn(C, C)
    token, sequence = make(name, g), make(name, g, reduction="sequence")
    total = -token.log_prob(f, y, MASK).sum()
    torch.testing.assert_close(token(f, y, MASK), total / MASK.sum())
    torch.testing.assert_close(sequence(f, y, MASK), total / B)


@EVERY
@pytest.mark.parametrize("place", ["hole", "first"])
def test_a_mask_with_holes_is_refused(name: str, place: str) -> None:
    (f, y), mask = batch(), MASK.clone()
    mask[0, 2 if place == "hole" else 0] = False
    for call in (lambda: make(name)(f, y, mask), lambda: make(name).decode(f, mask)):
        with pytest.raises(UserError, match="mask must be a non-empty prefix"):
            call()


@EVERY
@pytest.mark.parametrize("label", [-1, C])
def test_a_label_out_of_range_is_refused(name: str, label: int) -> None:
    f, y = batch()
    y[2, 3] = label
    with pytest.raises(UserError, match=rf"labels\[2, 3\] is {label}, outside 0 to 2"):
        make(name)(f, y, MASK)
    y[2, 3], y[2, 4] = 0, label  # padding
    make(name)(f, y, MASK)


def test_mistakes_in_the_arguments() -> None:
    with pytest.raises(ValueError, match="low rank does not help a CRF"):
        Crf(4096, rank=8)
    with pytest.raises(ValueError, match="rank must be at least 1"):
        Memm(4, rank=0)
    with pytest.raises(ValueError, match="needs label_names"):
        Crf(4, constraints="sbie")
    with pytest.raises(ValueError, match="label 'O' begins with no tag of scheme sbie"):
        Crf(2, ["O", "B"], "sbie")
    start, every = torch.tensor([True, False]), torch.ones(2, dtype=torch.bool)
    with pytest.raises(ValueError, match="constraints leave no path"):
        Constraints(start, ~start, torch.eye(2).bool())
    with pytest.raises(ValueError, match="the constraints are for 2 labels, not 3"):
        Crf(3, None, Constraints(every, every, torch.ones(2, 2).bool()))
    with pytest.raises(ValueError, match="the logits have 4 labels, not 3"):
        Crf(3)(torch.randn(1, 2, 4), torch.zeros(1, 2, dtype=torch.int64))


def test_constraints_that_leave_no_path_of_a_length() -> None:
    loss = Crf(3, ["B", "I", "E"], "sbie")
    assert loss.decode(torch.zeros(1, 2, 3)) == [[0, 2]]
    with pytest.raises(UserError, match="constraints leave no path of 1 labels"):
        loss.decode(torch.zeros(1, 1, 3))
