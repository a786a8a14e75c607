from typing import Any

import pytest
import torch

from suexp.task.attention_rank import AttentionRank, fit


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def measured(**changes: Any) -> dict[str, float]:
    small = {"length": 16, "key_dims": [2, 16], "mixtures": [4], "mixture_key_dim": 2, "steps": 150}
    task = AttentionRank(**(small | changes))
    drawn = task.draw(2, generator())
    totals = {name: drawn.get(name, total) for name, total in task.totals.items()}
    totals["draws"] = torch.tensor(2)
    metrics = task.summarise(totals)
    rows = {(row["target"], row["heads"], row["key_dim"]): row["kl"] for row in task.tables["fit"]}
    assert rows["dirichlet", 4, 2] == metrics["kl_dirichlet_mix4"]
    return metrics


def test_larger_keys_and_more_heads_fit_better() -> None:
    metrics = measured()
    for target in ("dirichlet", "gaussian"):
        assert metrics[f"kl_{target}_k16"] < 0.05
        assert metrics[f"kl_{target}_k2"] > 0.3
        assert metrics[f"kl_{target}_mix4"] < 0.6 * metrics[f"kl_{target}_k2"]


def test_what_heads_of_full_size_can_form_is_found() -> None:
    q, k = torch.randn(2, 1, 1, 12, 12, dtype=torch.float64, generator=generator())
    target = (q @ k.mT * 12**-0.5).softmax(-1)
    assert float(fit(target, 1, 12, 300, 0.05, generator())) < 1e-3
    assert float(fit(target, 1, 2, 300, 0.05, generator())) > 0.05


def test_a_divergence_is_never_negative_and_zeros_of_a_target_cost_nothing() -> None:
    target = torch.eye(8, dtype=torch.float64)[torch.randperm(8)][None, None]
    assert 0 <= float(fit(target, 1, 4, 300, 0.05, generator())) < 0.1


def test_scores_of_a_small_head_cannot_be_those_of_the_identity() -> None:
    """The nearest matrix of rank k to the identity of size n is sqrt(n - k) away."""
    n, k = 64, 16
    q, key = (torch.randn(n, k, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.LBFGS([q, key], max_iter=200, line_search_fn="strong_wolfe")
    eye = torch.eye(n, dtype=torch.float64)

    def distance() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (q @ key.T - eye).square().sum()
        loss.backward()
        return loss

    optimizer.step(distance)
    assert float(distance().detach()) ** 0.5 == pytest.approx((n - k) ** 0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"key_dims": [0]}, "at least 1"), ({"targets": ["noise"]}, "targets are dirichlet")],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionRank(**changes)
