"""The command ``suexp``: argv -> list, show, check, report, runs, diff, rerun, new, or Hydra.

Imports are made where they are used, so that a listing or a misspelling is answered without
hydra, and nothing here ever imports torch by itself.
"""

import os
import sys
from collections.abc import Sequence

from suexp import __version__
from suexp.errors import Misfit, UserError
from suexp.interruption import STOPS, handling, interrupt
from suexp.lasting_output import outlive_the_terminal
from suexp.machine import within_memory
from suexp.plain_warnings import show_plainly


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 2 the user's mistake, 130 interrupted.

    Args:
        argv: the arguments; None: those of the process.
    """
    outlive_the_terminal()
    show_plainly()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with handling(STOPS, interrupt):
            from suexp.cli.argv import ordered

            words = ordered(words)
            try:
                return _dispatch(words)
            except UserError as error:
                from suexp.cli.terminal import show_error

                show_error(_advised(error, words))
                return 2
    except KeyboardInterrupt:
        print(
            "suexp: interrupted; the same command goes on from the last checkpoint", file=sys.stderr
        )
        return 130
    except BrokenPipeError:
        # `suexp list | head`: the reader has seen enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # a fault of ours, whose message may quote what was read
        import traceback

        from suexp.redaction import redacted

        print(redacted(traceback.format_exc()), end="", file=sys.stderr)
        return 1


def _advised(error: UserError, argv: list[str]) -> str:
    """Return an error's line; where options do not fit together, with ones that do."""
    if not isinstance(error, Misfit):
        return str(error)
    from suexp.cli.argv import SUBCOMMANDS, in_full, split

    return in_full(error, split(argv[1:] if argv[0] in SUBCOMMANDS else argv))


@within_memory()
def _dispatch(argv: list[str]) -> int:
    command, rest = (argv[0], argv[1:]) if argv else ("", [])
    if command == "list":
        from suexp.cli.listing import run
    elif command == "show":
        from suexp.cli.showing import run
    elif command == "check":
        from suexp.cli.checking import run
    elif command == "report":
        from suexp.cli.reporting import run
    elif command == "runs":
        from suexp.cli.runs import run
    elif command == "diff":
        from suexp.cli.differing import run
    elif command == "rerun":
        from suexp.cli.rerunning import run
    elif command == "new":
        from suexp.cli.beginning import run
    elif not argv:
        from suexp.cli.helping import show_start

        show_start()
        return 0
    elif argv == ["--version"]:
        print(f"suexp {__version__}")
        return 0
    else:
        return _hydra(argv)
    return run(rest)


def _hydra(argv: list[str]) -> int:
    from suexp.cli.argv import precheck, split

    line = split(argv)
    if "--shell-completion" in line.flags:
        return _complete(argv)
    if not {"--config-path", "--config-name", "--experimental-rerun", "--version"} & {*line.flags}:
        from suexp.config.catalogue import Catalogue

        catalogue = Catalogue(line.config_dir)
        precheck(line, catalogue)
        if "--help" in line.flags:
            from suexp.cli.helping import show_help

            show_help(catalogue)
            return 0
    from suexp.cli.application import hydra_main
    from suexp.config.overrides import put_anew

    hydra_main(put_anew(argv))
    return 0


def _complete(argv: list[str]) -> int:
    from suexp.cli.completion import answer

    if answer(argv):
        return 0
    from suexp.cli.application import hydra_main

    try:
        hydra_main(argv)
    except UserError:
        return 1  # a message in the middle of typing would only disturb
    return 0
