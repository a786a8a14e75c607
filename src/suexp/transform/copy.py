"""The parent's weights as they are."""

from torch import nn

from suexp.transform.base import Transform, copy_exactly


class Copy(Transform):
    r"""$\theta_{child} = \theta_{parent}$: continue from the same architecture.

    Shapes: each tensor of the parent's state has its namesake of equal shape in the child's, and
    the other way round; types and devices may differ.

    Reference: Howard & Ruder, Universal Language Model Fine-tuning for Text Classification,
    arXiv:1801.06146.

    Raises:
        ValueError: names or shapes differ; one line names the first of them.
    """

    def apply(self, parent: nn.Module, child: nn.Module) -> None:
        """Copy all parameters and buffers."""
        copy_exactly("copy", parent.state_dict(), child, frozenset())
