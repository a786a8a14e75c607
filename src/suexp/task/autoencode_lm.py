"""Language autoencoding: every token is predicted from all others, in one pass."""

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from suexp.task._fill_in import IGNORE, FillIn


class AutoencodeLM(FillIn):
    r"""Predict every token from the others: $L = -\frac1n \sum_i \log p(x_i | x_{j \ne i})$.

    The labels are the inputs (batch, n); no token is hidden. That takes a model whose output i
    cannot know token i, ``model=tta``. Ends of texts count as context, not as labels. One pass
    gives the pseudo-log-likelihood of a text, $\sum_i \log p(x_i | x_{j \ne i})$, where a masked
    language model needs one for each token.

    Reference: Shin et al., Fast and Accurate Deep Bidirectional Language Representations for
    Unsupervised Learning, arXiv:2004.08097; https://kexue.fm/archives/7661.

    Args:
        allow_leak: let it train a tta whose outputs know their own tokens, as a control.
    """

    provides: ClassVar[set[str]] = {
        "language_model",
        "fill_in",
        "own_labels if allow_leak=False",
    }
    needs: ClassVar[dict[str, str]] = {
        "text": "it reads text; use data=pydoc",
        "queries_without_tokens": "the model sees its own labels; use model=tta, or task=masked_lm",
        "mask=exclude_self": "no token may look at itself; use mask=exclude_self",
    }

    def __init__(self, allow_leak: bool = False, **parts: Any) -> None:
        super().__init__(**parts)
        self.allow_leak = allow_leak

    def questions(
        self, tokens: Int[Tensor, "b n1"], rows: Int[Tensor, " b"] | None = None
    ) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b n"]]:
        """Return the text twice; ends of texts are not asked for."""
        del rows
        tokens = tokens[:, :-1]
        return tokens, tokens.masked_fill(~self.ordinary(tokens), IGNORE)

    def log_likelihoods(
        self,
        tokens: Int[Tensor, "b n"],
        keep: Bool[Tensor, "b n"] | None = None,
        chunk_tokens: int = 16384,
    ) -> Float[Tensor, "b n"]:
        r"""Return $\log p(x_i | x_{j \ne i})$ in nats, by one pass; 0 where nothing is asked."""
        asked = self.ordinary(tokens) if keep is None else self.ordinary(tokens) & keep
        found = []
        size = max(chunk_tokens // tokens.shape[1], 1)
        for rows in torch.split(torch.arange(len(tokens)), size):
            text, at = tokens[rows], asked[rows]
            real = None if keep is None else keep[rows]
            log_p = self.normalizer.log_prob(self.model(text, keep=real, at=at).float())
            found.append(log_p.gather(1, text[at][:, None])[:, 0])
        return torch.zeros(tokens.shape, device=tokens.device).masked_scatter(
            asked, torch.cat(found)
        )
