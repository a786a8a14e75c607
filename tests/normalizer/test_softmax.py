import torch

from suexp.normalizer import Softmax


def test_is_torchs_own() -> None:
    z = torch.randn(3, 5, 7)
    normalizer = Softmax()
    assert torch.equal(normalizer.predict(z), z.softmax(-1))
    assert torch.equal(normalizer.log_prob(z), z.log_softmax(-1))
    assert torch.equal(normalizer.best(z), z.argmax(-1))


def test_sixteen_bits_are_widened_and_sixty_four_kept() -> None:
    z = torch.tensor([[1e4, -1e4]])
    assert Softmax().log_prob(z.bfloat16()).dtype == torch.float32
    assert Softmax().log_prob(z.double()).dtype == torch.float64
