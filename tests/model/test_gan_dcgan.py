import inspect

import pytest
import torch
from torch import nn

from suexp.config.compose import resolve
from suexp.errors import UserError
from suexp.model.gan_dcgan import GanDCGAN


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (28, 1), (32, 3), (33, 2)])
def test_any_square_image(side: int, channels: int) -> None:
    model = GanDCGAN(channels * side**2, latent_dim=5, channels=channels, width=2)
    images = model.generator(torch.randn(3, 5))
    assert images.shape == (3, channels * side**2)
    assert images.abs().max() <= 1
    assert model.critic(images).shape == (3,)
    model(torch.randn(3, 5)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_is_the_papers_network_on_cifar() -> None:
    model = GanDCGAN(3 * 32**2, channels=3)
    shapes = [tuple(m.weight.shape) for m in model.critic.modules() if isinstance(m, nn.Conv2d)]
    assert shapes == [
        (64, 3, 3, 3),
        *((128, 64, 4, 4), (128, 128, 3, 3), (256, 128, 4, 4), (256, 256, 3, 3)),
        *((512, 256, 4, 4), (512, 512, 3, 3)),
    ]
    assert model.critic.last.weight.shape == (1, 512 * 4 * 4)
    assert model.generator.first.weight.shape == (512 * 4 * 4, 128)
    assert model.generator.layers[2].weight.shape == (512, 256, 4, 4)


def test_scores_depend_on_their_image_alone() -> None:
    model, images = GanDCGAN(64, width=2), torch.rand(4, 64)
    torch.testing.assert_close(model.critic(images)[:1], model.critic(images[:1]))
    assert not any("Norm" in type(module).__name__ for module in model.critic.modules())


def test_without_biases_the_critic_is_homogeneous() -> None:
    model, images = GanDCGAN(64, width=2, bias=False), torch.rand(4, 64)
    torch.testing.assert_close(model.critic(3 * images), 3 * model.critic(images))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"input_dim": 3072}, "3072 numbers are no square image of 1 channels"),
        ({"input_dim": 49}, "side 8 or more"),
        ({"input_dim": 64, "width": 0}, "width 0 must be at least 1"),
    ],
)
def test_refusals(settings: dict, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        inspect.unwrap(GanDCGAN.__init__)(GanDCGAN.__new__(GanDCGAN), **settings)


def test_composes_with_images_alone() -> None:
    run = resolve(["task=adversarial", "model=gan_dcgan", "data=digits", "data.range=symmetric"])
    assert "init" not in run.config
    with pytest.raises(UserError, match=r"model=gan_dcgan needs images: .*use data=digits"):
        resolve(["task=adversarial", "model=gan_dcgan"])
