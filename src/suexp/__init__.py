"""suexp: forty posts of the blog Scientific Spaces (kexue.fm) as runnable experiments.

The notebook interface is three functions, imported on first use so that ``import suexp`` stays
cheap: `compose` (overrides -> config), `build` (config -> LightningModule) and `run`
(overrides -> summary of the finished run).
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["build", "compose", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from suexp import api

        return getattr(api, name)
    raise AttributeError(f"module 'suexp' has no attribute {name!r}")
