"""A realistic results.json made of invented numbers, for the tests of figures and reports."""

import json
from pathlib import Path

import numpy as np

from suexp.judge.claims import judge

ARMS = {
    "adamw": ["optimizer=adamw", "optimizer.lr=3e-3"],
    "lion": ["optimizer=lion", "optimizer.lr=1e-3", "optimizer.weight_decay=0.03"],
    "lion_adamw_lr": ["optimizer=lion", "optimizer.lr=3e-3"],
    "signum": ["optimizer=signum", "optimizer.lr=1e-3"],
    "lion_wild": ["optimizer=lion", "optimizer.lr=0.1"],
}
EVIL = (
    "<script>ran()</script> | `x` $a$ ${b} *b* [c](javascript:ran()) & \"q\" 'r' ]]> --> "
    "\u202edrawkcab\n# line <img src=x onerror=ran()>"
)
EVIL_SVG = """<?xml version="1.0"?>
<!DOCTYPE svg [<!ENTITY e "ran()">]>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
  width="1pt" height="2pt" viewBox="0 0 100 50" onload="ran()">
  <!--><script>ran()</script>-->
  <script>&e;</script><style>@import "https://evil.example/a.css";</style>
  <?x ><script>ran()</script>?>
  <a href="javascript:ran()"><text>click</text></a>
  <foreignObject><meta http-equiv="refresh" content="0;url=https://evil.example"/></foreignObject>
  <image href="https://evil.example/a.png" width="9" height="9"/>
  <g id="a" onclick="ran()"><![CDATA[<script>ran()</script>]]>
    <path d="M0 0H100V50" style="stroke: #0072b2; clip-path: url(#c)"/>
    <use xlink:href="#a" x="1"/></g>
</svg>"""
FINAL = {"adamw": 1.623, "lion": 1.684, "lion_adamw_lr": 2.052, "signum": 1.71}
CLAIMS = {
    "C1": {
        "text": "Lion keeps one state tensor a parameter where AdamW keeps two",
        "test": "optimizer/state_bytes[lion] < 0.6 * optimizer/state_bytes[adamw]",
        "exact": True,
    },
    "C2": {
        "text": "Lion ends no worse than AdamW, each at its own best learning rate",
        "test": "val/loss[lion] <= val/loss[adamw] + 0.03",
    },
    "C3": {
        "text": "Lion wants a smaller learning rate than AdamW: AdamW's own is too large for it",
        "test": "val/loss[lion] < val/loss[lion_adamw_lr]",
    },
    "C6": {
        "text": "The two decays of Lion beat the single one of Signum",
        "test": "val/loss[lion] < val/loss[signum]",
    },
    "C7": {
        "text": "A learning rate of 0.1 destroys the model",
        "test": "val/loss[lion_wild] > 2 * val/loss[lion]",
    },
    "C8": {
        "text": "The error of random features falls as one over their number",
        "test": "slope(log mse ~ log m where kernel=positive)[adamw] == -1 +- 0.2",
    },
    "C9": {
        "text": "The gap closes at batch size 4096",
        "test": "val/loss[lion_b4096] < val/loss[adamw_b4096]",
        "scale": "paper",
    },
}
FIGURES = {
    "curves": {
        "kind": "line",
        "from": "history",
        "x": "step",
        "y": "val/loss",
        "by": "arm",
        "y_limits": [1.4, 3.4],
        "caption": "Validation loss while training: mean over seeds, band from worst to best seed.",
    },
    "two_us": {
        "kind": "line",
        "from": "tuning",
        "caption": "Loss against learning rate on the tuning seed: Lion's valley lies to the left.",
    },
    "final": {
        "kind": "bar",
        "from": "final",
        "y": "val/loss",
        "caption": "Final validation loss: mean, 95 % interval, and the seeds as dots.",
    },
    "theory": {
        "kind": "line",
        "from": "table",
        "table": "sector",
        "x": "angle",
        "y": "p",
        "by": "n",
        "arms": ["adamw"],
        "points": True,
        "theory": "law",
        "y_limits": [0, 1.2],
        "y_label": "probability",
        "caption": "n points in one sector: dots are simulated, dashed lines the law.",
    },
}


def example(failed: bool = True) -> dict:
    """Return the results of an invented experiment whose last arm failed (or was never there)."""
    rng = np.random.default_rng(0)
    arms = ARMS if failed else {arm: ARMS[arm] for arm in FINAL}
    luck = {seed: rng.normal(0, 0.02) for seed in (0, 1, 2)}
    runs = [run(arm, seed, luck[seed], rng) for arm in arms for seed in (0, 1, 2)]
    claims = {name: claim for name, claim in CLAIMS.items() if failed or name != "C7"}
    tuning = {
        "parameter": "optimizer.lr",
        "seed": 99,
        "metric": "val/loss",
        "mode": "min",
        "grid": {
            "adamw": grid({1e-3: 1.841, 3e-3: 1.623, 1e-2: 1.748}),
            "lion": grid({3e-4: 1.922, 1e-3: 1.684, 3e-3: 2.052}),
            "signum": grid({3e-4: 1.95, 1e-3: 1.71, 3e-3: None}),
        },
        "chosen": {"adamw": 3e-3, "lion": 1e-3, "signum": 1e-3},
    }
    return {
        "schema": 2,
        "experiment": "lion",
        "post": {
            "slug": "lion",
            "title": "Google's searched optimizer Lion",
            "title_zh": "Google新搜出的优化器Lion：效率与效果兼得的“训练狮”",
            "url": "https://kexue.fm/archives/9473",
            "date": "2023-02-16",
            "paper": "Chen et al., Symbolic Discovery of Optimization Algorithms, "
            "https://arxiv.org/abs/2302.06675",
            "claim": "An optimizer found by program search needs half of AdamW's state, "
            "is at least as good, and wants a learning rate several times smaller.",
            "limits": [
                "Who wins at this size depends on the grid of learning rates, which is published.",
                "A 2-layer byte model in 300 steps says little about models of billions.",
            ],
        },
        "scale": "laptop",
        "command": "suexp experiment=lion",
        "created": "2026-08-11T09:30:00Z",
        "commit": "0f3c9d2a7b1e4c5d6f708192a3b4c5d6e7f80910",
        "dirty": False,
        "versions": {"python": "3.11.7", "torch": "2.13.0", "suexp": "0.1.0"},
        "machine": {
            "cpu": "AMD EPYC 7B13",
            "cores": 2,
            "threads": 2,
            "memory_bytes": 8_200_000_000,
        },
        "arms": arms,
        "seeds": [0, 1, 2],
        "tuning": tuning,
        "runs": runs,
        "claims": judge(claims, runs, "laptop"),
        "figures": [],
    }


def run(arm: str, seed: int, luck: float, rng: np.random.Generator) -> dict:
    """Return one run of results.json."""
    failed = arm not in FINAL
    loss = FINAL.get(arm, 9.0) + luck + rng.normal(0, 0.012 if arm != "signum" else 0.05)
    momenta = 2 if arm == "adamw" else 1
    metrics = {
        "val/loss": loss,
        "val/bits_per_byte": loss / 0.6931,
        "train/loss": loss - 0.05,
        "optimizer/state_bytes": momenta * 4 * 274_000.0,
    }
    angles, sizes = (60, 120, 180, 210, 240, 270, 300), (2, 3, 4, 5, 8)
    sector = [
        {"n": n, "angle": a, "p": float(p + rng.normal(0, 0.004)), "law": float(p)}
        for n in sizes
        for a in angles
        for p in [min(1.3, n * (a / 360) ** (n - 1))]
    ]
    mse = [
        {"m": m, "kernel": kernel, "mse": float(m**power * rng.lognormal(0, 0.05))}
        for m in (16, 64, 256)
        for kernel, power in (("positive", -1.0), ("trig", -0.9))
    ]
    return {
        "id": f"{sum(map(ord, arm)):04x}{seed:04x}",
        "arm": arm,
        "seed": seed,
        "status": "failed" if failed else "finished",
        "error": "loss is NaN at step 12; last good checkpoint: step 10" if failed else None,
        "overrides": ARMS[arm],
        "metrics": {} if failed else metrics,
        "tables": {} if failed else {"sector": sector, "mse": mse},
        "cost": {
            "parameters": 274_000,
            "flops_per_step": 1_310_000_000,
            "wall_seconds": 2.2 if failed else 18.3 + rng.normal(0, 0.4),
            "peak_memory_bytes": 612_000_000,
            "steps": 12 if failed else 300,
        },
    }


def grid(values: dict[float, float | None]) -> list[dict]:
    """Return the tried values of one arm."""
    return [{"value": v, "metric": m, "run": f"{i:08x}"} for i, (v, m) in enumerate(values.items())]


def write_histories(results: dict, runs_dir: Path) -> None:
    """Write the metrics.jsonl that the runs would have left."""
    for item in results["runs"]:
        folder = runs_dir / item["id"]
        folder.mkdir(parents=True, exist_ok=True)
        final = item["metrics"].get("val/loss", 3.0)
        rng = np.random.default_rng(item["seed"])
        lines = [
            {"step": step, "val/loss": final + 4 * np.exp(-step / 70) + rng.normal(0, 0.02)}
            for step in range(0, item["cost"]["steps"] + 1, 10)
        ]
        stale = [{"step": 100, "val/loss": 1e6}]  # written again by a resumed run: the last counts
        text = "".join(json.dumps(line) + "\n" for line in stale + lines)
        (folder / "metrics.jsonl").write_text(text, encoding="utf-8")


def evil() -> dict:
    """Return results with markup, quotes and a direction mark in every text that is shown."""
    results = json.loads(json.dumps(example()).replace("lion_wild", "WILD"))
    post = dict.fromkeys(("title", "title_zh", "claim", "paper", "date"), EVIL)
    results["post"] = {**post, "url": "javascript:ran()", "limits": [EVIL]}
    for name in ("experiment", "command", "commit", "scale", "created"):
        results[name] = EVIL
    results["seeds"] = [EVIL]
    results["machine"] = dict.fromkeys(("cpu", "gpu", "cores", "threads"), EVIL)
    results["versions"] = {EVIL: EVIL}
    results["arms"] = {EVIL if a == "WILD" else a: [EVIL] for a in results["arms"]}
    for run in results["runs"]:
        run["id"] = run["seed"] = run["commit"] = EVIL
        run["arm"] = EVIL if run["arm"] == "WILD" else run["arm"]
        run["error"] = run["error"] and EVIL
        run["metrics"] |= {EVIL: 1.0} if run["metrics"] else {}
    results["runs"][-1]["status"] = EVIL
    for claim in results["claims"]:
        claim["text"] = claim["reason"] = EVIL
    results["claims"][0] |= {"id": EVIL, "test": EVIL}
    results["claims"][1] |= {"estimate": -7.72457e-3, "interval": [-7.72461e-3, -7.72454e-3]}
    results["claims"][-1]["verdict"] = EVIL
    results["tuning"] |= {"parameter": EVIL, "metric": EVIL, "seed": EVIL}
    results["tuning"]["grid"][EVIL] = [{"value": EVIL, "metric": 1.0, "run": EVIL}]
    results["figures"] = [
        {"name": EVIL, "file": "../../x.svg", "caption": EVIL},
        {"name": "evil", "file": "evil.svg", "caption": EVIL},
    ]
    return results
