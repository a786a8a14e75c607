"""The command line in Python: the same words, the same checks, objects instead of tables.

Each function takes what stands behind the command's name; a mistake raises `UserError` with the
line that the command prints.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from suexp.cli import argv, checking, listing, reporting, showing
from suexp.cli import runs as stored
from suexp.cli.site import site
from suexp.code.trust import allowed
from suexp.config.catalogue import Catalogue
from suexp.config.compose import forget, whole
from suexp.config.hydra_internals import launcher_of, loader
from suexp.config.hydra_node import check_hydra
from suexp.config.overrides import put_anew
from suexp.config.quoting import words
from suexp.config.unknown import unknown_option
from suexp.errors import UserError
from suexp.experiment.conduct import outcomes
from suexp.experiment.outcome import Experiment
from suexp.launch.processes import run_one
from suexp.launch.spec import spec_of
from suexp.report import latest
from suexp.store.summary import Summary

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule

Overrides = str | Sequence[str]


def build(cfg: DictConfig) -> "LightningModule":
    """Return the LightningModule of a composed config, its data set prepared.

    Raises:
        UserError: a component refuses its arguments.
    """
    from suexp.job.build import build as build_task
    from suexp.job.build import data_of

    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    config["allow_targets"] = allowed(config["allow_targets"])
    return build_task(config, data_of(config))


def run(
    overrides: Overrides = (), config_dir: str | None = None
) -> Summary | Experiment | list[Any]:
    """Do what ``suexp OVERRIDES`` does; what is finished already is found, not run again.

    Args:
        overrides: as on the command line, ``"-m attention=softmax,performer seed=0,1"`` say: a
            string with blanks between them, or a list.
        config_dir: a folder with options of one's own, as ``--config-dir`` in the line.

    Returns:
        Of one run its `Summary`, whose ``status`` says whether it failed; of an experiment an
        `Experiment`; of several experiments, and of a sweep, a list of them. A run of a sweep that
        was killed is None.

    Raises:
        UserError: the overrides cannot be composed, or cannot work together.
    """
    with _line("run", overrides, config_dir) as line:
        argv.precheck(line, Catalogue(line.config_dir))
        asked = put_anew(line.overrides)
        with loader(line.config_dir):
            config = whole(asked)
            check_hydra(config, asked)
            if not line.sweeps and str(config.hydra.mode).rpartition(".")[2] != "MULTIRUN":
                summary = run_one(spec_of(line.overrides))
                if summary is None:
                    raise RuntimeError("the process of the run was killed")
                return summary
            if config.hydra.runtime.choices["hydra/sweeper"] != "suexp":
                raise UserError("run: a search is the command line's: suexp -m hydra/sweeper=...")
            made: list[Any] = []
            for item in outcomes(asked, launcher_of(config)):
                if isinstance(item, Experiment):
                    made.append(item)
                else:
                    made += [summary for _, summary in item.runs]
    return made[0] if len(made) == 1 and isinstance(made[0], Experiment) else made


def check(overrides: Overrides = (), config_dir: str | None = None) -> list[dict[str, Any]]:
    """Compose and check everything that `run` would run; train nothing.

    Returns:
        A row a run: arm, seed and overrides.

    Raises:
        UserError: the first mistake found.
    """
    with _line("check", overrides, config_dir) as line, checking.checked(line) as plans:
        return [asdict(planned) for item in plans for planned in item.runs()]


def options(group: str | None = None, config_dir: str | None = None) -> list[dict[str, Any]]:
    """Return what can be chosen, as ``suexp list --json``: the groups, or the options of one.

    Raises:
        UserError: no such group.
    """
    return listing.listed(group, Catalogue(config_dir))


def show(name: str, config_dir: str | None = None) -> None:
    """Print what an option, an experiment or a post is, as ``suexp show NAME``.

    Raises:
        UserError: nothing bears the name.
    """
    showing.run([*(["--config-dir", config_dir] if config_dir else []), "--", name])


def runs(
    words: Overrides = (),
    out: str | Path = "outputs",
    metric: str | None = None,
    sort: str = "when",
    older: str | None = None,
) -> list[dict[str, Any]]:
    """Return what was run, a row a run, as ``suexp runs --json``.

    Args:
        words: those with ``key=value`` in their config (``experiment=lion``), of a status, or of an
            id that begins so: a string with blanks between them, or a list.
        out: the output folder.
        metric: the one to give; None: val/loss, or a run's first of the validation.
        sort: when, size, time, id or a metric.
        older: begun that long ago: ``12h``, ``30d``.

    Raises:
        UserError: a word, metric, order or age that means nothing.
    """
    asked = words.split() if isinstance(words, str) else words
    return [
        stored.record(item, metric) for item in stored.found(Path(out), asked, metric, sort, older)
    ]


def results(experiment: str | Path, out: str | Path = "outputs") -> Experiment:
    """Return the last results of an experiment, without running anything.

    Args:
        experiment: its name: the user's own results count before those that are recorded with the
            package; or a folder that holds a results.json.
        out: the output folder, where the user's own runs lie.

    Raises:
        UserError: there are none.
    """
    from suexp.report.pages import load_results

    folder, name = Path(experiment), str(experiment)
    if not (folder / "results.json").is_file():
        found = latest.results_of(name, str(out))
        if found is None:
            catalogue = Catalogue()
            if name not in catalogue.groups["experiment"]:
                raise UserError(unknown_option("experiment", name, catalogue))
            raise UserError(f"experiment={name} has not been run yet")
        folder = latest.folder_of(name, found)
    return Experiment(load_results(folder), folder)


def write_report(
    folder: str | Path | None = None, out: str | Path = "outputs", into: str | Path | None = None
) -> Path:
    """Write an experiment's report again, or one site over all experiments, as ``suexp report``.

    Args:
        folder: an experiment's, ``outputs/lion/laptop`` say; None: the site.
        out: whose results the site shows.
        into: where the site goes; None: OUT/site.

    Returns:
        The page.

    Raises:
        UserError: there are no results in the folder, or the site cannot be written.
    """
    if folder is not None:
        reporting.report(Path(folder))
        return Path(folder) / "report.html"
    place = Path(into or Path(out) / "site")
    site(Catalogue(), Path(out), place)
    return place / "index.html"


@contextmanager
def _line(command: str, overrides: Overrides, config_dir: str | None) -> Iterator[argv.CommandLine]:
    """Give a command line, and tell a mistake as the command does."""
    line = argv.plain(command, argv.split(words(overrides)))
    if config_dir:
        line.flags["--config-dir"] = str(config_dir)
    forget()
    try:
        yield line
    except UserError as error:
        raise UserError(argv.in_full(error, line)) from error
