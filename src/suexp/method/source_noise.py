"""Sources with noise on whole words, so that a model learns to write what they should say."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from suexp.errors import between
from suexp.method.base import Batch, Method, Objective
from suexp.nn.ramp import Number, ramp
from suexp.nn.replacement import generator_of
from suexp.nn.word_noise import noised

if TYPE_CHECKING:
    from suexp.task.base import Task


class SourceNoise(Method):
    r"""$L = -\sum_t \log p(y_t | \tilde x, y_{<t})$, $\tilde x$ the source with noise on its words.

    A row has noise with the probability ``p_sample``; in such a row each word of the source is
    chosen with the probability ``p_word``, and all tokens of a chosen word are hidden (80 %),
    replaced by random ones (10 %) or kept (10 %). The target stays as it is: not the source itself,
    as in BART, but what should follow it, such as a similar sentence. Tokens and answers are (b, n)
    as before, only ``inputs`` differ. Draws depend on the seed, the step and the rows' place:
    passes of one step agree on them, and a resumed run repeats them.

    Post: https://kexue.fm/archives/8454. Lewis et al., BART, arXiv:1910.13461; whole words of BERT,
    https://github.com/google-research/bert.

    Example:
        >>> method = SourceNoise(p_word={"start": 0.0, "end": 0.3, "steps": 200})
        >>> method.p_word(100)
        0.15

    Args:
        p_sample: share of the rows that have noise; 0.5 in the post.
        p_word: share of their source words that are chosen, 0.15 in the post's code; may be a ramp
            ``{start, end, steps, kind}`` over the steps.
        mask: share of the chosen words that are hidden, 0.8 as in BERT.
        random: share of them that are replaced by random tokens, 0.1 as in BERT; the rest stays.
        seed: of the draws.

    Raises:
        ValueError: a probability outside [0, 1], or two shares of more than 1.
    """

    needs: ClassVar[dict[str, str]] = {
        "prefix_length": "it needs to know which tokens are the source; use task=seq2seq or "
        "task=similar_sentence"
    }
    order: ClassVar[int] = -50

    def __init__(
        self,
        p_sample: Number = 0.5,
        p_word: Number = 0.15,
        mask: float | int = 0.8,
        random: float | int = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        between("[0, 1]", mask=mask, random=random)
        if mask + random > 1 + 1e-9:
            raise ValueError(f"mask {mask} and random {random} are more than 1 together")
        self.p_sample = ramp(p_sample, "p_sample", low=0, high=1)
        self.p_word = ramp(p_word, "p_word", low=0, high=1)
        self.mask, self.random, self.seed = mask, random, seed

    def objective(self, task: "Task", batch: Batch, inner: Objective) -> Tensor:
        """Return the loss of sources with noise."""
        p_sample, p_word = self.p_sample(task.global_step), self.p_word(task.global_step)
        if p_sample == 0 or p_word == 0 or not torch.is_grad_enabled():
            return inner(batch)
        rank, _ = task.place
        generator = generator_of(self.seed, task.global_step, task.first_row, rank)
        inputs = noised(task, batch, p_sample, p_word, generator, self.mask, self.random)
        return inner({**batch, "inputs": inputs})
