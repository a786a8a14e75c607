"""How long `suexp report` takes to write the site over 40 experiments.

The recorded results are copied under other names until there are as many; the time is that of the
whole process.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from suexp.config.catalogue import Catalogue
from suexp.folders import experiments_dir

SUEXP = str(Path(sys.executable).with_name("suexp"))
LIMIT = 10.0  # seconds


def fill(out: Path, experiments: int) -> None:
    """Copy recorded results until the site will have so many experiments."""
    recorded = sorted(experiments_dir().glob("*/results.json"))
    for i in range(experiments - len(Catalogue().groups["experiment"])):
        source, slug = recorded[i % len(recorded)].parent, f"copy_{i:02d}"
        shutil.copytree(source, out / slug / "laptop")
        results = json.loads((source / "results.json").read_text(encoding="utf-8"))
        (out / slug / "laptop" / "results.json").write_text(
            json.dumps(results | {"experiment": slug}), encoding="utf-8"
        )


def measure(experiments: int, repeats: int) -> dict[str, float]:
    """Write the site some times and return the best wall and processor times in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        fill(out, experiments)
        walls, cpus = [], []
        for _ in range(repeats):
            start, before = time.perf_counter(), os.times()
            command = [SUEXP, "report", "--out", folder]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = os.times()
            walls.append(time.perf_counter() - start)
            cpus.append(
                after.children_user
                + after.children_system
                - before.children_user
                - before.children_system
            )
        pages = [path.stat().st_size for path in (out / "site").iterdir()]
    return {"experiments": experiments, "wall": min(walls), "cpu": min(cpus), "bytes": sum(pages)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    row = measure(given.experiments, given.repeats)
    print(
        f"{given.experiments} experiments, {row['bytes'] / 1e6:.1f} MB: {row['wall']:.1f} s "
        f"({row['cpu']:.1f} s of the processor's), {row['wall'] / given.experiments:.2f} s each; "
        f"limit {LIMIT:.0f} s"
    )
    if given.json:
        given.json.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    return int(row["wall"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
