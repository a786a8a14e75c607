"""The wheel of a clean clone, installed elsewhere, carries configs and results, and runs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def call(*command: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_of_a_clean_clone_runs_from_elsewhere(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: there is nothing to clone")
    clone, site, away = (tmp_path / name for name in ("clone", "site", "away"))
    away.mkdir()
    call("git", "clone", "-q", "--depth", "1", ROOT.as_uri(), str(clone), cwd=tmp_path)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    call(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), ".", cwd=clone)
    (wheel,) = tmp_path.glob("suexp-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "suexp/conf/config.yaml" in names
    assert "suexp/conf/README.md" in names
    assert "suexp/experiments/lion/results.json" in names
    assert "suexp/cli/templates/attention/example.py.txt" in names
    assert "suexp/report/templates/report.html" in {n.removesuffix(".j2") for n in names}
    assert not [name for name in names if "outputs/" in name or name.endswith(".pyc")]

    call(*pip, "install", "--no-deps", "--target", str(site), str(wheel), cwd=away)
    env = {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    where = call(
        sys.executable,
        "-c",
        "import suexp.folders as f; print(f.conf_dir())",
        cwd=away,
        **env,
    )
    assert Path(where.strip()) == site / "suexp" / "conf"
    suexp = (sys.executable, "-c", "from suexp.cli import main; raise SystemExit(main())")
    assert "performer" in call(*suexp, "list", "attention", cwd=away, **env)
    small = ("scale=smoke", "model.dim=16", "data.tokenizer=bytes", "data.max_bytes=60000")
    out = call(*suexp, "attention=linear", "optimizer=lion", *small, cwd=away, **env)
    assert "val/bits_per_byte" in out
    assert len(list((away / "outputs" / "runs").iterdir())) == 1
