"""suexp: forty posts of the blog Scientific Spaces (kexue.fm) as runnable experiments.

The notebook interface is three functions, imported on first use so that ``import suexp`` stays
cheap: `compose` (overrides -> config), `build` (config -> LightningModule) and `run`
(overrides -> summary of the finished run).
"""

from suexp.lazy import deferred

__all__ = ["build", "compose", "run"]

__getattr__ = deferred(__name__, {**dict.fromkeys(__all__, "api"), "__version__": "_version"})
