"""Texts that pairs join, directly or through others."""

from collections.abc import Iterable


class Clusters:
    """Texts that are joined by pairs: two pairs that share a text belong to one cluster.

    Args:
        pairs: the texts of each.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._up: dict[str, str] = {}
        for a, b in pairs:
            first, second = sorted((self.name(a), self.name(b)))
            self._up[first] = self._up[second] = first

    def name(self, text: str) -> str:
        """Return the text of the cluster that sorts first; of an unknown text, itself."""
        root = text
        while (above := self._up.get(root, root)) != root:
            root = above
        while text != root:  # the next one who asks has a shorter way
            self._up[text], text = root, self._up[text]
        return root
