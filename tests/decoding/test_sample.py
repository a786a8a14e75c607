import pytest
import torch

from suexp.decoding import Sample
from suexp.normalizer import Taylor
from tests.decoding.models import build, prompts

LOGITS = torch.tensor([[0.0, 1.0, 2.0, -1.0]])


def shares(sample: Sample, draws: int = 20000) -> torch.Tensor:
    torch.manual_seed(0)
    tokens = sample.choose(LOGITS.expand(draws, 4), None)
    return torch.bincount(tokens, minlength=4) / draws


def test_follows_the_tempered_distribution() -> None:
    expected = (2 * LOGITS[0]).softmax(-1)
    torch.testing.assert_close(shares(Sample(temperature=0.5)), expected, atol=0.01, rtol=0)


def test_top_k_cuts_the_rest() -> None:
    expected = torch.tensor([0.0, 0.2689, 0.7311, 0.0])
    torch.testing.assert_close(shares(Sample(top_k=2)), expected, atol=0.01, rtol=0)
    assert shares(Sample(top_k=1)).tolist() == [0, 0, 1, 0]
    assert (shares(Sample(top_k=99)) > 0).all()


def test_top_p_keeps_the_token_that_crosses() -> None:
    """p = .087, .237, .644, .032: .6 needs the largest alone, .7 the second, too."""
    assert shares(Sample(top_p=0.6)).tolist() == [0, 0, 1, 0]
    expected = torch.tensor([0.0, 0.2689, 0.7311, 0.0])
    torch.testing.assert_close(shares(Sample(top_p=0.7)), expected, atol=0.01, rtol=0)
    assert (shares(Sample(top_p=1.0)) > 0).all()


def test_top_p_is_taken_of_what_top_k_leaves() -> None:
    """Of the two best .7311 is reached by the first, of all only .644."""
    assert shares(Sample(top_k=2, top_p=0.7)).tolist() == [0, 0, 1, 0]


def test_no_temperature_is_greedy() -> None:
    assert shares(Sample(temperature=0.0)).tolist() == [0, 0, 1, 0]


def test_a_generator_fixes_the_draws() -> None:
    model = build()
    draws = [
        Sample()(model, prompts(), 8, generator=torch.Generator().manual_seed(seed)).tokens
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"temperature": -1.0}, "temperature must be at least 0, not -1"),
        ({"top_k": 0}, "top_k must be at least 1, not 0"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, not 0"),
    ],
)
def test_refuses_bad_settings(settings: dict, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        Sample(**settings)


def test_draws_from_another_normalisers_distribution() -> None:
    """f_2 of these: 1, 2.5, 5, .5; of the last by its negative branch, 41."""
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0, -10.0]])
    weights = Taylor(2).log_weights(logits)
    torch.manual_seed(0)
    tokens = Sample().choose(weights.expand(20000, 5), None)
    expected = torch.tensor([1.0, 2.5, 5.0, 0.5, 41.0]) / 50
    torch.testing.assert_close(torch.bincount(tokens) / 20000, expected, atol=0.01, rtol=0)
    assert Sample(top_k=1).choose(weights, None).item() == 4
