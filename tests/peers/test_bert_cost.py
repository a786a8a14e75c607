"""The counts of a layer against a BERT of transformers."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from suexp.costs import Layer
from suexp.nn.flops import counted

transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.peer


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "heads", "layers"), [(768, 12, 12), (1024, 16, 24)])
def test_bert_without_head(dim: int, heads: int, layers: int) -> None:
    n = 512
    config = transformers.BertConfig(
        hidden_size=dim,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        intermediate_size=4 * dim,
        attn_implementation="eager",
    )
    with FakeTensorMode(), torch.no_grad():
        model = transformers.BertModel(config).eval()
        tokens = torch.zeros(1, n, dtype=torch.long)
        with counted() as counter:
            model(input_ids=tokens, attention_mask=torch.ones(1, n, dtype=torch.long))
    layer = Layer(dim, heads)
    pooler = 2 * dim**2
    assert layers * sum(layer.flops(n).values()) + pooler == counter.get_total_flops()
    assert sum(layer.flops(n).values()) == 2 * (12 * n * dim**2 + 2 * n**2 * dim)
