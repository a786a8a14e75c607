"""Keys and passwords, which belong in no file that a run leaves and on no screen."""

import os
import re

_NAMES = re.compile(r"(^|_)(API)?(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)")
_IN_URL = re.compile(r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)")
_SHORTEST = 8  # a shorter value, such as a flag's, would blot out words


def redacted(text: str) -> str:
    """Return a text without the values of the environment's keys and the passwords in addresses."""
    for name, value in _secrets():
        text = text.replace(value, f"<{name}>")
    return _IN_URL.sub("<password>", text)


def secret_in(text: str) -> str | None:
    """Return what secret a text holds: the name of a variable, ``a password``, or nothing."""
    names = (name for name, value in _secrets() if value in text)
    return next(names, "a password" if _IN_URL.search(text) else None)


def _secrets() -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in os.environ.items()
        if len(value) >= _SHORTEST and _NAMES.search(name.upper())
    ]
