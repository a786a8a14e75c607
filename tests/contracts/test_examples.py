"""The example in the docstring of each attention, optimizer and loss runs as it says."""

import doctest

import pytest

from suexp.code.source import read, sections
from suexp.config.catalogue import Catalogue

GROUPS = ("attention", "optimizer", "loss")
TARGETS = sorted({str(o.target) for group in GROUPS for o in Catalogue().options(group)})


@pytest.mark.parametrize("target", TARGETS)
def test_the_example_holds(target: str) -> None:
    source = read(target)
    assert source is not None
    example = sections(source.doc).get("Example", "")
    test = doctest.DocTestParser().get_doctest(example, {}, target, str(source.module.path), 0)
    assert len(test.examples) >= 3, f"{target}: its docstring has no Example"
    assert any(part.want for part in test.examples)
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert result.failed == 0, "".join(said)
