"""What an option needs beside it to make a run: what `suexp` advises."""

import functools

from suexp.config.compose import resolve
from suexp.config.remedy import fitting
from suexp.errors import Misfit
from suexp.folders import conf_dir

OPTIONS = [
    f"{path.parent.relative_to(conf_dir())}={path.stem}"
    for path in sorted(conf_dir().glob("*/*.yaml"))
    if path.parent.name != "experiment"
]
EXTRACTOR = '["task=sentence_extraction","data=docstring_extract","model=dgcnn_tagger"]'
# What only a user can say, or takes more than is advised at once.
GIVEN = {
    "callback=places": ("callbacks.places.split_at=8",),
    "callback=teacher_cosines": (
        *("method=similarity_distill", "task=similar_sentence"),
        'sources={teacher:["callback=none"]}',
    ),
    "data=extracted": (
        "task=seq2seq",
        f"sources={{fold_0:{EXTRACTOR},fold_1:{EXTRACTOR}}}",
    ),
    "mask=permutation": ("task=masked_lm", "mask.order=[1,0,2]"),
}


@functools.cache
def with_companions(choice: str) -> tuple[str, ...]:
    """Return the option, and the fewest choices with which it fits together."""
    said = [choice, *GIVEN.get(choice, ())]
    try:
        resolve(said)
    except Misfit as misfit:
        found = fitting(misfit, said, seconds=60)
        assert found is not None, f"{misfit}: there is no advice"  # noqa: PT017
        return tuple(found)
    return tuple(said)
