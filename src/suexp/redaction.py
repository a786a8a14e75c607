"""Keys and passwords, which belong in no file that a run leaves and on no screen.

They are known by the name of a variable of the environment that holds them, by the place in which
they stand (``?token=``, ``https://TOKEN@host``, ``api_key: ``), or by their own shape.
"""

import functools
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

# GITHUB_PAT, PGPASSWORD, AWS_SECRET_ACCESS_KEY; neither PWD nor TOKENIZERS_PARALLELISM.
_NAMES = re.compile(
    r"(^|_)(API)?(KEY|PAT|SECRET|TOKEN|CREDENTIALS?|DSN|COOKIE)(_|$)|_(AUTH|PASS|PWD)$"
    r"|PASSWORD|PASSWD|PASSPHRASE|^\w+(?<!COM)(?<!BY)PASS$"
)
_NAMES_OF_PLACES = re.compile(r"_(FILE|DIR|HOME|PATH|SOCK|STORE)$")
_SHORTEST = 8  # a shorter value, such as a flag's, would blot out words

_WORD = (
    "(?:(?:api|access|auth|client|private|secret|session)[_-]?(?:key|token|secret)"
    "|pass(?:word|wd|phrase)|secret)"
)
_WORDS = (
    *("api_key", "api-key", "apikey", "secret", "passw", "passphrase"),
    *("access", "auth", "client", "private", "session"),
)
_VALUE = r"""[^\s"'<>&#,;\\]"""  # what takes its place breaks neither JSON nor YAML nor HTML
_NOTHING = r"(?!\$\{|null\b|none\b|true\b|false\b)"
_NUMBERED = rf"(?={_VALUE}*\d){_VALUE}{{12,}}"
# What is found; words without one of which there is nothing to look for; the group is the secret.
_SHAPES = (
    ("a password", ("://",), r"""://([^\s/:@"'\\]*:[^\s/"'\\]+)(?=@)"""),
    ("a password", ("://",), r"""https?://([^\s/:@"'<>\\]+)(?=@)"""),
    ("a password", _WORDS, rf"{_WORD}\s*=\s*{_NOTHING}({_VALUE}{{4,}})"),
    ("a password", ("pwd",), rf"(?:\w_|;\s*)pwd\s*=\s*({_VALUE}{{4,}})"),
    ("a token", _WORDS, rf"""{_WORD}["']?\s*:\s*["']?({_NUMBERED})"""),  # in YAML, JSON, a header
    ("a token", ("bearer",), rf"\bbearer\s+({_NUMBERED})"),
    ("a token", ("token",), r"\btoken\s*=\s*((?=[\w-]*\d)[\w-]{16,})\b"),
    ("a token", ("wandb", "api", "passw"), r"(?:wandb|key|password)\W{1,4}([0-9a-f]{40})\b"),
    (
        "a token",
        ("?", "&"),
        rf"[?&][\w.-]*(?:token|key|secret|passw(?:or)?d|pwd|sig|signature|credential|auth)"
        rf"=({_VALUE}{{4,}})",
    ),
    ("a token", ("akia", "asia"), r"(?-i:\b((?:AKIA|ASIA)[0-9A-Z]{16})\b)"),
    ("a token", ("hf_",), r"(?-i:\b(hf_(?=[a-zA-Z]*[A-Z0-9])[A-Za-z0-9]{16,})\b)"),
    ("a token", ("ghp_", "gho_", "ghs_", "ghu_", "ghr_"), r"\b(gh[opsur]_[A-Za-z0-9]{20,})"),
    ("a token", ("github_pat_", "glpat-"), r"\b(github_pat_\w{20,}|glpat-[\w-]{16,})"),
    (
        "a token",
        ("npm_", "pypi-", "wandb_v"),
        r"\b(npm_\w{30,}|pypi-AgE[\w-]{16,}|wandb_v\d_\w{20,})",
    ),
    (
        "a token",
        ("xox", "aiza", "ya29."),
        r"\b(xox[abeprs]-[\w-]{10,}|AIza[\w-]{35}|ya29\.[\w-]{20,})",
    ),
    (
        "a token",
        ("sk-",),
        r"(?<![\w-])(sk-(?:(?:proj|ant|or|admin|svcacct)-[\w-]{20,}|(?=[a-z]*\d)[a-z0-9]{20,}))",
    ),
    ("a token", ("k_live_", "k_test_"), r"\b([rs]k_(?:live|test)_\w{16,})"),  # Stripe's
    ("a token", ("eyj",), r"(?-i:\b(eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}))"),  # a JSON web token
    ("a key", ("private key",), r"-----BEGIN[A-Z ]* PRIVATE KEY-----((?:\s|\\n|[A-Za-z0-9+/=])+)"),
)


def redacted(text: str) -> str:
    """Return a text without the values of the environment's keys, passwords and tokens."""
    for name, pattern in [*_possible(text)]:
        text = pattern.sub(functools.partial(_without, name=name.removeprefix("a ")), text)
    return text


def secret_in(text: str) -> str | None:
    """Return what secret a text holds: a variable's name, ``a password``, ``a token``, or None."""
    return next((name for name, pattern in _possible(text) if pattern.search(text)), None)


def secrets_in(node: Any) -> Iterator[tuple[str, str]]:
    """Give where in plain containers a secret stands, keys included, and what `secret_in` says."""
    found = list(_texts(node, ""))
    if secret_in("\n".join(text for _, text in found)):  # hardly ever: the place is looked for then
        yield from ((path, held) for path, text in found if (held := secret_in(text)))


def without_secrets(node: Any) -> Any:
    """Return plain containers, every text and key in them redacted."""
    return _redacted(node) if any(secrets_in(node)) else node


def _redacted(node: Any, key: str = "") -> Any:
    if isinstance(node, Mapping):
        return {redacted(str(k)): _redacted(value, str(k)) for k, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_redacted(value, key) for value in node]
    if not secret_in(f"{key}={node}") or not isinstance(node, str):
        return node
    return redacted(f"{key}={node}").removeprefix(f"{redacted(key)}=")


def _texts(node: Any, path: str, key: str = "") -> Iterator[tuple[str, str]]:
    """Give every value with where it stands, as ``key=value``, and keys of whole containers."""
    if isinstance(node, Mapping):
        yield path, key
        for name, value in node.items():
            yield from _texts(value, f"{path}.{name}" if path else str(name), str(name))
    elif isinstance(node, (list, tuple)):
        yield path, key
        for place, value in enumerate(node):
            yield from _texts(value, f"{path}.{place}" if path else str(place), key)
    else:
        yield path, f"{key}={node}"


def _without(found: re.Match[str], name: str) -> str:
    """Return what was found with the secret's name in the secret's place."""
    start, end = (index - found.start() for index in found.span(1))
    return f"{found[0][:start]}<{name}>{found[0][end:]}"


def _possible(text: str) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Give the patterns, by name, of the secrets that a text may hold."""
    for name, value in os.environ.items():
        if value in text and len(value) >= _SHORTEST and _names_a_secret(name.upper()):
            # What may be a word is a secret only where it stands alone.
            whole = r"(?<![^\W_])({})(?![^\W_])" if value.isalpha() else "({})"
            yield name, re.compile(whole.format(re.escape(value)))
    low = text.lower()
    for name, words, shape in _SHAPES:
        if any(word in low for word in words):
            yield name, re.compile(shape, re.IGNORECASE)


@functools.cache
def _names_a_secret(name: str) -> bool:
    return bool(_NAMES.search(name)) and not _NAMES_OF_PLACES.search(name)
