"""What every attention keeps (see `suexp.attention.base.Attention`)."""

import copy
from typing import Any

import torch
from torch import Tensor

from suexp.attention.base import Attention
from suexp.contract.check import check, vital
from suexp.contract.subject import (
    Subject,
    equal,
    expect,
    finite,
    of_class,
    same,
    through_a_file,
)
from suexp.mask import Bidirectional, Causal, ExcludeSelf, Padding, Prefix, Window
from suexp.mask.base import Mask

BASE = "suexp.attention.base.Attention"
PATTERNS = [Prefix(3), Window(3), ExcludeSelf(), Window(3, causal=False)]
WHOLE = [Causal(), Bidirectional()]
ODD = 71  # more than a chunk of every option, and no multiple of any
VALUE = 5  # entries of a value
LINE = "apply the mask, mask.dense(n, m)"


class Drawn:
    """Inputs in the sizes of the subject's run; without one, 3 heads of 8."""

    def __init__(self, subject: Subject) -> None:
        self.heads = subject.size("model.num_heads", 3)
        self.dim = subject.size("model.key_dim", 8)

    def tensor(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return a normal tensor that takes a gradient."""
        return torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_()

    def qkv(
        self, n: int, m: int | None = None, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of two texts."""
        m = n if m is None else m

        def drawn(*end: int) -> Tensor:
            return self.tensor(2, self.heads, *end, dtype=dtype)

        return drawn(n, self.dim), drawn(m, self.dim), drawn(m, VALUE)


def keep_some(m: int) -> Tensor:
    """Return which keys are real: padding on the left, on the right, and in between."""
    keep = torch.rand(2, m) > 0.3
    keep[0, : m // 3] = False
    keep[1, -(m // 3) :] = False
    keep[:, m // 2] = True
    return keep


def _evaluated(subject: Subject) -> Attention:
    attention: Attention = subject.build()
    return attention.eval()


def _name(mask: Mask) -> str:
    return type(mask).__name__.lower()


@vital
def derives_from_attention(subject: Subject) -> None:
    """Its class is one."""
    of_class(subject, Attention)


@vital
def gives_a_value_for_each_query(subject: Subject) -> None:
    """Head-split tensors come out."""
    drawn = Drawn(subject)
    for mask in WHOLE:
        out = _evaluated(subject)(*drawn.qkv(9), mask)
        wanted = (2, drawn.heads, 9, VALUE)
        expect(
            isinstance(out, Tensor) and out.shape == wanted,
            f"q and k of head_dim {drawn.dim}, v of {VALUE}: the output must be {wanted}, (b, h, "
            f"n, e), not {tuple(getattr(out, 'shape', ()))}",
        )


@vital
def is_causal_by_gradient(subject: Subject) -> None:
    """Under a causal mask no token depends on a later one."""
    inputs = Drawn(subject).qkv(40)
    out = _evaluated(subject)(*inputs, Causal())
    for i in (0, 1, 17, 31, 32, 39):
        gradients = torch.autograd.grad(
            out[:, :, i].sum(), inputs, retain_graph=True, allow_unused=True
        )
        for name, x, grad in zip("qkv", inputs, gradients, strict=True):
            expect(grad is not None, f"the output does not depend on {name}")
            assert grad is not None
            expect(grad.shape == x.shape, f"the gradient of {name} has another shape")
            later = grad[:, :, i + 1 :].abs().amax((0, 1, 3))
            if later.any():
                j = i + 1 + int(later.nonzero()[0])
                expect(False, f"under mask=causal token {i} depends on {name} of token {j}; {LINE}")


@vital
def padding_changes_nothing(subject: Subject) -> None:
    """What stands at padded places, on either side, does not matter."""
    drawn = Drawn(subject)
    attention = _evaluated(subject).double()  # in float32 sums of other lengths round otherwise
    for mask in WHOLE:
        for left in (False, True):
            q, k, v = drawn.qkv(11, dtype=torch.float64)
            expected = attention(q, k, v, mask)
            keep, nothing = torch.ones(2, 11).bool(), torch.zeros(2, 40).bool()
            garbage = 10 * drawn.tensor(2, drawn.heads, 40, drawn.dim, dtype=torch.float64)
            values = 10 * drawn.tensor(2, drawn.heads, 40, VALUE, dtype=torch.float64)

            def beside(x: Tensor, more: Tensor, left: bool = left) -> Tensor:
                return torch.cat([more, x] if left else [x, more], -2)

            padded = beside(q, garbage), beside(k, garbage), beside(v, values)
            keep = torch.cat([nothing, keep] if left else [keep, nothing], 1)
            out = attention(*padded, mask & Padding(keep))
            real = out[:, :, 40:] if left else out[:, :, :11]
            where = f"40 padded keys on the {'left' if left else 'right'}, mask={_name(mask)}"
            same(real, expected, f"{where} change the output; {LINE}", rtol=0.0, atol=1e-6)


@vital
def rows_that_see_nothing_are_zero(subject: Subject) -> None:
    """A query that may look at nothing gets zeros, and leaves no NaN in a gradient."""
    for mask in WHOLE:
        inputs = Drawn(subject).qkv(40)
        keep = torch.ones(2, 40).bool()
        keep[0] = False
        keep[1, :5] = False
        out = _evaluated(subject)(*inputs, mask & Padding(keep))
        blind = 5 if mask.find(Causal) else 0
        nothing = torch.cat([out[0].flatten(), out[1, :, :blind].flatten()])
        expect(
            (nothing == 0).all(),
            f"a query that may look at no key gets {'nan' if nothing.isnan().any() else 'values'} "
            "where it must get zeros",
        )
        expect((out[1, :, blind:] != 0).any(-1).all(), "a query that may look at keys gets zeros")
        for grad in torch.autograd.grad(out.square().sum() + out.sum(), inputs):
            finite([grad], "beside a query that may look at no key")
            expect((grad[0] == 0).all(), "a text without a key has a gradient")


@vital
def other_masks_are_obeyed_or_refused_as_declared(subject: Subject) -> None:
    """Prefixes, windows, and all keys but one's own."""
    refuses = subject.kind.refuses
    for mask in PATTERNS:
        inputs = Drawn(subject).qkv(20, dtype=torch.float64)
        attention = _evaluated(subject).double()
        if "key_subsets" in refuses and not mask.is_only(ExcludeSelf):
            try:
                attention(*inputs, mask)
            except ValueError as error:
                said = "cannot use this mask: " in str(error) and "; use mask=causal" in str(error)
                expect(said, f"the refusal must say 'cannot use this mask: ...', not '{error}'")
                continue
            expect(False, f"it declares key_subsets in refuses, but takes mask={_name(mask)}")
        table = mask.dense(20, 20)
        assert table is not None
        table = table.expand(20, 20)
        out = attention(*inputs, mask)
        for i in range(20):
            (grad,) = torch.autograd.grad(out[:, :, i].sum(), inputs[2], retain_graph=True)
            seen = grad.abs().amax((0, 1, 3)) > 0
            wrong = (seen & ~table[i]).nonzero().flatten().tolist()
            expect(
                not wrong,
                f"under mask={_name(mask)} token {i} looks at token {wrong[:1]}; {LINE}, or "
                'declare refuses = {"key_subsets": "... use mask=causal"}',
            )


@vital
def a_bias_counts_or_is_refused_as_declared(subject: Subject) -> None:
    """What a position adds to the scores."""
    drawn = Drawn(subject)
    inputs, attention = drawn.qkv(20), _evaluated(subject)
    bias = torch.zeros(drawn.heads, 20, 20, requires_grad=True)
    if "score_bias" in subject.kind.refuses:
        try:
            attention(*inputs, Causal(), bias)
        except ValueError as error:
            said = "takes no bias: " in str(error) and "; use position=rope" in str(error)
            expect(said, f"the refusal must say 'takes no bias: ...; use ...', not '{error}'")
            return
        expect(False, "it declares score_bias in refuses, but takes a bias")
    expected, out = attention(*inputs, Causal()), attention(*inputs, Causal(), bias)
    same(out, expected, "a bias of zeros changes the output")
    (grad,) = torch.autograd.grad(out.square().sum(), bias, allow_unused=True)
    expect(
        grad is not None and grad.any(),
        "the bias changes nothing; add it to the scores, or declare "
        'refuses = {"score_bias": "... use position=rope"}',
    )


@vital
def decoding_equals_the_whole_text(subject: Subject) -> None:
    """Token by token from a state, as from the whole text at once."""
    attention = _evaluated(subject)
    for padded in (False, True):
        q, k, v = Drawn(subject).qkv(40)
        keep = keep_some(40)
        with torch.no_grad():
            whole = attention(q, k, v, Causal() & Padding(keep) if padded else Causal())
            state, parts = None, []
            for start, end in ((0, 34), (34, 36), *((i, i + 1) for i in range(36, 40))):
                mask = Causal() & Padding(keep[:, :end]) if padded else Causal()
                new = slice(start, end)
                part, state = attention.decode(
                    q[:, :, new], k[:, :, new], v[:, :, new], mask, None, state
                )
                parts.append(part)
        what = "decode, token by token, differs from forward"
        same(torch.cat(parts, 2), whole, what, rtol=1e-5, atol=1e-5)


def _is_finite(subject: Subject, dtype: torch.dtype) -> None:
    for mask in WHOLE:
        attention = subject.build().train()
        inputs = Drawn(subject).qkv(ODD, dtype=dtype)
        out = attention.to(dtype)(*inputs, mask)
        expect(out.dtype == dtype, f"inputs of {dtype} give {out.dtype}")
        out.float().square().sum().backward()
        finite((out, *(x.grad for x in inputs)), f"{dtype}, mask={_name(mask)}")


@vital
def is_finite_forward_and_backward_in_float32(subject: Subject) -> None:
    """Values and gradients, and the type that came in."""
    _is_finite(subject, torch.float32)


@check
def is_finite_forward_and_backward_in_bfloat16(subject: Subject) -> None:
    """Values and gradients, and the type that came in."""
    _is_finite(subject, torch.bfloat16)


@vital
def state_dict_round_trip(subject: Subject) -> None:
    """What is saved makes another one compute the same."""
    one, other = _evaluated(subject), _evaluated(subject)
    other.load_state_dict(through_a_file(one.state_dict()))
    inputs = Drawn(subject).qkv(ODD)
    what = "one built anew and given the other's state_dict computes something else"
    equal(one(*inputs, Causal()), other(*inputs, Causal()), what)


@check
def autocast_keeps_close_to_float32(subject: Subject) -> None:
    """As trainer.precision=bf16-mixed does."""
    inputs, attention = Drawn(subject).qkv(ODD), _evaluated(subject)
    expected = attention(*inputs, Causal())
    with torch.autocast("cpu", torch.bfloat16):
        out = attention(*inputs, Causal())
    off = (out - expected).abs().max().item()
    expect(off < 0.05, f"off by {off:.2g} under autocast to bfloat16; 0.05 is allowed")
    out.float().sum().backward()  # type: ignore[no-untyped-call]


@check
def copies_compute_the_same(subject: Subject) -> None:
    """As an average of weights takes them."""
    inputs, attention = Drawn(subject).qkv(ODD), _evaluated(subject)
    twin = copy.deepcopy(attention)
    what = "a deep copy computes something else"
    equal(attention(*inputs, Causal()), twin(*inputs, Causal()), what)


@check
def without_gradients_it_computes_the_same(subject: Subject) -> None:
    """Under no_grad and inference_mode, and training goes on after them."""
    inputs, attention = Drawn(subject).qkv(ODD), _evaluated(subject)
    for mask in WHOLE:
        expected = attention(*inputs, mask)
        with torch.no_grad():
            equal(attention(*inputs, mask), expected, "under no_grad it computes something else")
        with torch.inference_mode():
            equal(attention(*inputs, mask), expected, "under inference_mode something else")
        trained = attention(*inputs, mask).sum()  # nothing made above hinders training
        trained.backward()  # type: ignore[no-untyped-call]


@check
def the_shells_memory_order_changes_nothing(subject: Subject) -> None:
    """Heads come as views of (b, n, h, d)."""
    drawn, attention = Drawn(subject), _evaluated(subject)
    q, k, v = (x.detach().transpose(1, 2).contiguous().transpose(1, 2) for x in drawn.qkv(ODD))
    out = attention(q, k, v, Causal())
    wanted = attention(q.contiguous(), k.contiguous(), v.contiguous(), Causal())
    same(out, wanted, "strided heads compute something else")
    shape = out.transpose(1, 2).flatten(2).shape
    expect(shape == (2, ODD, VALUE * drawn.heads), "the output's heads cannot be joined")


@check
def takes_empty_sizes(subject: Subject) -> None:
    """No text, no query, no key: the last batch of a process, say."""
    drawn = Drawn(subject)
    for b, n, m in ((0, 7, 7), (0, 40, 40), (0, 7, 9), (2, 0, 7), (2, 7, 0), (2, 0, 0)):
        padding = Padding(torch.ones(b, m).bool())
        for mask in (*WHOLE, Causal() & padding, Bidirectional() & padding):
            ends = ((n, drawn.dim), (m, drawn.dim), (m, VALUE))
            inputs = [drawn.tensor(b, drawn.heads, *end) for end in ends]
            out = subject.build()(*inputs, mask)
            what = f"{b} texts, {n} queries, {m} keys"
            expect(out.shape == (b, drawn.heads, n, VALUE), f"{what}: the output's shape")
            expect((out == 0).all(), f"{what}: the output must be zeros")
            out.sum().backward()
            gradients = [x.grad for x in inputs if x.grad is not None]
            expect(all((x == 0).all() for x in gradients), f"{what}: the gradients must be zeros")


@check
def explicit_weights_are_those_of_the_values(subject: Subject) -> None:
    """What callback=attention_stats measures, where there is something explicit to measure."""
    attention: Any = _evaluated(subject).double()
    if not hasattr(attention, "weights"):
        return  # it forms none
    for mask in WHOLE:
        q, k, v = Drawn(subject).qkv(9, dtype=torch.float64)
        mask = mask & Padding(keep_some(9))
        weights = attention.weights(q, k, mask)
        what = "weights(q, k, mask) @ v differs from forward"
        same(weights @ v, attention(q, k, v, mask), what, rtol=1e-10, atol=1e-12)
        expect(attention.scores(q, k, mask).shape == weights.shape, "scores and weights: shapes")
