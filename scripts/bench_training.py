"""Steady training speed: suexp against a bare loop, and its model against nanoGPT-shaped code.

Both ratios come from one run, the contestants taking turns; medians of --repeats.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suexp.code.instantiate import instantiate
from suexp.config.compose import resolve
from suexp.job.batches import Loading
from suexp.job.build import build
from suexp.job.run import execute
from suexp.store.folder import Run
from suexp.store.spec import RunSpec


class Block(nn.Module):
    """A pre-norm block as minimal GPT code writes it."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.c_attn, self.c_proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc, self.proj = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        b, n, c = x.shape
        q, k, v = self.c_attn(self.ln_1(x)).split(c, dim=2)
        q, k, v = (t.view(b, n, self.heads, c // self.heads).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(b, n, c))
        return x + self.proj(F.gelu(self.fc(self.ln_2(x))))


class PlainGPT(nn.Module):
    """Learned positions, tied head."""

    def __init__(self, vocab: int, length: int, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, dim), nn.Embedding(length, dim)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits."""
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return F.linear(self.ln_f(x), self.wte.weight)


def bare_loop(config: dict[str, Any], steps: int, model: nn.Module | None = None) -> float:
    """Return steps per second of the loop that a careful person writes by hand."""
    data = instantiate(config["data"])
    task = build(config, data)
    loader = iter(Loading(data, 0).train_dataloader())
    if model is None:
        model, objective = task.model, task.objective
    else:

        def objective(batch: dict[str, Tensor]) -> Tensor:
            tokens = batch["tokens"]
            return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    began = 0.0
    for step in range(steps + 10):
        if step == 10:
            began = time.perf_counter()
        loss = objective(next(loader))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return steps / (time.perf_counter() - began)


def ours(config: dict[str, Any], steps: int) -> float:
    """Return steps per second of a run, from its own record, after the first lines."""
    trainer = {**config["trainer"], "max_steps": steps + 10}
    spec = RunSpec.of({**config, "rerun": True, "trainer": trainer})
    summary = execute(spec, lambda _: None)
    assert summary.status == "finished", summary.error
    lines = [line for line in Run(spec).history() if "train/elements_per_second" in line]
    elements = config["data"]["batch_size"] * (config["data"]["block_size"] + 1)
    per_second = [line["train/elements_per_second"] / elements for line in lines[1:]]
    return len(per_second) / sum(1 / speed for speed in per_second)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as out:
        # One line of the record a hundred steps, no validation inside: steady training only.
        quiet = ["trainer.val_check_interval=100000", "trainer.limit_val_batches=1"]
        shape = ["position=learned", "data.tokenizer=bytes", "task.sample_tokens=0"]
        config = resolve([f"out={out}", f"threads={arguments.threads}", *quiet, *shape]).config
        sizes, data = config["model"], config["data"]
        vocab = instantiate(data).sizes["vocab_size"]
        speeds: dict[str, list[float]] = {"suexp": [], "bare loop": [], "nanoGPT-shaped": []}
        for _ in range(arguments.repeats):
            plain = PlainGPT(
                vocab, data["block_size"], sizes["dim"], sizes["num_layers"], sizes["num_heads"]
            )
            speeds["suexp"].append(ours(config, arguments.steps))
            speeds["bare loop"].append(bare_loop(config, arguments.steps))
            speeds["nanoGPT-shaped"].append(bare_loop(config, arguments.steps, plain))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    pairs = {
        "suexp / bare loop": zip(speeds["suexp"], speeds["bare loop"], strict=True),
        "our model / nanoGPT-shaped": zip(
            speeds["bare loop"], speeds["nanoGPT-shaped"], strict=True
        ),
    }
    ratios = {name: statistics.median(a / b for a, b in values) for name, values in pairs.items()}
    for name, value in medians.items():
        print(f"{name:28} {value:8.2f} steps/s")
    for name, value in ratios.items():
        print(f"{name:28} {value:8.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"steps_per_second": medians, "ratios": ratios}))


if __name__ == "__main__":
    main()
