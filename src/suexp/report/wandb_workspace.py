"""An experiment's report as Weights & Biases shows it: text, and live panels over its runs.

Made by `wandb-workspaces`, which builds such definitions without a connection.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from suexp.errors import UserError
from suexp.judge.grammar import parse
from suexp.logger._wandb_session import need_key
from suexp.report.verdicts import MARKS
from suexp.report.view import COSTS, view
from suexp.store.folder import write_atomic

FILE = "wandb.json"


def define(
    results: Mapping[str, Any], figures: Mapping[str, Any], project: str, entity: str | None
) -> Any:
    """Return the report (`wandb_workspaces.reports.v2.Report`).

    Curves are those of the figures over training, or else the validation metrics that claims name;
    bars are the metrics that claims name, and the costs. Runs are grouped by arm, that is by job
    type.

    Args:
        results: results.json.
        figures: the experiment's own, by name.
        project: where the runs are.
        entity: the team; None: the key's own.

    Raises:
        UserError: wandb-workspaces is not installed.
    """
    wr, _ = _library()
    shown = view(results)
    metrics = list(
        dict.fromkeys(m for c in results["claims"] for m in parse(str(c["test"])).metrics)
    )
    blocks = [
        wr.MarkdownBlock(_head(shown)),
        wr.H2("Claims"),
        wr.MarkdownBlock(_claims(shown)),
        wr.PanelGrid(
            runsets=[_own_run(results)],
            panels=[
                _wide(wr.WeavePanelSummaryTable(table_name=name)) for name in ("claims", "arms")
            ],
        ),
    ]
    curves = _curves(figures, metrics)
    if curves:
        blocks.append(wr.H2("Curves by arm"))
    for curve in curves:
        arms = curve.pop("arms") or results["arms"]
        panel = wr.LinePlot(
            **curve, groupby="JobType", groupby_aggfunc="mean", groupby_rangefunc="minmax"
        )
        blocks.append(wr.PanelGrid(runsets=[_runs(results, arms)], panels=[_wide(panel)]))
    costs = [
        (f"cost/{key}", name)
        for key, (name, _) in COSTS.items()
        if any(key in (run.get("cost") or {}) for run in results["runs"])
    ]
    finals = [name for name in metrics if "@" not in name and not name.startswith("cost/")]
    for title, bars in (("Final metrics", [(name, name) for name in finals]), ("Costs", costs)):
        if bars:
            panels = [
                wr.BarPlot(
                    title=label,
                    metrics=[name],
                    groupby="JobType",
                    groupby_aggfunc="mean",
                    groupby_rangefunc="minmax",
                )
                for name, label in bars
            ]
            grid = wr.PanelGrid(runsets=[_runs(results, results["arms"])], panels=panels)
            blocks += [wr.H2(title), grid]
    drawn = [f"figures/{figure['name']}" for figure in results["figures"] if figure["file"]]
    if drawn:
        browser = _wide(wr.MediaBrowser(media_keys=drawn, num_columns=2))
        blocks += [wr.H2("Figures"), wr.PanelGrid(runsets=[_own_run(results)], panels=[browser])]
    return wr.Report(
        project=project,
        entity=entity or "",
        title=f"{shown.name} ({shown.scale})",
        description=shown.title,
        blocks=blocks,
        width="fluid",
    )


def write(report: Any, folder: Path) -> Path:
    """Write the definition as JSON; one that was published before keeps its id.

    Returns:
        The file.
    """
    path = folder / FILE
    if not report.id and path.is_file():
        report.id = json.loads(path.read_text(encoding="utf-8"))["id"]
    definition = report._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    write_atomic(path, json.dumps(definition, indent=1, ensure_ascii=False))
    return path


def publish(report: Any, folder: Path) -> str:
    """Send the report to wandb, in place of what was published before; return its address.

    Raises:
        UserError: there is no key.
    """
    need_key("report --publish", f"{folder / FILE} is written all the same")
    import wandb

    if not report.entity:
        report.entity = wandb.Api().default_entity
    report.save()
    write(report, folder)
    return str(report.url)


def _library() -> tuple[Any, Any]:
    """Return the two modules of wandb-workspaces: reports, and the filters of their runs."""
    try:
        import wandb_workspaces.reports.v2 as reports
        from wandb_workspaces import expr
    except ModuleNotFoundError as error:
        raise UserError(
            "report --wandb needs wandb-workspaces: pip install 'suexp[dashboards]'"
        ) from error
    return reports, expr


def _head(shown: Any) -> str:
    title = f"[{shown.title}]({shown.url})" if shown.url else shown.title
    lines = [
        title,
        shown.paper,
        shown.claim,
        f"`{shown.command}`",
        *(f"- {x}" for x in shown.limits),
    ]
    return "\n\n".join(line for line in lines if line)


def _claims(shown: Any) -> str:
    rows = [["", "claim", "sentence", "difference", "verdict"], ["---"] * 5]
    rows += [
        [
            MARKS[item.verdict],
            item.id,
            item.text,
            " ".join(filter(None, [item.estimate, item.allowed and f"({item.allowed})"])),
            item.label,
        ]
        for item in shown.claims
    ]
    return "\n".join("| " + " | ".join(x.replace("|", "\\|") for x in row) + " |" for row in rows)


def _curves(figures: Mapping[str, Any], metrics: Iterable[str]) -> list[dict[str, Any]]:
    """Return the settings of the line plots, and the arms of each (None: all)."""
    curves: list[dict[str, Any]] = []
    for figure in figures.values():
        of_training = figure["kind"] == "line" and figure.get("from") == "history"
        if of_training and figure.get("x") == "step" and figure.get("by", "arm") == "arm":
            curves.append(
                {
                    "title": str(figure.get("caption") or figure["y"]),
                    "y": [figure["y"]],
                    "log_x": figure.get("x_scale") == "log" or None,
                    "log_y": figure.get("y_scale") == "log" or None,
                    "arms": figure.get("arms"),
                }
            )
    if not curves:
        plain = dict.fromkeys(name.partition("@")[0] for name in metrics)
        names = [name for name in plain if name.startswith("val/")]
        curves = [{"title": name, "y": [name], "arms": None} for name in names]
    return curves


def _runs(results: Mapping[str, Any], arms: Iterable[str]) -> Any:
    """Return the set of the arms' runs, by id: a run may bear another experiment's name."""
    wr, expr = _library()
    wanted = set(arms)
    ids = [run["id"] for run in results["runs"] if run["arm"] in wanted]
    return wr.Runset(name="runs", filters=expr.And(expr.Metric("ID").isin(ids)))


def _own_run(results: Mapping[str, Any]) -> Any:
    """Return the set of the run that the experiment itself ended in."""
    wr, expr = _library()
    group = expr.Metric("Group") == str(results["experiment"])
    return wr.Runset(name="report", filters=expr.And(group, expr.Metric("JobType") == "report"))


def _wide(panel: Any) -> Any:
    panel.layout = _library()[0].Layout(w=24, h=10)
    return panel
