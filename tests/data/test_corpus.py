import email.message
import inspect
import platform
import re
from pathlib import Path

import pytest

from suexp.data import corpus
from suexp.data.document import LONG_PARAGRAPH
from suexp.errors import UserError


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A standard library of our own, with fresh caches before and after."""
    functions = (corpus.sources, corpus.key, corpus.documentation, corpus.documented)
    for function in functions:
        function.cache_clear()
    monkeypatch.setattr(corpus, "library", lambda: tmp_path)
    yield tmp_path
    for function in functions:
        function.cache_clear()


def test_reads_without_importing(library: Path) -> None:
    (library / "mail").mkdir()
    (library / "mail" / "box.py").write_text(
        '"""A mailbox."""\n'
        "raise SystemExit\n"
        "def outer():\n"
        '    """Do the outer thing."""\n'
        "    class Inner:\n"
        '        """Be inside."""\n'
        "async def last():\n"
        '    """Come\n\n      last, indented."""\n'
    )
    (library / "broken.py").write_text("def :")
    (library / "lone.py").write_text('"""A lone surrogate: \\ud800"""')
    for name in ("test", "tkinter", "site-packages", "mail/tests"):
        (library / name).mkdir()
        (library / name / "module.py").write_text('"""Left out."""')
    (library / "_sysconfigdata__linux.py").write_text('"""Left out."""')
    assert list(corpus.sources()) == ["broken.py", "lone.py", "mail/box.py"]
    assert corpus.docstrings() == [
        ("lone.py", "A lone surrogate: ?"),
        ("mail/box.py", "A mailbox."),
        ("mail/box.py", "Do the outer thing."),
        ("mail/box.py", "Be inside."),
        ("mail/box.py", "Come\n\nlast, indented."),
    ]
    assert [name for _, name, _ in corpus.documented()] == ["", "", "outer", "outer.Inner", "last"]
    assert corpus.documentation()["mail/box.py"].startswith("A mailbox.\n\nDo the outer thing.")
    assert dict(corpus.code())["broken.py"] == "def :"


def test_topics_are_read_as_literals(library: Path) -> None:
    (library / "pydoc_data").mkdir()
    (library / "pydoc_data" / "topics.py").write_text(
        "# made by a machine\ntopics = {'b': 'second\\n' 'line', 'a': 'first'}\n"
    )
    (library / "module.py").write_text("")
    assert corpus.documentation() == {"topics/a": "first", "topics/b": "second\nline"}


def test_key_follows_version_names_and_sizes(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key() -> str:
        corpus.sources.cache_clear()
        corpus.key.cache_clear()
        return corpus.key()

    (library / "a.py").write_text("1")
    keys = [key()]
    assert key() == keys[0]
    (library / "a.py").write_text("12")
    keys.append(key())
    (library / "a.py").rename(library / "b.py")
    keys.append(key())
    monkeypatch.setattr(platform, "python_version", lambda: "9.9.9")
    keys.append(key())
    assert len(set(keys)) == 4


def test_no_source_is_one_line(library: Path) -> None:
    with pytest.raises(UserError, match=r"no source files of its standard library in .*data=files"):
        corpus.sources()


@pytest.mark.slow
def test_running_library() -> None:
    names = list(corpus.sources())
    assert names == sorted(names)
    assert {"email/message.py", "os.py"} <= set(names)
    assert not any(set(name.split("/")) & {"test", "tests", "idlelib"} for name in names)
    docstrings = corpus.docstrings()
    assert 5000 < len(docstrings) < 12_000
    assert ("email/message.py", inspect.getdoc(email.message.Message)) in docstrings


def test_long_paragraphs_of_the_documentation_are_unique() -> None:
    seen: dict[str, str] = {}
    for name, text in corpus.documentation().items():
        for paragraph in re.split(r"\n[ \t]*\n", text):
            words = " ".join(paragraph.split())
            if len(words) >= LONG_PARAGRAPH:
                assert words not in seen, (name, seen[words])
                seen[words] = name
