"""What a component says of itself so that an impossible combination is refused at composition."""

from typing import ClassVar


class Component:
    """Base of all that a config group can choose; the declarations are literals in the class body.

    They are read from the source, without importing torch, when a config is composed. Two kinds of
    feature exist: what components provide by name, and the choices themselves (``"attention"`` is
    present when that group has any choice, ``"position=alibi"`` when that very option is chosen;
    ``"parent"`` when the run has one).

    Any feature may have a condition: ``"autoregressive if causal"`` counts when the constructor
    argument ``causal`` is true in the config, and ``"labels if kind=classification"`` when ``kind``
    has that value.

    Attributes:
        provides: names of the features that this component brings.
        needs: feature -> why it is needed and what to choose, when no component provides it; of
            ``"text or patches"`` one is enough.
        refuses: feature -> why it cannot be combined and what to choose instead.
        reads: constructor argument that may name a local file or folder -> the files that are read
            in a folder, as names or globs. Their contents are part of the run's id. (Data sets have
            fingerprints instead.)
    """

    provides: ClassVar[set[str]] = set()
    needs: ClassVar[dict[str, str]] = {}
    refuses: ClassVar[dict[str, str]] = {}
    reads: ClassVar[dict[str, tuple[str, ...]]] = {}
