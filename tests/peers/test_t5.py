import pytest
import torch

from suexp.position.t5 import buckets

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("num_buckets", "max_distance"), [(32, 128), (32, 512), (8, 20)])
def test_buckets_are_those_of_transformers(
    num_buckets: int, max_distance: int, bidirectional: bool
) -> None:
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    distance = torch.arange(-2000, 2001)
    theirs = t5.T5Attention._relative_position_bucket(
        distance, bidirectional, num_buckets, max_distance
    )
    assert torch.equal(buckets(distance, num_buckets, max_distance, bidirectional), theirs)
