"""The error that a user's mistake raises."""

from suexp.redaction import redacted


class UserError(Exception):
    """A mistake of the user: printed as one line (what, where, the fix), exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(redacted(message))
