"""What ``import suexp`` offers, and where it stands; no result depends on this file."""

HOMES = {
    **dict.fromkeys(("build", "check", "options", "results", "run"), "api"),
    **dict.fromkeys(("runs", "show", "write_report"), "api"),
    "Experiment": "experiment.outcome",
    "Summary": "store.summary",
    "UserError": "errors",
    "compose": "config.compose",
    "__version__": "_version",
}
