import pytest
import torch
from torch import nn

from suexp.errors import UserError
from suexp.job.cost import state_bytes
from suexp.optimizer import Lion


def steps(optimizer: torch.optim.Optimizer, p: nn.Parameter, grads: list[torch.Tensor]) -> None:
    for g in grads:
        p.grad = g.clone()
        optimizer.step()


def test_three_steps_by_hand() -> None:
    p = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = Lion([p], lr=0.1, betas=(0.9, 0.5), weight_decay=0.5)
    grads = [torch.tensor(g, dtype=torch.float64) for g in ([2.0, -4.0], [-1.0, 0.0], [-20.0, 0.0])]
    # theta * (1 - 0.1 * 0.5) - 0.1 * sign(0.9 m + 0.1 g), then m = (m + g) / 2
    expected = [
        ([0.95 - 0.1, -1.9 + 0.1], [1.0, -2.0]),  # u = (+, -)
        ([0.95 * 0.85 - 0.1, -0.95 * 1.8 + 0.1], [0.0, -1.0]),  # 0.9 - 0.1 > 0, -1.8 < 0
        ([0.95 * 0.7075 + 0.1, -0.95 * 1.61 + 0.1], [-10.0, -0.5]),  # -2 < 0, -0.9 < 0
    ]
    for g, (theta, m) in zip(grads, expected, strict=True):
        steps(optimizer, p, [g])
        torch.testing.assert_close(p.detach(), torch.tensor(theta, dtype=torch.float64))
        state = torch.tensor(m, dtype=torch.float64)
        torch.testing.assert_close(optimizer.state[p]["momentum"], state)


def test_first_step_moves_each_component_by_the_learning_rate() -> None:
    p = nn.Parameter(torch.zeros(5))
    steps(Lion([p], lr=0.25, weight_decay=0.0), p, [torch.tensor([3.0, 1e-30, 0.0, -1e-5, -1e30])])
    assert torch.equal(p.detach(), torch.tensor([-0.25, -0.25, 0.0, 0.25, 0.25]))


def test_scale_of_the_loss_does_not_matter() -> None:
    trajectories = []
    for scale in (1.0, 1024.0, 3.0):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer = Lion(model.parameters(), lr=1e-3)
        for _ in range(20):
            optimizer.zero_grad()
            (scale * model(torch.randn(16, 6)).square().mean()).backward()
            optimizer.step()
        trajectories.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(trajectories[0], trajectories[1])
    torch.testing.assert_close(trajectories[0], trajectories[2], atol=1e-6, rtol=0)


def test_decay_alone_shrinks_by_a_fixed_factor() -> None:
    p = nn.Parameter(torch.tensor([2.0, -3.0], dtype=torch.float64))
    steps(Lion([p], lr=0.1, weight_decay=0.3), p, [torch.zeros(2, dtype=torch.float64)] * 10)
    expected = torch.tensor([2.0, -3.0], dtype=torch.float64) * (1 - 0.03) ** 10
    torch.testing.assert_close(p.detach(), expected)


@pytest.mark.parametrize("start", [0.0, 30.0])
def test_weights_stay_in_the_box(start: float) -> None:
    """|theta| <= max(|theta_0|, 1 / lambda), however large the gradients are."""
    p = nn.Parameter(torch.full((100,), start))
    optimizer = Lion([p], lr=0.5, weight_decay=0.1)
    torch.manual_seed(0)
    drift = 1e4 * torch.randn(100)
    for _ in range(200):
        steps(optimizer, p, [drift + torch.randn(100)])
        assert p.abs().max() <= max(start, 10) + 1e-4
    assert p.abs().min() > 9.9  # the edge of the box is where a constant sign leads


def test_state_is_one_tensor_of_the_parameters_size() -> None:
    p = nn.Parameter(torch.ones(30, 10))
    for optimizer, times in ((Lion([p]), 1), (Lion([p], momentum_dtype="bfloat16"), 0.5)):
        steps(optimizer, p, [torch.ones(30, 10)])
        assert state_bytes(optimizer) == times * p.numel() * 4


def test_low_precision_momentum_is_computed_in_float32() -> None:
    torch.manual_seed(0)
    p = nn.Parameter(torch.randn(50))
    optimizer = Lion([p], betas=(0.9, 0.9), momentum_dtype="bfloat16")
    m = torch.zeros(50)
    for _ in range(5):
        g = torch.randn(50)
        steps(optimizer, p, [g])
        m = torch.lerp(m, g, 1 - 0.9).bfloat16().float()  # rounded once a step
        assert optimizer.state[p]["momentum"].dtype is torch.bfloat16
        assert torch.equal(optimizer.state[p]["momentum"].float(), m)


@pytest.mark.parametrize("foreach", [True, False])
def test_half_precision_parameters_keep_a_float32_momentum(foreach: bool) -> None:
    p = nn.Parameter(torch.full((4,), 0.5, dtype=torch.bfloat16))
    optimizer = Lion([p], lr=0.25, weight_decay=0.0, foreach=foreach)
    steps(optimizer, p, [torch.ones(4, dtype=torch.bfloat16)])
    assert optimizer.state[p]["momentum"].dtype is torch.float32
    assert torch.equal(p.detach(), torch.full((4,), 0.25, dtype=torch.bfloat16))
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    assert optimizer.state[p]["momentum"].dtype is torch.float32
    assert optimizer.state[p]["momentum"] is not state["state"][0]["momentum"]


def test_lists_and_blocks_make_the_same_step() -> None:
    results = []
    for foreach in (True, False):
        torch.manual_seed(0)
        p = [nn.Parameter(torch.randn(s)) for s in ((600, 600), (3,), ())]
        optimizer = Lion(p, lr=1e-3, foreach=foreach)
        for _ in range(3):
            for one in p:
                one.grad = torch.randn_like(one)
            optimizer.step()
        results.append(torch.cat([one.detach().flatten() for one in p]))
    torch.testing.assert_close(*results, atol=1e-7, rtol=2e-7)


def test_off_the_cpu_no_number_is_waited_for() -> None:
    """Reading a number of a meta tensor raises."""
    p = nn.Parameter(torch.empty(4, 3, device="meta"))
    steps(Lion([p]), p, [torch.empty(4, 3, device="meta")] * 2)


def test_refuses_sparse_gradients() -> None:
    embedding = nn.Embedding(4, 2, sparse=True)
    optimizer = Lion(embedding.parameters())
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(UserError, match="Lion needs dense gradients: set sparse=false"):
        optimizer.step()


def test_refuses_complex_parameters_and_unknown_types() -> None:
    with pytest.raises(ValueError, match=r"Lion takes the sign of real numbers.*view_as_real"):
        Lion([nn.Parameter(torch.ones(2, dtype=torch.complex64))])
    for name in ("bf16", "int8", "nn"):
        with pytest.raises(ValueError, match=f"momentum_dtype='{name}' is no floating-point type"):
            Lion([nn.Parameter(torch.ones(2))], momentum_dtype=name)


def test_settings_of_a_group_are_looked_at_too() -> None:
    p, q = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match="lr=-1"):
        Lion([{"params": [p], "lr": -1.0}])
    optimizer = Lion([p])
    with pytest.raises(ValueError, match="beta=2"):
        optimizer.add_param_group({"params": [q], "betas": (2.0, 0.5)})
    assert len(optimizer.param_groups) == 1


def test_refuses_the_state_of_another_optimizer() -> None:
    p = nn.Parameter(torch.ones(2, 2))
    other = torch.optim.AdamW([p])
    steps(other, p, [torch.ones(2, 2)])
    with pytest.raises(ValueError, match="not the state of Lion"):
        Lion([p]).load_state_dict(other.state_dict())
