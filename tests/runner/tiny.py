"""The smallest real run: two seconds, all parts."""

from pathlib import Path

TINY = (
    "data.tokenizer=bytes",
    "data.max_bytes=60000",
    "data.block_size=16",
    "data.batch_size=4",
    "model.dim=16",
    "model.num_heads=2",
    "model.dropout=0.1",
    "task.sample_tokens=0",
    "trainer=cpu",
    "trainer.max_steps=20",
    "trainer.val_check_interval=10",
    "trainer.limit_val_batches=2",
    "trainer.log_every_n_steps=5",
    "trainer.enable_progress_bar=false",
    "threads=1",
)


def tiny(out: Path, *overrides: str) -> list[str]:
    return [*TINY, f"out={out}", *overrides]
