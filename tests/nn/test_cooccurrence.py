import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from suexp.nn.cooccurrence import cosine, ppmi, truncated


def test_ppmi_is_its_definition() -> None:
    counts = np.random.default_rng(0).integers(0, 4, (6, 6))
    found = ppmi(csr_matrix(counts)).toarray()
    for i in range(6):
        for j in range(6):
            ratio = counts[i, j] * counts.sum() / (counts[i].sum() * counts[:, j].sum())
            wanted = max(math.log(ratio), 0) if ratio else 0
            assert found[i, j] == pytest.approx(wanted, abs=1e-12)


def test_components_have_the_cosines_of_what_they_keep() -> None:
    """Of a symmetric positive matrix of low rank U S^(1/2) has itself as Gram matrix."""
    half = np.random.default_rng(0).normal(size=(8, 3))
    rows = truncated(csr_matrix(half @ half.T), 3)
    torch.testing.assert_close(rows @ rows.T, torch.from_numpy(half @ half.T))
    norms = np.linalg.norm(half, axis=1)
    wanted = torch.from_numpy(half @ half.T / np.outer(norms, norms))
    torch.testing.assert_close(cosine(rows), wanted)
    assert (cosine(csr_matrix((3, 3))) == 0).all()
