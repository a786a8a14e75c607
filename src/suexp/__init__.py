"""suexp: forty posts of the blog Scientific Spaces (kexue.fm) as runnable experiments.

What the command line does is there in Python, imported on first use so that ``import suexp`` stays
cheap; see `suexp.api`. Components stand in packages of their own: ``suexp.attention.Performer``.
"""

from suexp.lazy import deferred

__all__ = [
    *("Experiment", "Summary", "UserError", "build", "check", "compose", "options", "results"),
    *("run", "runs", "show", "write_report"),
]

_ELSEWHERE = {
    "Experiment": "experiment.outcome",
    "Summary": "store.summary",
    "UserError": "errors",
    "compose": "config.compose",
    "__version__": "_version",
}

__getattr__ = deferred(__name__, dict.fromkeys(__all__, "api") | _ELSEWHERE)
