"""One layer of a transformer."""

from collections.abc import Callable
from typing import Any, Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from suexp.attention.base import Carried
from suexp.mask.base import Mask
from suexp.nn.clone import clone
from suexp.nn.feed_forward import FeedForward
from suexp.nn.multi_head import MultiHeadAttention, Rotate

NormOrder = Literal["pre", "post", "gpt2_ml"]


class Block(nn.Module):
    r"""Attention and feed-forward: $x + f(\mathrm{norm}(x))$ or $\mathrm{norm}(x + f(x))$.

    The first form is pre norm, the second post norm. The third, gpt2_ml, is $y = x + f_1(x)$,
    $\mathrm{norm}_2(y + f_2(\mathrm{norm}_1(y)))$ with the attention $f_1$: what pre norm becomes
    when the norm before each attention stands in the residual branch, too. Shapes: x and the result
    (b, n, dim).

    References: post norm of Vaswani et al., arXiv:1706.03762; pre norm compared with it by Xiong et
    al., arXiv:2002.04745, and in https://kexue.fm/archives/9009; gpt2_ml of Grover, Zellers et al.,
    arXiv:1905.12616, as https://kexue.fm/archives/7912 tells it from GPT-2.

    Args:
        attention: mixes the tokens.
        feed_forward: acts on each token.
        norm: prototype of the two norms.
        norm_order: ``pre``, ``post`` or ``gpt2_ml``.

    Raises:
        ValueError: another norm_order.
    """

    def __init__(
        self,
        attention: MultiHeadAttention,
        feed_forward: FeedForward,
        norm: nn.Module,
        norm_order: NormOrder = "pre",
    ) -> None:
        super().__init__()
        if norm_order not in get_args(NormOrder):
            raise ValueError(f"norm_order must be pre, post or gpt2_ml, not {norm_order}")
        self.norm_order = norm_order
        self.attention_norm = clone(norm)
        self.attention = attention
        self.feed_forward_norm = clone(norm)
        self.feed_forward = feed_forward

    def add(self, x: Tensor, branch: Callable[[Tensor], Tensor], norm: nn.Module) -> Tensor:
        """Return the sum of x and a branch, with the norm in its place."""
        return x + branch(norm(x)) if self.norm_order == "pre" else norm(x + branch(x))

    def gathered(self, x: Tensor, attend: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the sum of x and what its tokens gather."""
        if self.norm_order == "gpt2_ml":
            return x + attend(x)
        return self.add(x, attend, self.attention_norm)

    def thought(self, x: Tensor) -> Tensor:
        """Return the sum of x and what becomes of each token by itself."""
        if self.norm_order == "gpt2_ml":
            return self.add(
                x, lambda y: self.feed_forward(self.attention_norm(y)), self.feed_forward_norm
            )
        return self.add(x, self.feed_forward, self.feed_forward_norm)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        mask: Mask,
        rotate: Rotate | None = None,
        bias: Float[Tensor, "*b h n m"] | None = None,
        carried: Carried | None = None,
    ) -> Float[Tensor, "b n c"]:
        """Return the tokens after both branches (see `MultiHeadAttention` for the arguments)."""
        return self.thought(
            self.gathered(x, lambda y: self.attention(y, mask, rotate, bias, carried))
        )

    def decode(
        self,
        x: Float[Tensor, "b n c"],
        mask: Mask,
        rotate: Rotate | None = None,
        bias: Float[Tensor, "*b h n m"] | None = None,
        carried: Carried | None = None,
        state: Any = None,
    ) -> tuple[Float[Tensor, "b n c"], Any]:
        """Return n new tokens after both branches, and what the attention keeps of them."""

        def attend(y: Tensor) -> Tensor:
            nonlocal state
            y, state = self.attention.decode(y, mask, rotate, bias, carried, state)
            return y

        return self.thought(self.gathered(x, attend)), state
