import pytest
import torch

from suexp.data.counter import Counter


def test_counts() -> None:
    data = Counter(num_samples=10, batch_size=4)
    dataset = data.splits()["test"]
    assert list(data.splits()) == ["test"]
    assert len(dataset) == 10
    batch = data.collate(dataset.__getitems__([4, 5, 9]))
    assert list(batch) == ["index"]
    torch.testing.assert_close(batch["index"], torch.tensor([4, 5, 9]))
    assert data.eval_batch_size == 4
    assert data.sizes == {}


def test_fingerprint_is_the_length() -> None:
    assert Counter(10, 2).fingerprint() == Counter(10, 5).fingerprint()
    assert Counter(10, 2).fingerprint() != Counter(11, 2).fingerprint()


@pytest.mark.parametrize("settings", [{"num_samples": 0}, {"batch_size": 0}])
def test_out_of_range(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        Counter(**settings)
