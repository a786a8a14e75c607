"""What the runner costs beside the training: the first step of a run, and each run of a sweep.

Whole processes, medians of --repeats, the contestants taking turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
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


def sweep_overhead(jobs: int, folder: str, runs: int) -> float:
    """Return seconds a run beyond its training, the first run left out."""
    command = [
        str(Path(sys.executable).parent / "suexp"),
        "-m",
        "scale=smoke",
        "seed=" + ",".join(str(seed) for seed in range(runs)),
        "data.tokenizer=bytes",
        "data.max_bytes=100000",
        "model.dim=32",
        "task.sample_tokens=0",
        "trainer.enable_progress_bar=false",
        f"hydra.launcher.jobs={jobs}",
        f"out=out-{jobs}-{time.time()}",
    ]
    began = time.time()
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    many = time.time() - began
    one = [item.replace(command[3], "seed=0") for item in command[:-1]]
    began = time.time()
    subprocess.run(
        [*one, f"out=one-{jobs}-{time.time()}"], cwd=folder, capture_output=True, check=True
    )
    return (many - (time.time() - began)) / (runs - 1)


SWEEP = (
    "scale=smoke",
    "data.tokenizer=bytes",
    "data.max_bytes=100000",
    "model.dim=32",
    "task.sample_tokens=0",
    "trainer.enable_progress_bar=false",
)


def of_sweeps(folder: str, found: int) -> tuple[float, float]:
    """Return seconds to find finished runs again, and how much faster two workers train than one.

    The first is a whole command whose runs are all finished; the second's are some seconds of
    training on one thread each.
    """
    from suexp.runner.sweep import plan

    place, program = Path(folder), str(Path(sys.executable).parent / "suexp")
    lookup = [*SWEEP, f"out={place / 'found'}", "seed=" + ",".join(map(str, range(found)))]
    for planned in plan(lookup)[0].runs():
        planned.run.folder.mkdir(parents=True, exist_ok=True)
        planned.run.start()
        planned.run.finish({"status": "finished", "error": None, "metrics": {"val/loss": 1.0}})

    def seconds(*overrides: str) -> float:
        began = time.time()
        subprocess.run([program, "-m", *overrides], cwd=folder, capture_output=True, check=True)
        return time.time() - began

    again = seconds(*lookup)
    train = [*SWEEP, "seed=0,1,2,3,4,5,6,7", "threads=1", "trainer.max_steps=400"]
    one, two = (
        seconds(*train, f"hydra.launcher.jobs={jobs}", f"out={place / f'{jobs}-{time.time()}'}")
        for jobs in (0, 2)
    )
    return again, one / two


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    from suexp.runner.compose import resolve
    from suexp.runner.instantiate import instantiate

    config = resolve([]).config
    data, model = config["data"], config["model"]
    vocab = instantiate(data).sizes["vocab_size"]
    sizes = [vocab, model["dim"], model["num_layers"], model["num_heads"]]
    sizes += [data["batch_size"], data["block_size"]]
    os.environ["OMP_NUM_THREADS"] = "1"
    results: dict[str, list[float]] = {"bare": [], "suexp": [], "in process": [], "fork server": []}
    results |= {"found again": [], "two workers": []}
    with tempfile.TemporaryDirectory() as folder:
        suexp = [
            str(Path(sys.executable).parent / "suexp"),
            "threads=1",
            "scale=smoke",
            "task.sample_tokens=0",
        ]
        for repeat in range(arguments.repeats):
            bare = [sys.executable, "-W", "ignore", "-c", BARE_SCRIPT, *map(str, sizes)]
            results["bare"].append(first_step(bare, folder))
            results["suexp"].append(first_step([*suexp, f"seed={repeat}"], folder))
            results["in process"].append(sweep_overhead(0, folder, arguments.runs))
            results["fork server"].append(sweep_overhead(1, folder, arguments.runs))
            for name, value in zip(
                ("found again", "two workers"), of_sweeps(folder, 200), strict=True
            ):
                results[name].append(value)
    medians = {name: statistics.median(values) for name, values in results.items()}
    ratio = statistics.median(a / b for a, b in zip(results["suexp"], results["bare"], strict=True))
    bare, ours = medians["bare"], medians["suexp"]
    print(f"to the first step: bare {bare:.2f} s, suexp {ours:.2f} s, ratio {ratio:.2f}")
    print("a sweep's overhead a run, its training of 3 steps included:")
    for name in ("in process", "fork server"):
        print(f"    {name}: {medians[name]:.2f} s")
    print(f"200 finished runs found again in {medians['found again']:.2f} s")
    print(f"two workers: {medians['two workers']:.2f} times as fast as one")
    if arguments.json:
        arguments.json.write_text(json.dumps({"medians": medians, "ratio": ratio}))


if __name__ == "__main__":
    main()
