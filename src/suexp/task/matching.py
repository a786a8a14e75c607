"""Matching of texts: each text of a pair should find the other."""

import math
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from suexp.data.base import Data
from suexp.nn.gather import gather_rows
from suexp.task._splits import Evaluated

BLOCK = 4096  # queries that are scored at once


class Matching(Evaluated):
    r"""$a_i = f(\text{text } a_i)$, $b_i = f(\text{text } b_i)$: $a_i$ and $b_i$ partners.

    One encoder f gives the vectors (B, d) of both texts; the loss is contrastive, it compares every
    vector of the batch with every other. With several processes it sees the vectors of all of them,
    so that their number changes nothing. Pairs whose ``match`` is False do not belong together:
    they are no partners, but compete.

    The loss is a function of vectors alone, `loss_from_vectors`, which is what method=grad_cache
    needs. Logged for validation, and for the test split where there is one, over all its pairs
    together: the loss, and how well the texts a find their partners among all texts b: the share
    whose partner is ranked first (``recall_at_1``) or among the first ten (``recall_at_10``), and
    the mean of 1 / rank (``mrr``). Candidates with equal scores share their mean rank. What the
    loss's softmax of a text a over all n texts b says, $\log n - H$ in nats, is its information:
    the mean (``information``), the largest (``information_max``) and the share of $\log n$
    (``information_share``); ``temperature`` is the loss's as it is then.

    References: https://kexue.fm/archives/8471; on information https://kexue.fm/archives/9593;
    Reimers & Gurevych, Sentence-BERT, arXiv:1908.10084.

    Args:
        similarity: what candidates are ranked by, ``cosine`` or ``dot``; the loss's own as a rule.

    Raises:
        ValueError: an unknown similarity.
    """

    provides: ClassVar[set[str]] = {"loss_on_vectors", "text_vectors"}
    needs: ClassVar[dict[str, str]] = {
        "pairs": "it reads pairs of texts; use data=docstring_pairs, or data.kind=pairs",
        "contrast": "its loss compares vectors; use loss=info_nce",
        "model": "use model=transformer or model=bag_encoder",
    }
    refuses: ClassVar[dict[str, str]] = {
        "unlabelled pairs": "it must know which texts belong together; use task=pair_mlm, or leave "
        "data.unlabelled out"
    }

    def __init__(self, similarity: Literal["cosine", "dot"] = "cosine", **parts: Any) -> None:
        super().__init__(**parts)
        if similarity not in ("cosine", "dot"):
            raise ValueError(f"similarity must be cosine or dot, not {similarity}")
        self.similarity = similarity
        self._seen: list[dict[str, Tensor]] = []

    @staticmethod
    def model_sizes(data: Data) -> dict[str, int]:
        """Return the size of the vocabulary; the model's output is its vector."""
        return {**data.sizes, "num_outputs": 0}

    def encode(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the vectors ``a`` and ``b`` (B, d) of the batch's texts."""
        return {
            side: self.model(batch[f"tokens_{side}"], keep=batch[f"keep_{side}"])
            for side in ("a", "b")
        }

    def loss_from_vectors(self, vectors: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of vectors, those of all processes together."""
        match = batch.get("match")
        a, b = gather_rows(vectors["a"]), gather_rows(vectors["b"])
        return self.loss(a, b, None if match is None else gather_rows(match))

    def objective(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the batch's loss."""
        return self.loss_from_vectors(self.encode(batch), batch)

    def evaluate(self, batch: dict[str, Tensor]) -> None:
        """Keep the batch's vectors."""
        vectors = {side: x.detach().float() for side, x in self.encode(batch).items()}
        match = batch.get("match")
        if match is None:
            match = torch.ones(len(vectors["a"]), dtype=torch.bool, device=self.device)
        self._seen.append({**vectors, "match": match})

    def finish_split(self, split: str) -> None:
        """Log a split's figures."""
        seen, self._seen = self._seen, []
        whole = {name: torch.cat([part[name] for part in seen]) for name in seen[0]}
        whole = {name: gather_rows(rows) for name, rows in whole.items()}
        a, b, match = whole["a"], whole["b"], whole["match"]
        loss = self.loss(a, b, match)
        rank = ranks(a, b, self.similarity)[match]
        temperature = float(getattr(self.loss, "temperature", 1.0))
        says = information(a, b, self.similarity, temperature)
        self.report(
            {
                f"{split}/loss": loss,
                f"{split}/information": says.mean(),
                f"{split}/information_max": says.max(),
                f"{split}/information_share": says.mean() / max(math.log(len(b)), 1e-9),
                f"{split}/temperature": temperature,
                f"{split}/recall_at_1": (rank <= 1).float().mean(),
                f"{split}/recall_at_10": (rank <= 10).float().mean(),
                f"{split}/mrr": rank.reciprocal().mean(),
            }
        )

    def worst(self, split: str) -> dict[str, float]:
        """Return the worst values of a split's figures."""
        ranked = ("recall_at_1", "recall_at_10", "mrr")
        return super().worst(split) | {f"{split}/{name}": 0.0 for name in ranked}


def information(
    queries: Float[Tensor, "n d"],
    candidates: Float[Tensor, "m d"],
    similarity: str,
    temperature: float,
) -> Float[Tensor, " n"]:
    r"""Return $\log m - H$ of each query's softmax over all candidates, never below 0."""
    if similarity == "cosine":
        queries, candidates = F.normalize(queries, dim=-1), F.normalize(candidates, dim=-1)
    found = []
    for start in range(0, len(queries), BLOCK):
        log_p = (queries[start : start + BLOCK] / temperature @ candidates.T).log_softmax(-1)
        found.append(math.log(len(candidates)) + (log_p.exp() * log_p).sum(-1))
    return torch.cat(found).clamp(min=0)


def ranks(
    queries: Float[Tensor, "n d"], candidates: Float[Tensor, "n d"], similarity: str = "cosine"
) -> Float[Tensor, " n"]:
    """Return the rank, from 1, of candidate i among all candidates for query i.

    Candidates with equal scores share the mean of their ranks.
    """
    if similarity == "cosine":
        queries, candidates = F.normalize(queries, dim=-1), F.normalize(candidates, dim=-1)
    found = []
    for start in range(0, len(queries), BLOCK):
        scores = queries[start : start + BLOCK] @ candidates.T
        rows = torch.arange(len(scores), device=scores.device)
        own = scores[rows, rows + start].unsqueeze(1)
        above, equal = (scores > own).sum(1), (scores == own).sum(1)
        found.append(above + (equal + 1) / 2)
    return torch.cat(found)
