"""Start anew beside a parent."""

from torch import nn

from suexp.transform.base import Transform


class Fresh(Transform):
    r"""$\theta_{child} = \theta_{drawn}$: nothing of the parent is copied.

    The parent is there for a method that looks at it: a student with weights of its own learns from
    a teacher (``method=distill``, Hinton et al., arXiv:1503.02531), or a successor takes the place
    of a predecessor that it does not resemble (``method=theseus``,
    https://kexue.fm/archives/7575).
    """

    keeps = False
    needs = {
        "parent": "it only says that nothing is copied from a parent; leave it out, or name one, "
        "parent=['seed=1'] say"
    }

    def apply(self, parent: nn.Module, child: nn.Module) -> None:
        """Change nothing."""
