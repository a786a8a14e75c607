"""suexp: forty posts of the blog Scientific Spaces (kexue.fm) as runnable experiments.

What the command line does is there in Python, imported on first use so that ``import suexp`` stays
cheap; see `suexp.api`. Components stand in packages of their own: ``suexp.attention.Performer``.
"""

from suexp.lazy import deferred

__getattr__, __dir__ = deferred(__name__)
