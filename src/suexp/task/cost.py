"""What a Transformer layer costs as the text grows, counted and measured (archives/8610)."""

import dataclasses
import functools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from suexp.attention.base import Attention
from suexp.costs import Layer, crossover, formulas_of, speed_bound, vocabulary_flops
from suexp.errors import UserError, at_least, some
from suexp.mask.causal import Causal
from suexp.task._bench import Bench, OutOfMemoryError, PassThrough, crossing
from suexp.task._child import Child, DiedError
from suexp.task.estimation import EstimationTask

PARTS = ("layer", "attention", "core", "ffn")
FACTS = ("flops", "saved_bytes", "peak_bytes")


class Cost(EstimationTask):
    r"""Operations, seconds and bytes of one layer, $12 n H^2 + 2 n^2 H$ multiply-adds of a text.

    Several attentions (cores) take their turn in the same layer, and so does ``none``, which passes
    the values through: the bound of any faster attention. A batch of the counter is one round over
    all lengths and cores, so that a drifting load hits all alike, and the shortest time of all
    rounds counts. On a CPU the layers work in a process of their own, started with an allocator
    that does not map large blocks anew, and the processor's time counts (see
    `suexp.task.attention_cost`).

    Metrics: ``seconds_{core}_n{n}`` and ``saved_{core}_n{n}`` of the layer;
    ``attention_crossover_{core}``, the length from which attention with its projections takes
    longer than the feed-forward layer, measured, and ``core_crossover_{core}``, that from which the
    core takes longer than the layer without it, both of cores that grow faster than the rest;
    ``cheaper_{core}_than_{other}``, the length from which one that does not is faster than one that
    does. The same with ``predicted_`` in front, of the counts: 2 H, 6 H and d for softmax and
    linear attention. ``bound_n{n}``, $1 + n/(6H)$; ``head_share``, the output layer's part of a
    model's operations at the first length; ``flops_error``, the largest relative difference of
    formula and counter.
    Tables: ``cost``, seconds of all parts, with the median of the rounds; ``layer``, bytes and
    tokens per second; ``parts``, the counts; ``ratio`` and ``bound``, counted and measured. A core
    that does not fit is left out from that length on (``oom`` in the table).

    Post: https://kexue.fm/archives/8610.

    Args:
        model: the Transformer to take the layer from; the runner gives it.
        cores: what is compared, by name; null leaves one out.
        lengths: the lengths n.
        batch_size: texts at once.
        mode: forward, or forward_backward.
        measure: false: count only.
        count: also count the operations while they run, to compare with the formula.
        memory: also measure bytes: those that wait for the backward pass, and the peak of a pass.
        rounds: how many rounds there will be.
        warmup: passes before those that are timed.
        least_seconds: what the passes of one measurement take together at least.
        vocab_size: of the model whose output layer is counted.
        num_layers: of that model.
        seed: of the weights.

    Raises:
        ValueError: a size below 1, or lengths beyond the positions.
        UserError: an attention without formulas.
    """

    # The layer reads vectors, not the model's text.
    provides: ClassVar[set[str]] = {"text"}
    needs: ClassVar[dict[str, str]] = {
        "counter": "it makes its own texts and only counts rounds; use data=counter",
        "model=transformer": "it takes a layer of it; use model=transformer",
    }
    refuses: ClassVar[dict[str, str]] = {
        "score_bias": "the linear attentions that it compares take none; use position=none",
        "pattern": "the linear attentions that it compares cannot leave keys out; "
        "use mask=bidirectional or mask=causal",
        "transform": "nothing is trained, it has no weights to transform; leave that choice out",
    }

    def __init__(
        self,
        model: functools.partial[Any],
        cores: Mapping[str, Attention | None],
        lengths: Sequence[int] = (64, 128, 256, 512, 1024, 2048, 4096),
        batch_size: int = 1,
        mode: Literal["forward", "forward_backward"] = "forward",
        measure: bool = True,
        count: bool = True,
        memory: bool = True,
        rounds: int = 10,
        warmup: int = 2,
        least_seconds: float = 0.005,
        vocab_size: int = 21128,
        num_layers: int = 12,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        some(lengths=lengths)
        at_least(1, lengths=lengths, batch_size=batch_size, rounds=rounds, vocab_size=vocab_size)
        at_least(1, num_layers=num_layers)
        at_least(0, warmup=warmup, least_seconds=least_seconds)
        if mode not in ("forward", "forward_backward"):
            raise ValueError(f"mode must be forward or forward_backward, not {mode}")
        self.lengths, self.rounds = sorted(set(lengths)), rounds
        self.cores: dict[str, Attention] = {"none": PassThrough()}
        self.cores |= {name: core for name, core in cores.items() if core is not None}
        self._names = list(self.cores)
        self.measure, self.count, self.memory = measure, count, memory
        self.vocab_size, self.num_layers = vocab_size, num_layers
        self._make = functools.partial(
            Bench,
            model=model,
            cores=self.cores,
            batch_size=batch_size,
            backward=mode == "forward_backward",
            warmup=warmup,
            least=least_seconds,
        )
        self.mode, self.batch_size = mode, batch_size
        given = model.keywords
        given["position"].check_length(self.lengths[-1])
        self._layers = {name: _layer(given, core) for name, core in self.cores.items()}
        self._bench: Bench | Child | None = None
        cells = (len(self._names), len(self.lengths))
        self.add_total("seconds", *cells, len(PARTS), self.rounds, join="max")
        self.add_total("facts", *cells, len(FACTS), join="max")
        self.add_total("oom", *cells, join="max")

    @torch.inference_mode(False)  # which Trainer.test is in, and where nothing has a gradient
    def draw(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """Time every core at every length once; how many rows the batch has plays no part."""
        del count, generator
        out = {
            name: torch.full_like(total, -math.inf)
            for name, total in self.totals.items()
            if name != "draws"
        }
        first = self.batches_done == 0
        if not self.measure:
            if first and self.count:
                # Shapes without numbers: a layer of any size takes neither time nor memory.
                with torch.random.fork_rng(), torch.device("meta"):
                    bench = self._make(device=torch.device("cpu"), autocast=None)
                for network in bench.models.values():
                    network.to_empty(device="cpu")
                with FakeTensorMode(allow_non_fake_inputs=True):
                    counts = [(i, j, bench.flops(name, n)) for i, j, name, n in self._cells()]
                for i, j, value in counts:
                    out["facts"][i, j, 0] = value
            return out
        failed = self.totals["oom"].amax(1)
        row = min(self.batches_done, self.rounds - 1)
        for i, j, name, n in self._cells():
            if failed[i] > 0:
                out["oom"][i, j] = 1
                continue
            try:
                for part, seconds in self._ask("seconds", name, n).items():
                    out["seconds"][i, j, PARTS.index(part), row] = seconds
                for place, fact in enumerate(FACTS if first else ()):
                    if self.count if fact == "flops" else self.memory:
                        out["facts"][i, j, place] = self._ask(fact, name, n)
            except (OutOfMemoryError, DiedError):
                out["oom"][i, j] = failed[i] = 1
        return out

    def on_test_end(self) -> None:
        """End the process that measured."""
        if isinstance(self._bench, Child):
            self._bench.close()
        self._bench = None

    def _cells(self) -> Iterator[tuple[int, int, str, int]]:
        for j, n in enumerate(self.lengths):
            for i, name in enumerate(self._names):
                yield i, j, name, n

    def _ask(self, method: str, *arguments: Any) -> Any:
        if self._bench is None:
            kind = self.device.type
            mixed = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
            with torch.random.fork_rng():
                torch.manual_seed(self.seed)
                bench = self._make(device=self.device, autocast=mixed)
            self._bench = Child(bench) if kind == "cpu" else bench
        if not isinstance(self._bench, Child):
            return getattr(self._bench, method)(*arguments)
        try:
            return self._bench.call(method, *arguments)
        except DiedError:
            self._bench.close()
            self._bench = None
            raise

    def summarise(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Return counts, times, bytes and crossovers; record a row for each cell."""
        metrics = self._counts(totals["facts"][..., 0])
        if not self.measure:
            return metrics
        seconds = torch.where(totals["seconds"] > 0, totals["seconds"], math.inf)
        best = seconds.amin(-1)
        for i, j, name, n in self._cells():
            rows = {"core": name, "n": n, "mode": self.mode}
            if totals["oom"][i, j] > 0:
                self.record_rows("cost", [{**rows, "part": "layer", "oom": True}])
                continue
            for p, part in enumerate(PARTS):
                times = [s for s in seconds[i, j, p].tolist() if math.isfinite(s)]
                if times:
                    spread = {"seconds": min(times), "seconds_median": statistics.median(times)}
                    self.record_rows("cost", [{**rows, "part": part, "oom": False, **spread}])
            metrics[f"seconds_{name}_n{n}"] = best[i, j, 0].item()
            if self.memory:
                saved, peak = totals["facts"][i, j, 1:].tolist()
                metrics[f"saved_{name}_n{n}"] = saved
                texts = self.batch_size * n
                byte_row = {"saved_bytes": saved, "peak_bytes": peak}
                byte_row["tokens_per_second"] = texts / best[i, j, 0].item()
                self.record_rows("layer", [{**rows, **byte_row}])
        return metrics | self._crossings(best)

    def _crossings(self, best: Tensor) -> dict[str, float]:
        """Return the measured crossovers; the bound is the first core."""
        found = {}
        ffn, rest = best[:, :, 3].amin(0), best[0, :, 0]
        quadratic = self._quadratic()
        for i, name in enumerate(self._names[1:], start=1):
            if name in quadratic:
                gain = (best[i, :, 0] / rest).tolist()
                self.record_rows(
                    "bound",
                    [
                        {"core": name, "which": f"measured, {name}", "n": n, "gain": g}
                        for n, g in zip(self.lengths, gain, strict=True)
                        if math.isfinite(g)
                    ],
                )
            for k, other in enumerate(self._names):
                if name not in quadratic and other in quadratic:
                    ratio = best[k, :, 2] / best[i, :, 2]
                    found[f"cheaper_{name}_than_{other}"] = crossing(self.lengths, ratio.tolist())
            for kind, ratio in (
                ("attention", best[i, :, 1] / ffn),
                ("core", best[i, :, 2] / rest),
            ):
                if name in quadratic:
                    found[f"{kind}_crossover_{name}"] = crossing(self.lengths, ratio.tolist())
                rows = zip(self.lengths, ratio.tolist(), strict=True)
                self.record_rows(
                    "ratio",
                    [
                        {"core": name, "of": kind, "which": "measured", "n": n, "ratio": r}
                        for n, r in rows
                        if math.isfinite(r)
                    ],
                )
        return found

    def _counts(self, counted: Tensor) -> dict[str, float]:
        """Return what follows from the formulas alone, and how far they are from the counter."""
        metrics: dict[str, float] = {}
        error = 0.0
        for i, j, name, n in self._cells():
            layer = self._layers[name]
            parts = layer.flops(n)
            total = sum(parts.values())
            row = {"core": name, "n": n}
            self.record_rows("parts", [{**row, "part": p, "flops": f} for p, f in parts.items()])
            attention, rest = parts["projections"] + parts["core"], total - parts["core"]
            pairs = (("attention", attention / parts["ffn"]), ("core", parts["core"] / rest))
            self.record_rows(
                "ratio",
                [{**row, "of": kind, "which": "counted", "ratio": value} for kind, value in pairs],
            )
            seen = counted[i, j].item()
            if seen > 0 and not (
                layer.causal and getattr(self.cores[name], "kernel", "") == "sdpa"
            ):
                error = max(error, abs(self.batch_size * total / seen - 1))
        metrics |= self._predicted()
        softmax = dataclasses.replace(self._layers["none"], attention=None)
        for n in self.lengths:
            bound = metrics[f"bound_n{n}"] = speed_bound(softmax, n)
            self.record_rows(
                "bound", [{"core": "softmax", "which": "counted", "n": n, "gain": bound}]
            )
        first = self.lengths[0]
        body = self.num_layers * sum(softmax.flops(first).values())
        head = vocabulary_flops(first, softmax.dim, self.vocab_size)
        metrics["head_share"] = head / (head + body)
        if self.count:
            metrics["flops_error"] = error
        return metrics

    def _quadratic(self) -> list[str]:
        """Return the cores that overtake the rest of their layer in the end."""
        return [name for name in self._names if math.isfinite(_core_crossover(self._layers[name]))]

    def _predicted(self) -> dict[str, float]:
        """Return the crossovers of the counts."""
        found, quadratic = {}, self._quadratic()
        for name in quadratic:
            layer = self._layers[name]
            found[f"predicted_attention_crossover_{name}"] = _attention_crossover(layer)
            found[f"predicted_core_crossover_{name}"] = _core_crossover(layer)
        for name in self._names[1:]:
            for other in quadratic if name not in quadratic else ():
                own, its = self._layers[name], self._layers[other]
                found[f"predicted_cheaper_{name}_than_{other}"] = _where(
                    functools.partial(_products, its), functools.partial(_products, own)
                )
        return found


def _attention_crossover(layer: Layer) -> float:
    def attention(n: int) -> int:
        parts = layer.flops(n)
        return parts["projections"] + parts["core"]

    return _where(attention, lambda n: layer.flops(n)["ffn"])


def _core_crossover(layer: Layer) -> float:
    def rest(n: int) -> int:
        parts = layer.flops(n)
        return parts["projections"] + parts["ffn"]

    return _where(lambda n: layer.flops(n)["core"], rest)


def _layer(given: Mapping[str, Any], core: Attention) -> Layer:
    """Return the sizes of a model's layer, from what it will be built with."""
    return Layer(
        dim=given["dim"],
        num_heads=given["num_heads"],
        head_dim=given.get("head_dim"),
        key_dim=given.get("key_dim"),
        ffn_multiplier=given["ffn_multiplier"],
        gated=given["ffn"] == "swiglu",
        attention=formulas_of(core),
        causal=given["mask"].is_only(Causal),
    )


def _products(layer: Layer, n: int) -> int:
    """Return a core's operations as the post counts them, without normaliser and feature map."""
    terms = layer.core.flops(layer.sizes(n))
    return sum(value for term, value in terms.items() if term not in ("normaliser", "features"))


def _where(a: Callable[[int], float], b: Callable[[int], float]) -> float:
    """Return the crossover, infinite where there is none."""
    try:
        return crossover(a, b)
    except UserError:
        return math.inf
