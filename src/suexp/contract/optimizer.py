"""What every optimizer keeps (see `suexp.optimizer.base`)."""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from suexp.contract.check import check, vital
from suexp.contract.subject import Subject, equal, expect, of_class, same, through_a_file
from suexp.nn.param_groups import build_optimizer
from suexp.optimizer.base import compute_dtype

BASE = "torch.optim.Optimizer"


def a_model() -> nn.Module:
    """Return a small network with parameters of every kind, one of them frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Embedding(7, 6), nn.LayerNorm(6), nn.Linear(6, 5), nn.Linear(5, 1))
    model[3].bias.requires_grad_(False)
    return model


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    seeds: Iterable[int],
    scaler: torch.amp.GradScaler | None = None,
    parts: int = 1,
) -> None:
    """Make a step for each seed; the gradient may come in parts, as of accumulated batches."""
    for seed in seeds:
        torch.manual_seed(seed)
        x, y = torch.randint(7, (8,)), torch.randn(8, 1)
        optimizer.zero_grad()
        for share in range(parts):
            rows = slice(share * 8 // parts, (share + 1) * 8 // parts)
            found = model(x[rows])
            loss = (found.to(compute_dtype(found)) - y[rows]).square().mean() / parts
            (scaler.scale(loss) if scaler else loss).backward()
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()


def weights(model: nn.Module) -> Tensor:
    """Return all parameters in one row."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def _over(subject: Subject, model: nn.Module, **changes: Any) -> torch.optim.Optimizer:
    return build_optimizer(subject.made(**changes), model)


def _taken(subject: Subject, **changes: Any) -> dict[str, Any]:
    """Return the changes that the subject's node has a place for."""
    return {key: value for key, value in changes.items() if key in subject.node}


@vital
def derives_from_optimizer(subject: Subject) -> None:
    """Its class is one of torch's."""
    of_class(subject, torch.optim.Optimizer)


@vital
def a_step_moves_the_parameters(subject: Subject) -> None:
    """Those that have a gradient, and to finite values."""
    model = a_model()
    before = weights(model)
    train(model, _over(subject, model), range(2))
    expect(not torch.equal(weights(model), before), "two steps change no parameter")
    expect(weights(model).isfinite().all(), "two steps make parameters nan or infinite")


@vital
def resumed_equals_uninterrupted(subject: Subject) -> None:
    """From its state_dict it goes on as if nothing had happened; the saved rate wins."""
    straight = a_model()
    optimizer = _over(subject, straight)
    train(straight, optimizer, range(5))
    weights_then = through_a_file(straight.state_dict())
    state_then = through_a_file(optimizer.state_dict())
    train(straight, optimizer, range(5, 10))

    resumed = a_model()
    resumed.load_state_dict(weights_then)
    again = _over(subject, resumed, **_taken(subject, lr=0.5))
    again.load_state_dict(state_then)
    train(resumed, again, range(5, 10))
    what = "five steps after load_state_dict differ from those without a stop; keep what a step "
    what += "reads in self.state[p] or self.param_groups"
    equal(weights(resumed), weights(straight), what)
    expect(str(optimizer.state_dict()) == str(again.state_dict()), "the states differ afterwards")


@vital
def accumulated_gradients_count_as_their_sum(subject: Subject) -> None:
    """Two backward passes before a step are one of the whole batch."""
    whole, parts = a_model().double(), a_model().double()
    for model, count in ((whole, 1), (parts, 2)):
        train(model, _over(subject, model), range(2), parts=count)
    what = "two backward passes and a step differ from one of the whole batch"
    same(weights(parts), weights(whole), what, rtol=1e-6, atol=1e-8)


@vital
def passes_over_what_it_cannot_move(subject: Subject) -> None:
    """Parameters without a gradient, without entries, and frozen ones."""
    unused, empty = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(0, 4))
    scalar, frozen = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.ones(2, 2), False)
    optimizer = subject.made(**_taken(subject, lr=0.01))([scalar, unused, empty, frozen])
    empty.grad, scalar.grad = torch.zeros(0, 4), torch.tensor(2.0)
    optimizer.step()
    expect(torch.equal(unused, torch.ones(3, 2)), "a parameter without a gradient moves")
    expect(torch.equal(frozen, torch.ones(2, 2)), "a frozen parameter moves")
    expect(unused not in optimizer.state, "a parameter without a gradient gets a state")
    moved = f"at lr=0.01 a step takes a scalar at 1, of gradient 2, to {scalar.item():.4g}"
    expect(0.9 < scalar.item() < 1, moved)


@check
def finds_the_minimum_of_a_quadratic(subject: Subject) -> None:
    """Within 0.03, by a rate that falls from 0.05 to 0 in 400 steps."""
    target = torch.tensor([[1.0, -2.0, 0.5], [3.0, -1.0, 2.0]])
    p = nn.Parameter(torch.full_like(target, 0.3))
    steps, lr = 400, 0.05
    optimizer = subject.made(**_taken(subject, lr=lr, weight_decay=0.0))([p])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        optimizer.zero_grad()
        torch.autograd.backward(0.5 * (p - target).square().sum())
        optimizer.step()
    same(p.detach(), target, "after 400 steps", atol=0.03, rtol=0.0)


@check
def state_shares_nothing_with_what_was_loaded(subject: Subject) -> None:
    """Another one that loads it does not change it."""
    one, other = a_model(), a_model()
    first, second = _over(subject, one), _over(subject, other)
    train(one, first, range(2))
    state = through_a_file(first.state_dict())
    second.load_state_dict(copy.deepcopy(state))
    train(other, second, range(2))
    expect(str(state) == str(first.state_dict()), "a state changes with one that has loaded it")


@check
def trains_half_precision(subject: Subject) -> None:
    """Parameters in bfloat16 move, and the state keeps its types."""
    model = a_model().bfloat16()
    before = weights(model)
    optimizer = _over(subject, model, **_taken(subject, lr=0.05))
    train(model, optimizer, range(5))
    after = weights(model)
    expect(after.dtype is torch.bfloat16, f"parameters in bfloat16 become {after.dtype}")
    expect(after.isfinite().all(), "parameters in bfloat16 become nan or infinite")
    expect(not torch.equal(before, after), "parameters in bfloat16 do not move")
    state = through_a_file(optimizer.state_dict())
    optimizer.load_state_dict(state)
    expect(str(optimizer.state_dict()) == str(state), "load_state_dict changes the state's types")


@check
def a_closure_is_called_with_gradients_on(subject: Subject) -> None:
    """As Lightning calls it; the loss is returned."""
    p = nn.Parameter(torch.ones(2, 2))
    optimizer = subject.made()([p])

    def closure() -> Tensor:
        loss = p.square().sum()
        torch.autograd.backward(loss)
        return loss

    loss = optimizer.step(closure)
    expect(loss is not None and loss == 4, f"step(closure) must return the loss, 4, not {loss}")
    expect((p < 1).all(), "step(closure) does not go down")


@check
def takes_every_layout(subject: Subject) -> None:
    """Transposed and strided parameters move as contiguous ones."""
    whole = torch.randn(40, 30), torch.randn(40, 30)
    plain = nn.Parameter(whole[0].clone())
    transposed = nn.Parameter(whole[0].t().contiguous().t())
    strided = nn.Parameter(torch.stack([whole[0], whole[0]], -1)[..., 0])
    for p in (plain, transposed, strided):
        optimizer = subject.made()([p])
        for _ in range(3):
            p.grad = whole[1].clone()
            optimizer.step()
    same(transposed, plain, "a transposed parameter moves otherwise")
    same(strided, plain, "a strided parameter moves otherwise")


@check
def the_scaler_of_mixed_precision_changes_nothing(subject: Subject) -> None:
    """As trainer.precision=16-mixed has one."""
    plain, scaled = a_model(), a_model()
    train(plain, _over(subject, plain), range(5))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    train(scaled, _over(subject, scaled), range(5), scaler)
    equal(weights(scaled), weights(plain), "with a GradScaler it moves otherwise")


@check
def leaves_the_scaling_to_the_scaler(subject: Subject) -> None:
    """Lightning refuses to clip the gradients of an optimizer that unscales by itself."""
    unscales = getattr(_over(subject, a_model()), "_step_supports_amp_scaling", False)
    expect(not unscales, "it sets _step_supports_amp_scaling")


@check
def decay_is_by_kind(subject: Subject) -> None:
    """Matrices decay, gains and biases do not, embeddings as its argument says."""
    if not {"weight_decay", "decay_embeddings"} <= subject.node.keys():
        return  # it has no such arguments
    for decay_embeddings in (True, False):
        changes = {"weight_decay": 0.3, "decay_embeddings": decay_embeddings}
        optimizer = _over(subject, a_model(), **changes)
        decays = {group["kind"]: group["weight_decay"] for group in optimizer.param_groups}
        spared = 0.3 if decay_embeddings else 0.0
        wanted = {"matrix": 0.3, "embedding": spared, "gain": 0.0, "bias": 0.0}
        expect(decays == wanted, f"decays {decays}, wanted {wanted}")


@check
def refuses_a_rate_that_is_not_positive(subject: Subject) -> None:
    """In one line of a ValueError, which `suexp check` tells."""
    for rate in (0.0, -1.0, float("nan")):
        try:
            subject.made(lr=rate)([nn.Parameter(torch.ones(2))])
        except ValueError as error:
            expect("\n" not in str(error), f"lr={rate}: the refusal is longer than a line")
        else:
            expect(False, f"lr={rate} is taken; raise ValueError")


@check
def every_form_computes_the_same(subject: Subject) -> None:
    """With foreach or fused, where it has such an argument, and without."""
    for key in ("foreach", "fused"):
        ends = []
        for form in (None, True, False) if key in subject.node else ():
            torch.manual_seed(0)
            # More than a block of 256 Ki elements, and a last block of another size.
            shapes = ((700, 500), (3, 4), (5,))
            parameters = [nn.Parameter(torch.randn(s).double().mul(0.1)) for s in shapes]
            optimizer = subject.made(**{key: form})(parameters)
            for _ in range(4):
                for p in parameters:
                    p.grad = torch.randn_like(p)
                optimizer.step()
            ends.append([p.detach() for p in parameters])
        for end in ends[1:]:
            same(end, ends[0], f"{key}=true or false", atol=1e-14, rtol=1e-12)
