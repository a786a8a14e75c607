"""``suexp --help``: the commands, then everything that can be chosen."""

import textwrap

from suexp.cli.terminal import show_text
from suexp.config.catalogue import Catalogue

USAGE = """\
suexp runs the posts of https://kexue.fm as experiments.

  suexp list [GROUP]        what can be chosen, one line each
  suexp show NAME           what an option or experiment is: equation, parameters, post, verdict
  suexp check OVERRIDES     compose and check everything, train nothing
  suexp report [DIR]        one site over all experiments, or an experiment's report again
  suexp runs [WORDS]        what was run: status, metric, time, size; --prune removes
  suexp diff RUN RUN        what differs between two runs: config, metrics, code
  suexp rerun RUN           repeat a run from its folder and compare all metrics
  suexp new GROUP NAME      write an option of your own: class, YAML and a test, to begin with

  suexp attention=performer optimizer=lion          one run: a language model of these parts
  suexp -m attention=softmax,performer seed=0,1,2   a sweep
  suexp -m hydra/sweeper=optuna 'optimizer.lr=tag(log, interval(1e-4, 1e-2))'   a search, pruned
  suexp experiment=lion                             a post: arms x seeds, verdicts, report
  suexp experiment=lion scale=smoke                 in seconds, to see that it runs
"""

START = """\
suexp runs the posts of https://kexue.fm as experiments: claims, judged with statistics.

  suexp list experiment                      the posts
  suexp experiment=lion scale=smoke          one of them, in seconds
  suexp experiment=lion                      in earnest: arms x seeds, verdicts, a report
  suexp attention=performer optimizer=lion   one run; every part can be swapped
  suexp show 9473                            what a post or a part is, by name, number or title
  suexp help                                 everything that can be chosen
"""

FLAGS = """\
  -m, --multirun     every combination of a=1,2 b=3,4
  --cfg job          print the config instead of running (add --resolve for final values)
  --config-dir DIR   options of your own, laid out like conf/
  --hydra-help       Hydra's other flags
  --version          suexp's version
  Tab completion: eval "$(suexp -sc install=bash)" in bash and zsh"""


def show_start() -> None:
    """Print what there is, and how to start."""
    show_text(START.rstrip())


def show_help(catalogue: Catalogue) -> None:
    """Print how suexp is used, and every group with its options."""
    show_text(USAGE)
    show_text("Choose parts, group=option (the default comes first):\n", "bold")
    width = max(map(len, catalogue.groups))
    for group, names in catalogue.groups.items():
        default = catalogue.defaults.get(group)
        ordered = sorted(names, key=lambda name: name != default)
        line = f"  {group.ljust(width)}  {', '.join(ordered)}"
        show_text(textwrap.fill(line, 100, subsequent_indent=" " * (width + 4)))
    show_text(
        "\nSet anything in them, group.key=value; suexp show NAME explains the keys.\n", "bold"
    )
    show_text(FLAGS)
