"""What a component says of itself so that an impossible combination is refused at composition."""

from typing import ClassVar


class Component:
    """Base of all that a config group can choose; the declarations are literals in the class body.

    They are read from the source, without importing torch, when a config is composed. Two kinds of
    feature exist: what components provide by name, and the choices themselves (``"attention"`` is
    present when that group has any choice, ``"position=alibi"`` when that very option is chosen;
    ``"parent"`` when the run has one).

    Any feature may have a condition: ``"autoregressive if causal"`` counts when the constructor
    argument ``causal`` is true in the config, ``"labels if kind=classification"`` when ``kind`` has
    that value, and ``"plane if len(columns)=2"`` when ``columns`` has two entries.

    The feature ``"{source}"`` is the run that the argument ``source`` names: ``parent``, or one of
    the config's ``sources``.

    A component that is given another one may need something of it: ``"data.pairs"`` is present when
    the class of its own argument ``data`` provides ``pairs``.

    Attributes:
        provides: names of the features that this component brings.
        needs: feature -> why it is needed and what to choose, when no component provides it; of
            ``"text or patches"`` one is enough.
        refuses: feature -> why it cannot be combined and what to choose instead.
        refuses_trainer: of an optimizer: setting of the trainer -> why it must be null.
        paths: constructor argument that may name a local file or folder -> the files that are read
            in a folder, as names or globs. Their contents are part of the run's id. (Data sets have
            fingerprints instead.)
        longest: the argument that says how long a text it reads, ``"lengths"`` or
            ``"data.block_size"``; positions that end earlier are refused.
        neutral: whether to choose it changes nothing where its group plays no part. Other choices
            are refused there: an option whose YAML chooses null in a group takes nothing of it.
        texts_in_row: of a model: how often it has each text in one row, which positions must reach.
        asks: columns that batches have for those who ask: ``index``, which row of its split each
            row of the batch is.
    """

    provides: ClassVar[set[str]] = set()
    needs: ClassVar[dict[str, str]] = {}
    refuses: ClassVar[dict[str, str]] = {}
    refuses_trainer: ClassVar[dict[str, str]] = {}
    paths: ClassVar[dict[str, tuple[str, ...]]] = {}
    longest: ClassVar[str] = ""
    neutral: ClassVar[bool] = False
    texts_in_row: ClassVar[int] = 1
    asks: ClassVar[set[str]] = set()
