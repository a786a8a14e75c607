"""The error that a user's mistake raises."""


class UserError(Exception):
    """A mistake of the user: printed as one line (what, where, the fix), exit code 2."""
