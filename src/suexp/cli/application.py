"""The Hydra application."""

import os
import sys
from collections.abc import Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from suexp.config.explain import explain
from suexp.config.hydra_internals import watched
from suexp.config.hydra_node import check_hydra
from suexp.errors import UserError
from suexp.folders import conf_dir


def job(cfg: DictConfig) -> float | None:
    """Run one config; return its validation loss, for sweepers that optimise it."""
    del cfg  # resolved anew, with checks and the parent's config
    overrides = [str(item) for item in HydraConfig.get().overrides.task]
    from suexp.config.remedy import advised
    from suexp.launch.processes import run_one
    from suexp.launch.spec import spec_of
    from suexp.launch.watching import tell

    try:
        spec = spec_of(overrides)
        summary = run_one(spec)
    except UserError as error:  # here, since Hydra would announce it with a line of its own
        tell(f"suexp: {advised(error, overrides)}")
        raise SystemExit(2) from error
    if summary is None or not summary.finished:
        tell(f"suexp: {summary.error if summary else 'the process of the run was killed'}")
        raise SystemExit(summary.exit_code if summary else 1)
    from suexp.experiment.terminal import closing_table

    closing_table(spec, summary)
    return summary.metrics.get("val/loss")


def hydra_main(argv: Sequence[str]) -> None:
    """Do what a Hydra command line asks for.

    Raises:
        UserError: the command line or the config cannot work.
        SystemExit: a run did not finish (1).
    """
    sys.argv = [sys.argv[0], *argv]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its exceptions over instead of printing
    application = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(
        job
    )
    try:
        with watched(check_hydra):
            application()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error, conf_dir(), argv)) from error
