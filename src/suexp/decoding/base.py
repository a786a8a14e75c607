"""The contract of every decoding, and what may constrain it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from suexp.component import Component
from suexp.errors import at_least
from suexp.normalizer.base import Normalizer


class Generated(NamedTuple):
    r"""New tokens.

    Attributes:
        tokens: the new tokens; past a text's end, the end token again.
        keep: True up to the token that ended the text, that one included.
        score: $\sum_t \log p(y_t)$ of the kept ones, under the constraints but before any
            temperature, top-k or top-p.
    """

    tokens: Int[Tensor, "b n"]
    keep: Bool[Tensor, "b n"]
    score: Float[Tensor, " b"]

    def texts(self, end: int | None = None) -> list[list[int]]:
        """Return each text's tokens, without those equal to ``end``."""
        rows = zip(self.tokens.tolist(), self.keep.tolist(), strict=True)
        return [
            [token for token, kept in zip(*row, strict=True) if kept and token != end]
            for row in rows
        ]


class Constraint:
    """Changes the logits of the next token; -inf forbids one.

    What it remembers of each text goes into its state, a tree of tensors whose first axis is that
    of the texts: a beam search reorders and repeats it with its hypotheses.
    """

    def __call__(
        self,
        logits: Float[Tensor, "r v"],
        tokens: Int[Tensor, "r t"],
        state: Any,
        hidden: Float[Tensor, "r c"] | None,
    ) -> tuple[Float[Tensor, "r v"], Any]:
        """Return the constrained logits and the new state.

        Args:
            logits: of the next token, in float32; a tensor that may be changed in place.
            tokens: the new tokens so far.
            state: what the last call returned; None at first.
            hidden: the last hidden states that the logits were read from, where the model keeps
                them. Rows are texts, each as often as it has hypotheses, side by side.
        """
        raise NotImplementedError


class Forbid(Constraint):
    """Some tokens never occur.

    Args:
        tokens: their numbers.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = list(tokens)

    def __call__(
        self,
        logits: Float[Tensor, "r v"],
        tokens: Int[Tensor, "r t"],
        state: Any,
        hidden: Float[Tensor, "r c"] | None,
    ) -> tuple[Float[Tensor, "r v"], Any]:
        """Forbid them."""
        del tokens, hidden
        logits[:, self.tokens] = -torch.inf
        return logits, state


class Request(NamedTuple):
    """What is asked of a decoding (see `Decoding.__call__`)."""

    model: Any
    prompt: Tensor
    max_new_tokens: int
    end: int | None
    keep: Tensor | None
    segments: Tensor | None
    new_segment: int | None
    constraints: Sequence[Constraint]
    generator: torch.Generator | None
    normalizer: Normalizer | None
    facts: dict[str, Tensor]


class Decoding(Component):
    r"""Adds tokens $y_1, y_2, \dots$ to a prompt, by the model's $p(y_t | x, y_{<t})$.

    Shapes: prompt (b, n), new tokens (b, n_new) with n_new at most ``max_new_tokens``: it ends as
    soon as every text has.

    Args:
        min_new_tokens: no text ends before so many tokens, the end token not counted.
        min_ends: how many end tokens end a text: 1, or the number of its fields.

    Raises:
        ValueError: a number out of range.
    """

    needs: ClassVar[dict[str, str]] = {
        "generation": "nothing is written here; use task=causal_lm or task=seq2seq, or leave that "
        "choice out"
    }

    def __init__(self, min_new_tokens: int = 0, min_ends: int = 1) -> None:
        at_least(0, min_new_tokens=min_new_tokens)
        at_least(1, min_ends=min_ends)
        self.min_new_tokens, self.min_ends = min_new_tokens, min_ends

    def __call__(
        self,
        model: nn.Module,
        prompt: Int[Tensor, "b n"],
        max_new_tokens: int,
        *,
        end: int | None = None,
        keep: Bool[Tensor, "b n"] | None = None,
        segments: Int[Tensor, "b n"] | None = None,
        new_segment: int | None = None,
        constraints: Sequence[Constraint] = (),
        generator: torch.Generator | None = None,
        normalizer: Normalizer | None = None,
        **facts: Tensor,
    ) -> Generated:
        """Return what comes after the prompts.

        Args:
            model: has ``decode`` as `suexp.model.transformer.Transformer` has it; it is set to
                evaluation meanwhile.
            prompt: at least one real token a text.
            max_new_tokens: how many tokens to add at most.
            end: the token that ends a text; None: no text ends.
            keep: True at the prompts' real tokens; None: all are real.
            segments: the kinds of the prompts' tokens; None: the model has one kind.
            new_segment: the kind of the new tokens, where there are kinds.
            constraints: change the logits of each step, in this order.
            generator: source of the draws; None: torch's global one.
            normalizer: what p of the logits is; None: softmax.
            facts: what the mask must know of the batch, as in the model's ``forward``.

        Raises:
            ValueError: an empty prompt, a mask that cannot decode, a text longer than the model's
                positions, constraints that allow no token.
        """
        empty = prompt.shape[1] == 0 or (keep is not None and not bool(keep.any(1).all()))
        if empty:
            raise ValueError("the prompt must hold at least one token")
        at_least(0, max_new_tokens=max_new_tokens)
        if max_new_tokens == 0:
            nothing = prompt[:, :0]
            return Generated(
                nothing, nothing.bool(), torch.zeros(len(prompt), device=prompt.device)
            )
        request = Request(
            model,
            prompt,
            max_new_tokens,
            end,
            keep,
            segments,
            new_segment,
            constraints,
            generator,
            normalizer,
            facts,
        )
        with torch.no_grad(), evaluating(model):
            return self.run(request)

    def run(self, ask: Request) -> Generated:
        """Decode; gradients are off and the model evaluates."""
        raise NotImplementedError

    def constrained(
        self, ask: Request, logits: Tensor, tokens: Tensor, states: list[Any], text: Any
    ) -> tuple[Tensor, list[Any]]:
        r"""Return logits, whose softmax is p, in float32 under every constraint, and the states.

        Args:
            ask: what is asked for.
            logits: of the next token.
            tokens: the new ones so far.
            states: the constraints'.
            text: the model's state of the text so far, as its ``decode`` returned it.
        """
        logits = logits.float()
        if ask.constraints:
            logits = logits.clone()
            after = []
            for constraint, state in zip(ask.constraints, states, strict=True):
                logits, state = constraint(logits, tokens, state, text.hidden)
                after.append(state)
            states = after
        if ask.end is not None and tokens.shape[1] < self.min_new_tokens:
            logits = logits.clone()
            logits[:, ask.end] = -torch.inf
        if ask.normalizer is not None:  # which may leave tokens out: of those that are allowed
            allowed = ~logits.isneginf()
            least = torch.finfo(logits.dtype).min
            logits = ask.normalizer.log_weights(logits.where(allowed, least))
            logits = logits.where(allowed, -torch.inf)
        if ask.constraints and not bool(logits.isfinite().any(-1).all()):
            raise ValueError(f"the constraints allow no token at step {tokens.shape[1] + 1}")
        return logits, states


def read_prompt(ask: Request) -> tuple[Tensor, Any]:
    """Return the logits (b, v) after the prompts, and the state of the text so far."""
    last = torch.zeros_like(ask.prompt, dtype=torch.bool)
    if ask.keep is None:
        last[:, -1] = True
    else:
        places = torch.arange(ask.prompt.shape[1], device=ask.prompt.device)
        last = places == places.where(ask.keep, -1).amax(1, keepdim=True)
    return ask.model.decode(ask.prompt, None, ask.keep, ask.segments, last, **ask.facts)


def read_token(ask: Request, token: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Return the logits (r, v) after one more token (r,) of each text, and the new state."""
    token = token[:, None]
    kind = None if ask.new_segment is None else torch.full_like(token, ask.new_segment)
    logits, state = ask.model.decode(token, state, None, kind)
    return logits[:, 0], state


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set a model to evaluation for a while."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
