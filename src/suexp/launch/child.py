"""One saved config in a process of its own: ``python -m suexp.launch.child config.yaml``."""

import sys
from pathlib import Path
from typing import Any

import yaml

from suexp.code.trust import trusting
from suexp.errors import DISK_FULL, Unwritable, UserError
from suexp.job.checkpoint import Interrupted
from suexp.job.run import Note, execute
from suexp.store.folder import Run, exit_code


def main(argv: list[str]) -> int:
    """Run a saved config; return the exit code.

    The packages that the user allows follow the file's name; what the file allows does not count.
    """
    saved = yaml.safe_load(Path(argv[0]).read_text(encoding="utf-8"))
    return attempt(trusting(saved, argv[1:]))


def attempt(config: dict[str, Any], note: Note = print) -> int:
    """Run one config in a process of its own; return its exit code."""
    try:
        summary = execute(config, note)
    except Interrupted:
        return 130
    except Unwritable:
        return DISK_FULL  # whoever began this process says so, once for all
    except UserError as error:
        print(f"suexp: {error}", file=sys.stderr)
        return 2
    if summary["status"] != "finished" and not Run(config).folder.exists():
        print(f"suexp: {summary['error']}", file=sys.stderr)  # nobody can read it there
    return exit_code(summary)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
