"""Real labelled texts with no download: which area of the library is a docstring about?"""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from suexp.data import corpus
from suexp.data.document import Document, of_split
from suexp.data.text import Text

# Areas after the chapters of the Library Reference, joined until each has at least 300 docstrings;
# chapters with fewer (multimedia, curses and command-line frameworks, crypto) are left out.
AREAS = {
    "concurrency": "asynchat asyncio asyncore concurrent contextvars multiprocessing queue sched "
    "selectors signal socket subprocess threading _threading_local",
    "data_types": "_collections_abc _py_abc _pydatetime _strptime _weakrefset abc array bisect "
    "calendar collections contextlib copy copyreg dataclasses datetime enum functools graphlib "
    "heapq keyword operator types typing weakref zoneinfo",
    "development": "_py_warnings bdb cProfile doctest faulthandler logging pdb profile pstats "
    "pydoc timeit trace traceback tracemalloc unittest warnings",
    "files": "_compression _pyio bz2 compression dbm filecmp fileinput fnmatch genericpath "
    "glob gzip io linecache lzma nturl2path ntpath os pathlib pickle posixpath shelve "
    "shutil sqlite3 stat tarfile tempfile zipfile zlib",
    "mail": "base64 binascii email imaplib mailbox mailcap mimetypes nntplib poplib quopri "
    "smtpd smtplib uu",
    "numbers": "_pydecimal _pylong cmath decimal fractions math numbers random statistics",
    "runtime": "__future__ _aix_support _android_support _apple_support _bootsubprocess "
    "_ios_support _osx_support _pyrepl annotationlib ast code codeop "
    "compileall ctypes dis imp importlib inspect modulefinder opcode pickletools "
    "pkgutil platform py_compile pyclbr runpy site symtable sys sysconfig tabnanny "
    "token tokenize venv zipapp zipimport",
    "text": "codecs configparser csv difflib encodings gettext json locale netrc plistlib "
    "pprint re readline reprlib rlcompleter shlex sre_compile sre_constants sre_parse "
    "string stringprep textwrap tomllib unicodedata",
    "web": "cgi cgitb ftplib html http ipaddress socketserver ssl telnetlib urllib uuid "
    "webbrowser wsgiref xml xmlrpc",
}
AREA_OF = {module: area for area, modules in AREAS.items() for module in modules.split()}
SHORTEST = 40  # characters; "Return self." is about nothing


class DocstringTopic(Text):
    r"""Docstrings of the standard library and the area of the module that each one documents.

    Nine classes after the chapters of the Library Reference: concurrency, data_types, development,
    files, mail, numbers, runtime, text, web (Python 3.11: 5,033 docstrings of at least 40
    characters, 304 to 807 a class, so that always answering web is right for 16 %). Of equal
    docstrings the first stays. Those held out are chosen by a hash of their text, so a module has
    some in either split. A batch holds ``tokens`` (B, n), ``keep`` (B, n) and ``label`` (B,).

    Reference: https://docs.python.org/3/library/.

    Args:
        tokenizer: ``bpe``, trained on the training split, or ``bytes``.
        vocab_size: tokens of the BPE, the 3 special ones included; the bytes always have 259.
        block_size: the most tokens of a text.
        batch_size: rows of a training step.
        eval_batch_size: rows of an evaluation step.
        val_fraction: share of the docstrings that is held out.
        max_bytes: the most training text, in bytes; null: all.
        truncate: cut texts that are longer than block_size; false: refuse them.

    Raises:
        ValueError: a value out of range.
        UserError: this Python comes without its standard library's source.
    """

    provides: ClassVar[set[str]] = {"text", "labels"}
    refuses: ClassVar[dict[str, str]] = {
        "task=causal_lm": "its rows are single texts, not packed blocks; use data=pydoc",
        "task=masked_lm": "its rows are single texts, not packed blocks; use data=pydoc",
    }
    kind = "classification"

    def __init__(
        self,
        tokenizer: Literal["bpe", "bytes"] = "bpe",
        vocab_size: int = 2048,
        block_size: int = 64,
        batch_size: int = 32,
        eval_batch_size: int = 128,
        val_fraction: float = 0.2,
        max_bytes: int | None = None,
        truncate: bool = True,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            block_size=block_size,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            val_fraction=val_fraction,
            max_bytes=max_bytes,
            truncate=truncate,
        )

    def documents(self, split: str) -> Iterator[Document]:
        """Return the docstrings of the split with their areas."""
        return of_split(_docstrings(), split, self.val_fraction)

    def source(self) -> Any:
        """Return the standard library's version, names and sizes, hashed."""
        return corpus.key()


def _docstrings() -> Iterator[Document]:
    seen: set[str] = set()
    for module, text in corpus.docstrings():
        area = AREA_OF.get(module.partition("/")[0].removesuffix(".py"))
        words = " ".join(text.split())
        if area and len(text) >= SHORTEST and words not in seen:
            seen.add(words)
            yield Document(words, text, area, module)
