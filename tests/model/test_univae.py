"""Known answers of https://kexue.fm/archives/8475."""

import io
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from suexp.attention import Realformer, Softmax
from suexp.config.compose import resolve
from suexp.decoding import Beam, Greedy
from suexp.decoding.base import Decoding
from suexp.errors import UserError
from suexp.init import Default
from suexp.mask import Causal
from suexp.model import Transformer, UniVAE
from suexp.nn.vmf import kl_to_uniform
from suexp.norm import Layer
from suexp.position import Alibi, Learned, Rope, Sinusoidal
from suexp.position.base import Position

N, V, DIM = 7, 13, 16
LATENTS = ["vmf", "gaussian", "vq", "deterministic"]


def build(latent: str = "vmf", position: Position | None = None, **changes: Any) -> UniVAE:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"dim": DIM, "num_layers": 3, "num_heads": 2, "num_latent_layers": 2}
    sizes |= {"latent_dim": 5, "kappa": 20.0, "codebook_size": 9, "bias": True} | changes
    model = UniVAE(V, Softmax(), position or Rope(8), Layer(DIM), Default(), latent=latent, **sizes)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def text(rows: int = 3, seed: int = 1) -> Tensor:
    """Texts that begin with token 0."""
    drawn = torch.randint(1, V, (rows, N), generator=torch.Generator().manual_seed(seed))
    drawn[:, 0] = 0
    return drawn


def twice(x: Tensor) -> Tensor:
    return torch.cat((x, x), 1)


def target(logits: Tensor) -> Tensor:
    return logits[:, N:]


def close(found: Tensor, expected: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("latent", LATENTS)
def test_given_the_codes_the_target_does_not_depend_on_the_source(latent: str) -> None:
    model, x = build(latent), text()
    codes = model.encode(x)
    other = torch.cat((text(seed=2), x), 1)
    close(target(model(other, codes=codes)), target(model(twice(x), codes=codes)), 1e-6)
    assert (target(model(other)) - target(model(twice(x)))).abs().max() > 1e-3


@pytest.mark.parametrize("latent", LATENTS)
def test_codes_do_not_depend_on_the_target(latent: str) -> None:
    model, x = build(latent), text()
    found = model.read(torch.cat((x, text(seed=2)), 1)).codes
    close(found, model.read(twice(x)).codes, 1e-6)
    close(found, model.encode(x), 1e-6)


def test_targets_see_their_past_only() -> None:
    model, x = build(), text()
    changed = twice(x)
    changed[:, N + 4] = 1 + (changed[:, N + 4] % (V - 1))
    before, after = target(model(twice(x))), target(model(changed))
    close(after[:, :4], before[:, :4], 1e-6)
    assert (after[:, 4:] - before[:, 4:]).abs().max() > 0.01


def test_without_codes_it_is_a_causal_language_model() -> None:
    model, x = build("none", num_latent_layers=0), text()
    plain = Transformer(
        V,
        Softmax(),
        Rope(8),
        Layer(DIM),
        Causal(),
        Default(),
        dim=DIM,
        num_heads=2,
        num_layers=3,
        num_segments=2,
        bias=True,
    ).eval()
    plain.load_state_dict(model.state_dict())
    expected = plain(x, segments=torch.ones_like(x))
    close(target(model(twice(x))), expected)
    assert model.encode(x).shape == (3, 0, 5)


def test_the_code_of_the_first_layer_says_nothing() -> None:
    model = build("deterministic", num_latent_layers=3)
    codes = model.encode(text())
    close(codes[1:, 0], codes[:2, 0], 1e-6)
    assert (codes[1:, 1] - codes[:2, 1]).abs().max() > 0.01


def test_all_that_reaches_the_target_are_the_codes() -> None:
    """By gradient: the source's embeddings matter to the target, but not once codes are given."""
    model, x = build("deterministic"), text(1)
    embedded: list[Tensor] = []
    model.embedding.register_forward_hook(lambda *args: embedded.append(args[2]))
    (free,) = torch.autograd.grad(target(model(twice(x))).square().sum(), embedded)
    assert (free[:, :N].abs().sum(-1) > 0).all()
    embedded.clear()
    codes = model.encode(x).detach()
    embedded.clear()
    (bound,) = torch.autograd.grad(target(model(twice(x), codes=codes)).square().sum(), embedded)
    assert bound[:, :N].count_nonzero() == 0


POSITIONS = [
    lambda: Rope(8),
    lambda: Learned(2 * N, DIM),
    lambda: Sinusoidal(DIM),
    lambda: Alibi(2),
]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("mask_padding", [True, False])
def test_decoding_equals_reading(position: Any, mask_padding: bool) -> None:
    """Of the source itself, and of its codes with padding in its place; texts of unequal length."""
    model, x = build("vmf", position(), mask_padding=mask_padding), text()
    keep = torch.arange(N) < torch.tensor([[N], [5], [3]])
    x = x.where(keep, V - 1)
    both = torch.cat((keep, keep), 1)
    expected = target(model(twice(x), both))[keep]
    codes = model.encode(x, keep)
    close(target(model(twice(x), both, codes=codes))[keep], expected)
    empty = torch.full_like(x, V - 1)
    empty[:, 0] = 0
    first = torch.zeros_like(keep)
    first[:, 0] = True
    for source, real, given in ((x, keep, None), (empty, first, codes)):
        prompt, state, found = torch.cat((source, x[:, :1]), 1), None, []
        known = torch.cat((real, keep[:, :1]), 1)
        segments = (torch.arange(N + 1) >= N).long().expand_as(prompt)
        for step in range(N):
            if step == 0:
                logits, state = model.decode(prompt, None, known, segments, codes=given)
            else:
                logits, state = model.decode(x[:, step : step + 1], state)
            found.append(logits[:, -1])
        close(torch.stack(found, 1)[keep], expected)


def test_padding_changes_nothing() -> None:
    model, x = build(), text()
    keep = torch.arange(N) < torch.tensor([[N], [5], [3]])
    both = torch.cat((keep, keep), 1)
    a, b = (x.where(keep, fill) for fill in (V - 1, V - 2))
    close(model(twice(a), both)[both], model(twice(b), both)[both])
    seen = build(mask_padding=False)
    assert (seen(twice(a), both)[both] - seen(twice(b), both)[both]).abs().max() > 0.01


@pytest.mark.parametrize("decoding", [Greedy(), Beam(num_beams=3)])
def test_what_is_written_is_the_most_probable(decoding: Decoding) -> None:
    model, codes = build(), build().encode(text())
    prompt = torch.tensor([[0] + (N - 1) * [V - 1] + [0]]).expand(3, -1)
    places = torch.arange(N + 1).expand(3, -1)
    new = decoding(
        model,
        prompt,
        4,
        keep=(places == 0) | (places >= N),
        segments=(places >= N).long(),
        new_segment=1,
        codes=codes,
    )
    # The same without a cache: the source of the row is never read.
    row = torch.cat((torch.zeros_like(prompt[:, :1]), new.tokens), 1)
    full = F.pad(row, (0, N - row.shape[1]), value=V - 1)
    logits = target(model(torch.cat((prompt[:, :N], full), 1), codes=codes))[:, :4]
    score = logits.log_softmax(-1).gather(2, new.tokens[..., None])[..., 0].sum(1)
    close(new.score, score, 1e-4)
    if isinstance(decoding, Greedy):
        assert torch.equal(new.tokens, logits.argmax(-1))


def test_codes_are_drawn_in_training_and_means_otherwise() -> None:
    model, x = build("vmf"), text()
    assert torch.equal(model.encode(x), model.encode(x))
    drawn = model.encode(x, sample=True)
    assert not torch.allclose(drawn, model.encode(x))
    close(drawn.norm(dim=-1), torch.ones(3, 2), 1e-6)
    model.train()
    assert not torch.allclose(model(twice(x)), model(twice(x)))
    close(model.read(twice(x), sample=False).codes, model.encode(x))


def test_divergences() -> None:
    x = text()
    vmf = build("vmf").read(twice(x))
    close(vmf.kl, torch.full((3, 2), kl_to_uniform(5, 20.0)))
    assert not vmf.kl.requires_grad
    vq = build("vq").read(twice(x))
    close(vq.kl, torch.full((3, 2), math.log(9)))
    assert (vq.penalty > 0).all()
    assert build("deterministic").read(twice(x)).kl.isnan().all()
    model = build("gaussian")
    reading = model.read(twice(x))
    said: list[Tensor] = []
    for part in model.bottlenecks:
        part.down.register_forward_hook(lambda *args: said.append(args[2]))
    model.read(twice(x))
    for layer, s in enumerate(said):
        mean, log_var = s.chunk(2, -1)
        expected = (mean**2 + log_var.exp() - log_var - 1).sum(-1) / 2
        close(reading.kl[:, layer], expected)
    assert build("none", num_latent_layers=0).read(twice(x)).kl.shape == (3, 0)


def test_a_codebook_gives_its_nearest_entries() -> None:
    model, x = build("vq"), text()
    for layer, code in enumerate(model.encode(x).unbind(1)):
        entries = model.bottlenecks[layer].latent.entries.weight
        assert torch.cdist(code, entries).amin(1).max() < 1e-3


@pytest.mark.parametrize("latent", LATENTS)
def test_codes_of_no_text(latent: str) -> None:
    model = build(latent)
    drawn = model.prior(500, torch.Generator().manual_seed(0))
    assert drawn.shape == (500, 2, 5)
    assert torch.equal(drawn, model.prior(500, torch.Generator().manual_seed(0)))
    if latent in ("vmf", "deterministic"):
        close(drawn.norm(dim=-1), torch.ones(500, 2), 1e-6)
    if latent == "gaussian":
        assert drawn.std().item() == pytest.approx(1, abs=0.05)
    assert drawn.mean((0,)).abs().max() < (0.3 if latent != "vq" else 1)


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float64])
def test_trains_with_finite_gradients(latent: str, precision: torch.dtype) -> None:
    model = build(latent).train()
    if precision == torch.float64:
        model = model.double()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        reading = model.read(twice(text()))
        assert reading.codes.dtype == (
            torch.float64 if latent != "vq" else reading.codes.dtype
        ) or (precision != torch.float64)
        loss = F.cross_entropy(target(reading.logits).flatten(0, 1).float(), text().flatten())
        loss = loss + reading.penalty.mean() + reading.kl.nan_to_num().mean()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_sixteen_bit_weights() -> None:
    model = build("vmf").bfloat16()
    reading = model.read(twice(text()))
    assert reading.logits.dtype == torch.bfloat16
    assert reading.codes.dtype == torch.float32


@pytest.mark.parametrize("latent", LATENTS)
def test_state_dict_round_trip(latent: str) -> None:
    model, other, file = build(latent), build(latent), io.BytesIO()
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(twice(text())), model(twice(text())))
    assert not any("quantiles" in name for name in model.state_dict())


REFUSED = [
    ({"latent": "none"}, "latent=none has no codes: set num_latent_layers=0"),
    ({"num_latent_layers": 0}, "num_latent_layers=0 must be from 1 to num_layers=3"),
    ({"num_latent_layers": 4}, "num_latent_layers=4 must be from 1 to num_layers=3"),
    ({"latent_dim": 2}, "latent=vmf needs latent_dim of at least 3, not 2"),
    ({"kappa": 0.0}, "kappa must be above 0, not 0"),
    ({"latent": "vq", "codebook_size": 0}, "codebook_size must be at least 1"),
]


@pytest.mark.parametrize(("changes", "line"), REFUSED)
def test_refusals(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        build(**changes)


def test_what_a_call_refuses() -> None:
    model = build()
    with pytest.raises(ValueError, match="univae expects the sentence twice at one length, not 13"):
        model(twice(text())[:, :-1])
    with pytest.raises(ValueError, match="decodes after a source: give segments"):
        model.decode(text())
    with pytest.raises(ValueError, match="14"):
        build("vmf", Learned(N, DIM))(twice(text()))


def test_scores_must_not_pass_by_the_codes() -> None:
    with pytest.raises(ValueError, match="Realformer carries scores past the codes"):
        UniVAE(V, Realformer(), Rope(8), Layer(DIM), Default(), dim=DIM, num_heads=2)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["attention=linear"], "attention=linear cannot be combined with model=univae: "),
        (["attention=realformer"], "model=univae cannot be combined with attention=realformer"),
        (["task=causal_lm", "data=pydoc"], "model=univae needs twice: it reads a text twice"),
        (["mask=prefix"], "model=univae"),
    ],
)
def test_what_a_config_refuses(overrides: list[str], line: str) -> None:
    from suexp.config.compose import resolve

    with pytest.raises(UserError) as raised:
        resolve(["task=autoencode_text", "model=univae", *overrides])
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)


def test_positions_reach_to_the_end_of_the_second_text() -> None:
    univae = ["task=autoencode_text", "position=learned", "data.block_size=16"]
    with pytest.raises(UserError, match=r"reads 2 times in a row.*set position\.max_length=32"):
        resolve([*univae, "position.max_length=31"])
    assert resolve([*univae, "position.max_length=32"]).config["position"]["max_length"] == 32
