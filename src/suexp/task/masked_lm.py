"""Masked language modelling."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from suexp.task._fill_in import IGNORE, FillIn


class MaskedLM(FillIn):
    r"""Predict hidden tokens: $L = -\frac1{|M|} \sum_{t \in M} \log p(x_t | \tilde x)$.

    Of the tokens (batch, n) a share ``mask_ratio`` is chosen; of these 80 % become the mask token,
    10 % a random token and 10 % stay. What validation hides of a row depends on the row's number
    alone: it is the same every time, in batches of any size, on any number of devices.

    Reference: Devlin et al., BERT, arXiv:1810.04805.

    Args:
        mask_ratio: share of tokens to predict (0.15 in BERT).
        keep_ratio: share of the chosen tokens that stay as they are (0.1 in BERT).
        random_ratio: share of the chosen tokens that become a random token (0.1 in BERT).

    Raises:
        ValueError: a ratio outside its range.
    """

    def __init__(
        self,
        mask_ratio: float = 0.15,
        keep_ratio: float = 0.1,
        random_ratio: float = 0.1,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio must be between 0 and 1, not {mask_ratio}")
        if min(keep_ratio, random_ratio) < 0 or keep_ratio + random_ratio > 1:
            raise ValueError(f"keep_ratio {keep_ratio} and random_ratio {random_ratio} exceed 1")
        self.mask_ratio, self.keep_ratio, self.random_ratio = mask_ratio, keep_ratio, random_ratio

    def other(self, draws: Float[Tensor, "b n"]) -> Int[Tensor, "b n"]:
        """Return a token for each number from 0 to 1, to stand in another's place."""
        return (draws * self.data.sizes["vocab_size"]).long()

    def hide(
        self, tokens: Int[Tensor, "b n"], rows: Int[Tensor, " b"] | None = None
    ) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b n"]]:
        """Return the tokens with some hidden, and the targets (ignored where nothing is hidden)."""
        if rows is None:
            draws = torch.rand(3, *tokens.shape, device=tokens.device)
        else:
            draws = _of_rows(rows, tokens.shape[1]).to(tokens.device)
        choice, fate, other = draws
        chosen = (choice < self.mask_ratio) & self.ordinary(tokens)
        other = self.other(other)
        hidden = chosen & (fate >= self.keep_ratio + self.random_ratio)
        swapped = chosen & (fate >= self.keep_ratio) & ~hidden
        inputs = tokens.masked_fill(hidden, self.mask_id).where(~swapped, other)
        return inputs, tokens.masked_fill(~chosen, IGNORE)

    def questions(
        self, tokens: Int[Tensor, "b n1"], rows: Int[Tensor, " b"] | None = None
    ) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b n"]]:
        """Return what the model reads, and what it should answer at each place."""
        return self.hide(tokens[:, :-1], rows)

    def log_likelihoods(
        self,
        tokens: Int[Tensor, "b n"],
        keep: Bool[Tensor, "b n"] | None = None,
        chunk_tokens: int = 16384,
    ) -> Float[Tensor, "b n"]:
        r"""Return $\log p(x_i | x_{j \ne i})$ in nats; 0 where nothing is asked.

        Every token is hidden in a pass of its own, with all others in place.
        """
        asked = self.ordinary(tokens) if keep is None else self.ordinary(tokens) & keep
        found = []
        size = max(chunk_tokens // tokens.shape[1], 1)
        for places in torch.split(asked.nonzero(), size):
            row, place = places.unbind(1)
            at = torch.zeros_like(asked[row])
            at[torch.arange(len(row), device=row.device), place] = True
            real = None if keep is None else keep[row]
            logits = self.model(tokens[row].masked_fill(at, self.mask_id), keep=real, at=at)
            log_p = self.normalizer.log_prob(logits.float())
            found.append(log_p.gather(1, tokens[row, place][:, None])[:, 0])
        return torch.zeros(tokens.shape, device=tokens.device).masked_scatter(
            asked, torch.cat(found)
        )


def _of_rows(rows: Int[Tensor, " b"], places: int) -> Float[Tensor, "3 b n"]:
    """Return three numbers from 0 to 1 for each place of each row."""
    generator = torch.Generator()  # a CPU's: the same for every device
    draws = [
        torch.rand(3, places, generator=generator.manual_seed(number)) for number in rows.tolist()
    ]
    return torch.stack(draws, 1)
