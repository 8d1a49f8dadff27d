"""The command line. One module a command, loaded when the command is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from hpcscale import __version__
from hpcscale.cli.errors import report_input_errors

# name -> (module, what `hpcscale --help` says); help texts stand here so that --help loads no command.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Write your settings: account or group, environment, interpreter."),
    "plan": ("plan", "What every point of a study will cost: memory, sec/it, node-hours, before one is run."),
    "render": ("render", "Write the job scripts of a study."),
    "doctor": ("doctor", "Can this login node submit: queues, account, environment, files."),
    "search": ("search", "Rank all layouts of a model on so many nodes by what they will take."),
    "lint": ("lint", "Read job scripts strictly: directives, variables, limits of the machine."),
    "dryrun": ("dryrun", "Run single ranks of a job here without their memory: would they fit and work?"),
    "probe": ("probe", "Measure this computer, or write a job that measures a machine: products, memory, messages."),
    "run": ("run", "Run a study on this computer: render, run each point, report."),
    "submit": ("submit", "Submit the points of a study that are due: the bill first, each point exactly once."),
    "status": ("status", "What became of every point: state, step, sec/it, why it waits or failed."),
    "logs": ("logs", "Print what a point's ranks printed, or follow it."),
    "cancel": ("cancel", "Cancel the jobs of a study."),
    "calibrate": (
        "calibrate",
        "Learn a machine's constants from its runs, its probe or a table; write them to its profile.",
    ),
    "predict": ("predict", "Add predicted seconds per step and memory to a table of configurations."),
    "report": ("report", "Print the scaling table of studies, runs and published tables; draw the chart."),
    "scaling": (
        "scaling",
        "Fit scaling laws, carry them on to larger sizes, find the knee, count what a training takes.",
    ),
    "energy": ("energy", "Energy of a study's jobs from counters and accounting; tokens per joule, energy to train."),
    "bundle": ("bundle", "Archive a study with its records, report and versions; nothing personal is in it."),
    "verify": ("verify", "Report again from the records in an archive, and say whether it is the same."),
    "compare": (
        "compare",
        "Is B slower than A: two studies or two versions of the code, with intervals and a verdict.",
    ),
    "import": ("importing", "Turn logs of other frameworks into runs that the report shows."),
    "audit": ("audit", "Recompute a published scaling table from itself: does each row add up, and if not, why."),
    "data": ("data", "Turn text files into training data (Megatron's .bin and .idx)."),
    "weights": ("weights", "Hugging Face weights: show their model, export a run's checkpoint."),
    "machines": ("machines", "List machine profiles, or show one."),
    "models": ("models", "List models with their parameter counts, or show one."),
    "studies": ("studies", "List studies, or show one and its points."),
    "schema": ("schema", "Print the JSON Schema of machine, model or study files."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"hpcscale.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; commands: {', '.join(COMMANDS)}"
            ctx.fail(f"there is no command '{args[0]}'{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 failed, 2 the input is wrong.",
)
@click.version_option(__version__, prog_name="hpcscale")
def group() -> None:
    """How does training this model scale on that machine, and what will it cost?

    A machine profile and a study become job scripts; the jobs train the model and record what they measured; a report
    makes the scaling table and charts of it.
    """


def main() -> None:
    """The program. Every error that a person caused ends in a sentence and exit code 2."""
    with report_input_errors():
        group.main(prog_name="hpcscale", standalone_mode=True)
    sys.exit(0)
