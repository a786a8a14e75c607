"""The one door through which configs become objects."""

import functools
from collections.abc import Collection
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate as hydra_instantiate

from suexp.code.trust import check_classes
from suexp.errors import UserError
from suexp.machine import TOO_MUCH, out_of_memory


def instantiate(node: dict[str, Any], allow: Collection[str] = (), /, **kwargs: Any) -> Any:
    """Return the object that a config node describes, with arguments that only the run knows.

    Args:
        node: a node of a resolved config.
        allow: what the user trusts beside suexp's components (see `suexp.code.trust`).
        kwargs: the arguments.

    Raises:
        UserError: the class refuses its arguments (ValueError), cannot be imported, or is of a
            package that the user has not allowed.
    """
    return guarded(partial(node, allow), **kwargs)


def partial(node: dict[str, Any], allow: Collection[str] = ()) -> functools.partial[Any]:
    """Return the node's class with its configured arguments, still to be called.

    Hydra's own partials check each call anew, at 70 microseconds a call; this is the plain kind.
    """
    check_classes(node, allow)
    try:
        deferred = hydra_instantiate(node, _partial_=True, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        if refused(cause):
            raise UserError(f"{node.get('_target_')}: {cause}") from error
        if out_of_memory(cause):
            raise UserError(TOO_MUCH) from error
        raise UserError(" ".join(str(error).split("\n"))) from error
    return functools.partial(deferred.func, *deferred.args, **deferred.keywords)


def guarded(call: functools.partial[Any], **kwargs: Any) -> Any:
    """Call a partial; what its constructor refuses is the user's mistake."""
    try:
        return call(**kwargs)
    except UserError:
        raise
    except Exception as error:
        if refused(error):
            raise UserError(f"{call.func.__name__}: {error}") from error
        raise


def refused(error: BaseException) -> bool:
    """Tell whether an exception says that arguments cannot be; Lightning has a kind of its own."""
    own = type(error).__name__ == "MisconfigurationException"
    return own or isinstance(error, (UserError, ValueError, OverflowError))
