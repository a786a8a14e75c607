"""FGM: the spec's known answers, the post's listing, and what a pass must leave as it was."""

import copy
import doctest
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import suexp.method.fgm
from suexp.attention import Softmax
from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.job.run import execute
from suexp.launch.spec import spec_of
from suexp.method.fgm import FGM
from suexp.method.freeze import Freeze
from suexp.method.gradient_penalty import GradientPenalty
from suexp.nn.intervene import embeddings_of, shifted
from suexp.store.folder import Run
from tests.method.texts import at_weights, batch, gradient, model, task_of, weight_gradient
from tests.support.processes import two_processes

TIGHT = {"rtol": 1e-9, "atol": 1e-12}


# 1. Epsilon 0 is plain training; 2. the embedding stays, bit for bit.


def test_no_epsilon_is_plain_training_bit_for_bit() -> None:
    network = model(dropout=0.3)
    plain = gradient(task_of(copy.deepcopy(network)), batch())
    none = gradient(task_of(copy.deepcopy(network), FGM(epsilon=0)), batch())
    assert torch.equal(plain[0], none[0])
    assert all(map(torch.equal, plain[1], none[1]))


def test_nothing_is_written_into_the_weights() -> None:
    network = model()
    before = copy.deepcopy(network.state_dict())
    loss, _ = gradient(task_of(network, FGM(epsilon=3.0)), batch())
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    assert loss > gradient(task_of(network), batch())[0]
    assert not network.embedding._forward_hooks
    assert not network._forward_pre_hooks


# 3. To first order it is the gradient penalty.


@pytest.mark.parametrize("kernel", ["sdpa", "materialised"])
def test_what_the_first_order_leaves_falls_with_the_square(kernel: str) -> None:
    network = model(attention=Softmax(kernel=kernel))
    task, rows = task_of(network), batch()
    with shifted(network) as readings:
        clean = task.objective(rows)
    (g,) = torch.autograd.grad(clean, readings[0].vectors)
    size = float(g.square().sum())
    epsilons = [2.0**-k for k in range(6, 12)]
    rest = []
    for epsilon in epsilons:
        method = FGM(epsilon=epsilon, granularity="sample", normalize=False)
        hit = method.objective(task, rows, task.objective)
        rest.append(abs(float((hit - clean).detach()) - epsilon * size))
    x, y = torch.tensor(epsilons).log(), torch.tensor(rest).log()
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())
    assert slope == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("form", ["squared", "norm"])
def test_its_gradient_is_that_of_the_penalised_loss(form: Any) -> None:
    """Up to O(epsilon^2): the difference over epsilon falls linearly."""
    network, rows = model(), batch()
    ratios = []
    for epsilon in (0.1, 0.01, 0.001):
        fgm = FGM(epsilon=epsilon, granularity="sample", normalize=False)
        if form == "norm":
            # One norm for the whole batch of tokens that all differ: the matrix's.
            rows = {k: v[:1] for k, v in batch().items()} | {"tokens": torch.arange(7)[None]}
            fgm = FGM(epsilon=epsilon)
        penalty = GradientPenalty(epsilon=epsilon, form=form)
        ours = gradient(task_of(network, fgm), rows)[1]
        other = gradient(task_of(network, penalty), rows)[1]
        gap = torch.cat([(a - b).flatten() for a, b in zip(ours, other, strict=True)]).norm()
        ratios.append(float(gap / torch.cat([b.flatten() for b in other]).norm()) / epsilon)
    assert ratios[1] / ratios[0] == pytest.approx(0.1, rel=0.3)
    assert ratios[2] / ratios[1] == pytest.approx(0.1, rel=0.1)


# 4. A linear model: the step is the exact maximum.


def linear_task(*methods: Any) -> tuple[Any, dict[str, Tensor], Tensor, Tensor]:
    torch.manual_seed(4)
    network = nn.Linear(6, 2).double()
    rows = {"x": torch.randn(20, 6, dtype=torch.float64), "label": torch.arange(20) % 2}
    task = task_of(network, *methods, padded=False)
    w = network.weight[1] - network.weight[0]
    sign = 2.0 * rows["label"] - 1
    margin = sign * (rows["x"] @ w + network.bias[1] - network.bias[0])
    return task, rows, margin, w


def test_a_linear_model_is_hit_where_it_hurts_most() -> None:
    task, rows, margin, w = linear_task()
    for norm, size in (("l2", w.norm()), ("linf", w.abs().sum())):
        method = FGM(epsilon=0.4, granularity="sample", norm=norm)  # type: ignore[arg-type]
        found = method.objective(task, rows, task.objective)
        worst = F.softplus(-(margin - 0.4 * size)).mean()
        torch.testing.assert_close(found, worst, rtol=1e-6, atol=0)


# 5. and 6. The matrix form is the post's listing.


def test_matrix_is_the_listing() -> None:
    """It moves the whole matrix by epsilon g / (|g| + 1e-8), trains there, and moves it back."""
    network, rows = model(), batch()
    g = weight_gradient(network, rows)
    listed = at_weights(network, rows, 0.5 * g / (g.square().sum().sqrt() + 1e-8))
    ours = gradient(task_of(network, FGM(epsilon=0.5)), rows)
    torch.testing.assert_close(ours[0], listed[0], **TIGHT)
    for one, other in zip(ours[1], listed[1], strict=True):
        torch.testing.assert_close(one, other, **TIGHT)


def test_sum_is_the_recipe_of_two_gradients() -> None:
    network, rows = model(), batch()
    plain = gradient(task_of(network), rows)
    moved = gradient(task_of(network, FGM(epsilon=0.5)), rows)
    both = gradient(task_of(network, FGM(epsilon=0.5, combine="sum")), rows)
    torch.testing.assert_close(both[0], plain[0] + moved[0], **TIGHT)
    for one, a, b in zip(both[1], plain[1], moved[1], strict=True):
        torch.testing.assert_close(one, a + b, **TIGHT)


def test_a_tied_output_layer_does_not_move() -> None:
    """The listing moves it; here the logits of what is read stay those of the clean weight."""
    network = model(num_outputs=None)
    tokens = batch()["tokens"]
    hidden = network.hidden(tokens)
    with shifted(network, lambda reading: torch.zeros_like(reading.vectors)):
        torch.testing.assert_close(network(tokens), hidden @ network.embedding.weight.T)
    noise = torch.randn(5, 7, 16)
    with shifted(network, [noise]):
        moved = network.hidden(tokens)
    with shifted(network, [noise]):
        torch.testing.assert_close(network(tokens), moved @ network.embedding.weight.T)
    assert (moved - hidden).abs().max() > 0.01


# How large a step is.


def step(method: FGM, network: Any, rows: dict[str, Tensor]) -> Tensor:
    """Return what FGM adds to the embeddings (b, n, dim)."""
    task, seen = task_of(network), []

    def inner(part: dict[str, Tensor]) -> Tensor:
        handle = network.dropout.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        loss = task.objective(part)
        handle.remove()
        return loss

    method.objective(task, rows, inner)
    clean, moved = seen
    return moved - clean


def test_steps_have_the_norm_of_their_granularity() -> None:
    network, rows = model(), batch()
    keep = rows["keep"]
    found = {g: step(FGM(epsilon=0.3, granularity=g), network, rows) for g in ("sample", "token")}
    torch.testing.assert_close(
        found["sample"].flatten(1).norm(dim=1), torch.full((5,), 0.3).double()
    )
    torch.testing.assert_close(found["token"].norm(dim=2), 0.3 * keep.double(), rtol=1e-5, atol=0)
    delta = step(FGM(epsilon=0.3), network, rows)
    by_token = torch.zeros(11, 16).double()
    by_token[rows["tokens"].flatten()] = delta.flatten(0, 1)
    torch.testing.assert_close(by_token.norm(), torch.tensor(0.3).double())
    torch.testing.assert_close(by_token[rows["tokens"]], delta)  # all occurrences move alike
    signs = step(FGM(epsilon=0.3, granularity="sample", norm="linf"), network, rows)
    torch.testing.assert_close(signs.abs()[keep], torch.full_like(signs[keep], 0.3))
    for moved in (*found.values(), delta, signs):
        assert moved[~keep].abs().max() == 0


def test_a_frozen_embedding_can_be_moved() -> None:
    network, rows = model(), batch()
    plain = step(FGM(), network, rows)
    task = task_of(network, Freeze("classifier"))
    assert not network.embedding.weight.requires_grad
    torch.testing.assert_close(step(FGM(), network, rows), plain)
    task.wrap([FGM()])
    _, found = gradient(task, rows)
    assert [g is not None for g in found].count(True) == 2


# What is drawn.


def test_dropout_is_drawn_anew_unless_it_is_to_be_the_same() -> None:
    network, rows = model(dropout=0.5), batch()
    seen: list[Tensor] = []
    network.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0] == 0))
    for same in (False, True):
        seen.clear()
        gradient(task_of(network, FGM(epsilon=1e-9, same_dropout=same)), rows)
        assert len(seen) == 2
        assert torch.equal(seen[0], seen[1]) == same
    plain = gradient(task_of(network), rows)
    close = gradient(task_of(network, FGM(epsilon=1e-12, same_dropout=True)), rows)
    torch.testing.assert_close(close[0], plain[0])
    after = torch.rand(3)
    gradient(task_of(network), rows)
    assert torch.equal(torch.rand(3), after)  # and the next step draws as without the method


@pytest.mark.parametrize("combine", ["replace", "sum"])
def test_running_averages_move_once(combine: Any) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).double()
    rows = {"x": torch.randn(16, 4, dtype=torch.float64), "label": torch.arange(16) % 3}
    method = FGM(epsilon=0.1, granularity="sample", combine=combine)
    gradient(task_of(network, method, padded=False), rows)
    assert int(network[1].num_batches_tracked) == 1  # type: ignore[arg-type]


def test_each_batch_of_an_accumulated_step_has_its_own() -> None:
    network, rows = model(), batch(6)
    task = task_of(network, FGM())
    whole = [gradient(task, {k: v[i : i + 3] for k, v in rows.items()})[1] for i in (0, 3)]
    task.batches_per_step = 2
    task.terms = lambda part: len(part["label"])  # type: ignore[method-assign]
    _, found = gradient(task, rows)
    for one, a, b in zip(found, *whole, strict=True):
        torch.testing.assert_close(one, (a + b) / 2, **TIGHT)


# Mistakes.


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="epsilon must be at least 0"):
        FGM(epsilon=-1)
    with pytest.raises(ValueError, match="norm=linf takes the gradient's signs"):
        FGM(norm="linf", normalize=False)
    with pytest.raises(ValueError, match=r"Linear has no embedding.*granularity=sample"):
        task_of(nn.Linear(3, 3), FGM())
    task = task_of(model(), FGM())
    with pytest.raises(ValueError, match="did not call its model"):
        FGM().objective(task, batch(), lambda _: torch.zeros(()))


def test_refused_when_composed() -> None:
    digits = ["task=classification", "data=digits", "model=mlp"]
    with pytest.raises(UserError, match=r"method=fgm needs text: .*granularity=sample"):
        resolve([*digits, "method=fgm"])
    resolve([*digits, "method=fgm", "method.fgm.granularity=sample"])
    with pytest.raises(UserError, match="leave it out"):
        resolve(["task=adversarial", "method=fgm", "method.fgm.granularity=sample"])
    texts = ["task=classification", "data=docstring_topic"]
    with pytest.raises(UserError, match="trainer=ddp"):
        resolve([*texts, "method=fgm", "trainer=fsdp"])
    with pytest.raises(UserError, match="leave one of them out"):
        resolve([*texts, "method=[fgm,pgd]"])
    with pytest.raises(UserError, match=r"method.fgm.granularity: 'row' is none of 'matrix'"):
        resolve([*texts, "method=fgm", "method.fgm.granularity=row"])
    with pytest.raises(UserError, match="epsilon"):
        resolve([*texts, "method=fgm", "method.fgm.epsilon=much"])


def test_models_name_their_embeddings() -> None:
    network = model()
    assert embeddings_of(network) == [network.embedding]
    assert embeddings_of(nn.Linear(1, 1)) == []
    patches = model(vocab_size=0, input_dim=4)
    assert embeddings_of(patches) == []


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fgm", "pgd"])
def test_two_processes_equal_one(method: str, tmp_path: Path) -> None:
    """A row's own step does not depend on how large its process's batch is."""
    common = ["task=classification", "data=digits", "data.patch=2", "model.dim=8"]
    common += ["model.num_heads=2", "position=learned", "position.max_length=16", "threads=1"]
    common += ["trainer.max_steps=6", "trainer.val_check_interval=3", "trainer.limit_val_batches=1"]
    common += ["trainer.gradient_clip_val=null", "trainer.enable_progress_bar=false"]
    common += [f"method={method}", f"method.{method}.granularity=sample", f"out={tmp_path}"]
    common += ["data.eval_batch_size=64"]  # both processes need something to judge by
    runs = [
        spec_of([*common, "trainer=cpu"]),
        spec_of([*common, "trainer=ddp", "trainer.accelerator=cpu"]),
    ]
    assert execute(runs[0]).status == "finished"
    assert two_processes(runs[1]).status == "finished"
    one, two = (
        torch.load(Run(run).checkpoints()[0], weights_only=True)["state_dict"] for run in runs
    )
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=2e-3, rtol=0, msg=name)


def test_its_example() -> None:
    assert doctest.testmod(suexp.method.fgm).failed == 0
