"""What counts of pairs of words say about the words."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def ppmi(counts: Any) -> Any:
    r"""Return $\max(0, \log n_{ij} N / n_i n_j)$ of sparse counts (V, V): sparse, (V, V).

    Reference: Levy and Goldberg, Neural Word Embedding as Implicit Matrix Factorization.

    Example:
        >>> from scipy.sparse import csr_matrix
        >>> from suexp.nn.cooccurrence import ppmi
        >>> ppmi(csr_matrix([[3, 1], [0, 4]])).toarray().round(2)  # log 2, below 0; 0, log 8/5
        array([[0.69, 0.  ],
               [0.  , 0.47]])
    """
    pairs = counts.tocoo()
    rows, columns = (np.asarray(counts.sum(axis)).reshape(-1) for axis in (1, 0))
    expected = rows[pairs.row] * columns[pairs.col] / pairs.data.sum()
    pairs.data = np.maximum(np.log(pairs.data / expected), 0)
    return pairs.tocsr()


def truncated(rows: Any, dim: int) -> Float[Tensor, "v c"]:
    r"""Return $U \sqrt{\Sigma}$ of the ``dim`` leading singular directions of sparse rows."""
    from sklearn.utils.extmath import randomized_svd

    u, s, _ = randomized_svd(rows, dim, random_state=0)
    return torch.from_numpy(u * np.sqrt(s))


def cosine(rows: Any) -> Float[Tensor, "v v"]:
    """Return the cosines of rows, sparse or a tensor; those of a row of zeros are 0."""
    from sklearn.metrics.pairwise import cosine_similarity

    return torch.from_numpy(cosine_similarity(rows)).double()
