"""One saved run in a process of its own: ``python -m suexp.launch.child FILE``."""

import sys
from collections.abc import Callable
from pathlib import Path

from suexp.errors import DISK_FULL, Unwritable, UserError
from suexp.following import follow_starter
from suexp.lasting_output import outlive_the_terminal
from suexp.plain_warnings import show_plainly
from suexp.store.spec import RunSpec


def main(argv: list[str]) -> int:
    """Run a saved run; return the exit code.

    The packages that the user allows follow the file's name; what the file allows does not count.
    """
    return attempt(RunSpec.load(Path(argv[0]), argv[1:]))


def attempt(spec: RunSpec, note: Callable[[str], None] = print) -> int:
    """Run one run in a process of its own, which follows its starter while it imports torch.

    Returns:
        its exit code.
    """
    from suexp.job.checkpoint import Interrupted
    from suexp.job.run import execute

    outlive_the_terminal()
    show_plainly()
    try:
        summary = execute(spec, note)
    except Interrupted:
        return 130
    except Unwritable:
        return DISK_FULL  # whoever began this process says so, once for all
    except UserError as error:
        print(f"suexp: {error}", file=sys.stderr)
        return 2
    if not summary.finished and not spec.folder.exists():
        print(f"suexp: {summary.error}", file=sys.stderr)  # nobody can read it there
    return summary.exit_code


if __name__ == "__main__":
    follow_starter()
    sys.exit(main(sys.argv[1:]))
