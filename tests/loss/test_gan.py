import pytest
import torch
import torch.nn.functional as F

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.loss.gan import GAN

REAL = torch.tensor([0.3, -1.2, 2.5], dtype=torch.float64)
FAKE = torch.tensor([-0.4, 1.7], dtype=torch.float64)


def test_wgan_is_the_difference_of_means() -> None:
    torch.testing.assert_close(GAN("wgan").critic(REAL, FAKE), FAKE.mean() - REAL.mean())
    torch.testing.assert_close(GAN("wgan").generator(FAKE), -FAKE.mean())


def test_hinge() -> None:
    # relu(1 - x) = 0.7, 2.2, 0; relu(1 + y) = 0.6, 2.7
    assert GAN("hinge").critic(REAL, FAKE).item() == pytest.approx(2.9 / 3 + 3.3 / 2)
    torch.testing.assert_close(GAN("hinge").generator(FAKE), -FAKE.mean())


def test_bce_is_torchs_and_stable() -> None:
    loss, ones, zeros = GAN("bce"), torch.ones_like, torch.zeros_like
    expected = F.binary_cross_entropy_with_logits(
        REAL, ones(REAL)
    ) + F.binary_cross_entropy_with_logits(FAKE, zeros(FAKE))
    torch.testing.assert_close(loss.critic(REAL, FAKE), expected)
    expected = F.binary_cross_entropy_with_logits(FAKE, ones(FAKE))
    torch.testing.assert_close(loss.generator(FAKE), expected)
    far = torch.tensor([-1e4, 1e4])
    assert loss.critic(far, far).isfinite()


def test_bce_bounded_reads_probabilities() -> None:
    loss, real, fake = GAN("bce_bounded"), REAL / 3, FAKE / 3
    expected = F.binary_cross_entropy((real + 1) / 2, torch.ones_like(real))
    expected = expected + F.binary_cross_entropy((fake + 1) / 2, torch.zeros_like(fake))
    torch.testing.assert_close(loss.critic(real, fake), expected)
    assert loss.generator(torch.tensor([-1.0, 1.0])).isfinite()


@pytest.mark.parametrize("kind", ["wgan", "hinge", "bce", "bce_bounded"])
def test_gradients_pull_real_up_and_fake_down(kind: str) -> None:
    loss = GAN(kind)  # type: ignore[arg-type]
    real, fake = torch.full((3,), 0.2, requires_grad=True), torch.full((2,), 0.1).requires_grad_()
    up, down = torch.autograd.grad(loss.critic(real, fake), [real, fake])
    (pull,) = torch.autograd.grad(loss.generator(fake), fake)
    assert (up < 0).all()
    assert (down > 0).all()
    assert (pull < 0).all()


@pytest.mark.parametrize("kind", ["wgan", "hinge", "bce", "bce_bounded"])
def test_half_precision_is_computed_in_float32(kind: str) -> None:
    loss, half = GAN(kind), (REAL / 3).bfloat16()  # type: ignore[arg-type]
    assert loss.critic(half, half).dtype == torch.float32
    torch.testing.assert_close(loss.critic(half, half), loss.critic(half.float(), half.float()))


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"loss.kind must be one of wgan, hinge, bce, bce_bounded"):
        GAN.__init__.__wrapped__(GAN.__new__(GAN), "lsgan")  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"loss=gan needs adversarial: .*use task=adversarial"):
        resolve(["loss=gan"])
    bounded = ["task=adversarial", "loss.kind=bce_bounded", "method=gradient_normalization"]
    resolve(bounded)
    for overrides in (bounded[:2], [*bounded, "method.gradient_normalization.form=gran"]):
        with pytest.raises(UserError, match=r"loss=gan needs bounded critic: its scores must lie"):
            resolve(overrides)
