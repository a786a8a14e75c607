"""What the runner costs beside the training: first step of a run, each run of a sweep, wandb.

Whole processes, medians of --repeats, the contestants taking turns; with and without wandb, side by
side on a core each.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# What a person writes by hand: torch and lightning imported, the same model, one step.
BARE_SCRIPT = """
import sys, time
import torch, pytorch_lightning as pl
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.set_num_threads(1)
class Model(pl.LightningModule):
    def __init__(self, vocab, dim, layers, heads):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        layer = nn.TransformerEncoderLayer(
            dim, heads, 4 * dim, 0.0, 'gelu', batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
    def training_step(self, batch, index):
        tokens = batch[0]
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1] - 1)
        h = self.body(self.embed(tokens[:, :-1]), mask=mask, is_causal=True)
        logits = h @ self.embed.weight.T
        return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    def on_train_batch_end(self, *_):
        print('first step', time.time(), flush=True)
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)
vocab, dim, layers, heads, batch, length = map(int, sys.argv[1:])
data = TensorDataset(torch.randint(0, vocab, (batch, length + 1)))
trainer = pl.Trainer(accelerator='cpu', max_steps=1, logger=False, enable_checkpointing=False,
                     enable_progress_bar=False, enable_model_summary=False)
trainer.fit(Model(vocab, dim, layers, heads), DataLoader(data, batch_size=batch))
"""


def first_step(command: list[str], folder: str) -> float:
    """Return the seconds from starting a command to the end of its first step."""
    began = time.time()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    if done.stdout.startswith("first step"):
        return float(done.stdout.split()[-1]) - began
    summaries = (Path(folder) / "outputs" / "runs").glob("*/summary.json")
    newest = max(summaries, key=lambda path: path.stat().st_mtime)
    return json.loads(newest.read_text(encoding="utf-8"))["first_step_at"] - began


SWEEP = (
    "scale=smoke",
    "data.tokenizer=bytes",
    "data.max_bytes=100000",
    "model.dim=32",
    "task.sample_tokens=0",
    "trainer.enable_progress_bar=false",
)


def sweep_seconds(folder: str, *overrides: str) -> float:
    """Return the seconds of a whole command."""
    program = str(Path(sys.executable).parent / "suexp")
    began = time.time()
    subprocess.run([program, "-m", *overrides], cwd=folder, capture_output=True, check=True)
    return time.time() - began


def sweep_overhead(jobs: int, folder: str, runs: int) -> float:
    """Return seconds a run beyond its training, the first run left out."""
    many, one = (
        sweep_seconds(
            folder,
            *SWEEP,
            f"seed={','.join(map(str, range(count)))}",
            f"hydra.launcher.jobs={jobs}",
            f"out={count}-{jobs}-{time.time()}",
        )
        for count in (runs, 1)
    )
    return (many - one) / (runs - 1)


def pair_seconds(
    folder: str, seed: int, loggers: Sequence[str], cores: Sequence[int]
) -> list[float]:
    """Return the seconds of whole runs of 1,000 steps made side by side, a logger and core each.

    Side by side, for a machine drifts by more than what is measured; a logger's own processes stay
    on its run's core.
    """
    began = time.time()
    running = [
        subprocess.Popen(
            [
                str(Path(sys.executable).parent / "suexp"),
                f"logger={logger}",
                f"out=out-{logger}-{began}",
                f"seed={seed}",
                "trainer.max_steps=1000",
                "trainer.enable_progress_bar=false",
                "threads=1",
            ],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=functools.partial(os.sched_setaffinity, 0, {core}),
        )
        for logger, core in zip(loggers, cores, strict=True)
    ]

    def ended(process: subprocess.Popen[bytes]) -> float:
        if process.wait():
            raise SystemExit(f"a run ended with exit code {process.returncode}")
        return time.time() - began

    with ThreadPoolExecutor() as pool:
        return list(pool.map(ended, running))


def compare_start(folder: str, repeats: int) -> dict[str, float]:
    """Print and return the time to the first step, beside a script by hand."""
    from suexp.code.instantiate import instantiate
    from suexp.config.compose import resolve

    config = resolve([]).config
    data, model = config["data"], config["model"]
    vocab = instantiate(data).sizes["vocab_size"]
    sizes = [vocab, model["dim"], model["num_layers"], model["num_heads"]]
    sizes += [data["batch_size"], data["block_size"]]
    suexp = [
        str(Path(sys.executable).parent / "suexp"),
        "threads=1",
        "scale=smoke",
        "task.sample_tokens=0",
    ]
    script = [sys.executable, "-W", "ignore", "-c", BARE_SCRIPT, *map(str, sizes)]
    bare, ours = [], []
    for repeat in range(repeats):
        bare.append(first_step(script, folder))
        ours.append(first_step([*suexp, f"seed={repeat}"], folder))
    ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    found = {"bare": statistics.median(bare), "suexp": statistics.median(ours), "ratio": ratio}
    print(
        f"to the first step: bare {found['bare']:.2f} s, suexp {found['suexp']:.2f} s, "
        f"ratio {ratio:.2f}"
    )
    return found


def compare_sweep(folder: str, repeats: int, runs: int) -> dict[str, float]:
    """Print and return what a run of a sweep costs, in process and from the fork server."""
    results: dict[str, list[float]] = {"in process": [], "fork server": []}
    for _ in range(repeats):
        results["in process"].append(sweep_overhead(0, folder, runs))
        results["fork server"].append(sweep_overhead(1, folder, runs))
    print("a sweep's overhead a run, its training of 3 steps included:")
    medians = {name: statistics.median(values) for name, values in results.items()}
    for name, seconds in medians.items():
        print(f"    {name}: {seconds:.2f} s")
    return medians


def compare_found(folder: str, repeats: int, runs: int = 200) -> dict[str, float]:
    """Print and return the time of a command whose runs are all finished, beside one with one."""
    from suexp.experiment.plan import plan
    from suexp.store.summary import Status, Summary

    one = [*SWEEP, f"out={Path(folder) / 'found'}", "seed=0"]
    lookup = [*one[:-1], "seed=" + ",".join(map(str, range(runs)))]
    for planned in plan(lookup)[0].runs():
        planned.run.folder.mkdir(parents=True, exist_ok=True)
        run = planned.run
        run.start(threads=1)
        run.finish(Summary(run.folder, run.id, Status.FINISHED, metrics={"val/loss": 1.0}))
    times = [(sweep_seconds(folder, *one), sweep_seconds(folder, *lookup)) for _ in range(repeats)]
    start, seconds = map(statistics.median, zip(*times, strict=True))
    print(
        f"{runs} finished runs found again in {seconds:.2f} s, a single one in {start:.2f} s; "
        f"beyond the start {seconds - start:.2f} s (target 2)"
    )
    return {"seconds": seconds, "start": start}


def compare_workers(folder: str, repeats: int) -> dict[str, float]:
    """Print and return how much faster two workers train 32 runs of some seconds than one."""
    train = [*SWEEP, "threads=1", "trainer.max_steps=100"]
    times: dict[tuple[int, int], list[float]] = {}
    for _ in range(repeats):
        for count in (2, 32):
            for workers in (0, 2):
                seconds = sweep_seconds(
                    folder,
                    *train,
                    "seed=" + ",".join(map(str, range(count))),
                    f"hydra.launcher.jobs={workers}",
                    f"out={workers}-{count}-{time.time()}",
                )
                times.setdefault((workers, count), []).append(seconds)
    few, many = ([statistics.median(times[workers, n]) for workers in (0, 2)] for n in (2, 32))
    ratio, rest = many[0] / many[1], (many[0] - few[0]) / (many[1] - few[1])
    print(
        f"32 runs: one worker {many[0]:.1f} s, two {many[1]:.1f} s, {ratio:.2f} times as fast "
        f"(target 1.7); beyond the start and the first two runs {rest:.2f} times"
    )
    return {"ratio": ratio, "beyond": rest, "one": many[0], "two": many[1]}


def compare_wandb(folder: str, repeats: int) -> dict[str, float]:
    """Print and return the time of a run with logger=wandb, offline, beside one with none.

    Each repeat makes both twice, on either core.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("wandb's share is measured on two cores")
    pairs = []
    for repeat in range(repeats):
        pairs.append(pair_seconds(folder, repeat, ("none", "wandb"), cores))
        pairs.append(pair_seconds(folder, repeat, ("wandb", "none"), cores)[::-1])
    none, wandb = map(statistics.mean, zip(*pairs, strict=True))
    each = ", ".join(f"{a:.1f} / {b:.1f}" for a, b in pairs)
    print(
        f"1,000 steps, logger=none / wandb, side by side: {each} s, "
        f"ratio {wandb / none:.3f} (target 1.03)"
    )
    return {"none": none, "wandb": wandb, "ratio": wandb / none}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runs", type=int, default=8)
    parts: dict[str, Callable[[str], dict[str, float]]] = {
        "start": lambda folder: compare_start(folder, given.repeats),
        "sweep": lambda folder: compare_sweep(folder, given.repeats, given.runs),
        "found": lambda folder: compare_found(folder, given.repeats),
        "workers": lambda folder: compare_workers(folder, given.repeats),
        "wandb": lambda folder: compare_wandb(folder, given.repeats),
    }
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        found = {name: parts[name](folder) for name in given.only}
    if given.json:
        given.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
