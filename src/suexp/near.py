"""The near match of a misspelt word."""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

# What other programs call a key.
ALIASES = {
    "accumulate": "accumulate_grad_batches",
    "bs": "batch_size",
    "clip": "gradient_clip_val",
    "context_length": "block_size",
    "d_head": "head_dim",
    "d_model": "dim",
    "depth": "num_layers",
    "embed_dim": "dim",
    "gpus": "devices",
    "heads": "num_heads",
    "hidden_dim": "dim",
    "hidden_size": "dim",
    "layers": "num_layers",
    "learning_rate": "lr",
    "max_len": "max_length",
    "max_seq_len": "max_length",
    "n_embd": "dim",
    "n_head": "num_heads",
    "n_heads": "num_heads",
    "n_layer": "num_layers",
    "n_layers": "num_layers",
    "nb_features": "num_features",
    "output_dir": "out",
    "random_seed": "seed",
    "seq_len": "block_size",
    "sequence_length": "block_size",
    "steps": "max_steps",
    "wd": "weight_decay",
}


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known word most like this one; case, hyphens and underscores do not count."""
    best, best_score = None, cutoff
    plain = _plain(word)
    alias = _plain(ALIASES.get(word.lower(), word))
    for candidate in known:
        other = _plain(candidate)
        if other in (plain, alias):
            return candidate
        matcher = SequenceMatcher(None, plain, other)
        if matcher.real_quick_ratio() >= best_score and matcher.ratio() > best_score:
            best, best_score = candidate, matcher.ratio()
    return best


def hint(word: str, known: Sequence[str], prefix: str = "", suffix: str = "") -> str:
    """Return the near match as a clause, or what there is to choose from."""
    match = nearest(word, known)
    if match is not None:
        return f"did you mean {prefix}{match}{suffix}?"
    if not known:
        return "there is nothing to choose from"
    return f"choose from {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}"


def near(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Return `hint` as the end of a sentence."""
    return f"; {hint(word, list(known), prefix)}"


def _plain(word: str) -> str:
    return re.sub(r"[-_ ]", "", word).lower()
