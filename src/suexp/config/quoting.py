"""Quotes around what Hydra reads only in quotes, so that a user need not think of them."""

import re
import shlex
from collections.abc import Sequence

from suexp.config.overrides import quoted
from suexp.errors import UserError

_KEY = re.compile(r"[~+]{0,2}[\w.@/:$-]+=(?!=)", re.ASCII)
# References and escaped signs, strings, and single letters.
_TOKEN = re.compile(
    r"""\$\{[^{}]*\}|\\[\\,:=()\[\]{} \t]|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|.""", re.S
)
# What needs no quotes, beside what gives a value its structure: , : [ ] { } ( ).
_PLAIN = re.compile(r"(?:[\w/\\+.$%*@?|: \t-]|\$\{[^{}]*\}|\\[,:=()\[\]{}])*", re.ASCII)
_CALL = re.compile(r"[a-z_]+\(.*\)", re.ASCII)
_PAIRS = ("[]", "{}", "()")
_OPENING, _CLOSING = ("[", "{", "("), ("]", "}", ")")


def words(line: str | Sequence[str]) -> list[str]:
    """Return the overrides of a command line, which is one string or a list.

    >>> words("attention=performer task.sample_prompt='On 科学'")
    ['attention=performer', 'task.sample_prompt="On 科学"']

    Raises:
        UserError: a quote in the string is not closed.
    """
    try:
        found = shlex.split(line) if isinstance(line, str) else line
    except ValueError as error:
        raise UserError(f"{line}: {str(error).lower()}") from error
    return [readable(word) for word in found]


def readable(override: str) -> str:
    """Return an override with quotes around the words that Hydra reads only in quotes.

    Hydra's grammar knows the letters of English and a few signs. What is written wrongly, such as a
    bracket or a quote that is not closed, stays as it is, for the error to name it.

    >>> readable("data.train=数据.csv,b.csv")
    'data.train="数据.csv",b.csv'
    >>> readable("task.sample_prompt=[red] or blue?")
    'task.sample_prompt="[red] or blue?"'
    """
    key = _KEY.match(override)
    if not key or "\n" in override or "\r" in override:
        return override
    value = override[key.end() :]
    if any(value.count(pair[0]) != value.count(pair[1]) for pair in _PAIRS):
        return override
    parts = _parts(value)
    return key[0] + (quoted(value.strip()) if parts is None else "".join(parts))


def _parts(value: str) -> list[str] | None:
    """Return a value's words, quoted where need be, and its structure; None: it is plain text."""
    parts: list[str] = []
    word, within = "", ""
    for token in _TOKEN.findall(value):
        begins = not word.strip()
        if begins and not within and parts and parts[-1] in _CLOSING and token not in ", \t[{":
            return None  # a text that goes on behind a bracket
        if begins and token[0] in "'\"":
            if len(token) == 1:
                return [value]  # it is not closed
            parts.append(word + token)
            word = ""
        elif (token in _OPENING and not begins and not (token == "(" and _CALL.match(value))) or (
            token in _CLOSING and within[-1:] + token not in _PAIRS
        ):
            return None  # a sign of a text
        elif token in (*_OPENING, *_CLOSING, ",") or (token == ":" and within[-1:] == "{"):
            within = within + token if token in _OPENING else within
            within = within[:-1] if token in _CLOSING else within
            parts += [_word(word), token]
            word = ""
        else:
            word += token
    return [*parts, _word(word)]


def _word(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return quoted(re.sub(r"\\(?=[,:=()\[\]{} ])", "", text.strip()))
