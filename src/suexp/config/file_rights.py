"""What files may say: how a run is made, not whose code it is, nor where it writes or reports.

An option, an experiment and a saved config may be a stranger's. The command line is the user's own.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from omegaconf import DictConfig

from suexp.config.hydra_internals import parse
from suexp.config.overrides import ALLOWS, key_of, origin_overrides
from suexp.config.yaml_file import load_yaml
from suexp.errors import UserError
from suexp.folders import conf_dir
from suexp.origins import KEYS

# Keys that the command line sets, or the study that it began, and no file.
TYPED = ("allow_targets", "hydra", "out", "study")


def check_rights(config: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse what only the user may say and a file does.

    Args:
        config: the composed config.
        overrides: what the user has typed.

    Raises:
        UserError: a file allows packages, writes outside of the current directory, reports to a
            study, or sends the run's numbers somewhere.
    """
    _check_sending(config, {key_of(item) for item in overrides})
    said = {key_of(item).split(".")[0] for item in overrides}
    if config.get("allow_targets") and not any(map(ALLOWS.match, overrides)):
        raise UserError(
            f"allow_targets={config.allow_targets} stands in a file, where it does not count; "
            "if you trust that code, say it yourself"
        )
    if "study" not in said and any((config.get("study") or {}).values()):
        raise UserError("study: stands in a file; a run reports to the study that began it")
    out = None if "out" in said else config.get("out")
    if isinstance(out, str) and not _below(Path(out)):
        raise UserError(
            f"out: {out} stands in a file and lies outside of the current directory; "
            f"if you mean it, type it yourself: out={out}"
        )


def refuse_typed(where: str, overrides: Sequence[str], keys: Collection[str] = TYPED) -> None:
    """Refuse overrides of a file that only the user may type, those of the runs it needs too.

    Args:
        where: what the overrides belong to.
        overrides: the file's.
        keys: those of `TYPED` that count.

    Raises:
        UserError: the first one.
    """
    for item in overrides:
        key = key_of(item).replace("/", ".").split(".")[0]
        if key in keys or (key == "logger" and "=" in item and "." in key_of(item)):
            raise UserError(
                f"{where}: {item} does not count there; if you trust it, say it yourself"
            )
        if key in KEYS and (value := parse([item])[0].value()):
            for one in value.values() if isinstance(value, dict) else [value]:
                refuse_typed(where, origin_overrides(key, one), keys)  # type: ignore[arg-type]


def _check_sending(config: DictConfig, said: Collection[str]) -> None:
    """Refuse a logger that a file lets send what a run logs, or to whose team."""
    loggers = config.get("logger") or {}
    for name, node in loggers.items() if isinstance(loggers, DictConfig) else ():
        settings = node if isinstance(node, DictConfig) else {}
        for key, kept in (("mode", ("offline", "disabled", None)), ("entity", (None,))):
            value, place = settings.get(key), ".".join(("logger", str(name), key))
            if value not in kept and not {place, place.rpartition(".")[0]} & {*said}:
                raise UserError(
                    f"{place}: {value} stands in a file, which may not say where a run's numbers "
                    f"are sent; if you mean it, type it yourself: {place}={value}"
                )


def _below(folder: Path) -> bool:
    """Tell whether a folder lies below the current one; where suexp's own default leads, it may."""
    if folder.resolve().is_relative_to(Path.cwd().resolve()):
        return True
    return str(folder) == load_yaml(conf_dir() / "config.yaml")["out"]
