"""The command line: one click group that imports an experiment only when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click
from rich.table import Table

from cupy_kst.hints.words import question
from experiments.errors import EXIT_CHECK, ExperimentError, complain
from experiments.harness import frame
from experiments.registry import EXPERIMENTS, PAPERS
from experiments.render.console import TABLE_BOX, output
from experiments.report import report


class LazyGroup(click.Group):
    """A group whose experiments are named by the registry, so that help needs none of their imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*(entry.name for entry in EXPERIMENTS), *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for entry in EXPERIMENTS:
            if entry.name == cmd_name:
                command: click.Command = import_module(entry.module).command
                return command
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            meant = question(args[0], self.list_commands(ctx))
            if not meant:
                raise
            raise click.UsageError(f"No such command {args[0]!r}{meant}", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Experiments"):
            formatter.write_dl([(entry.name, entry.summary) for entry in EXPERIMENTS])
        with formatter.section("Other commands"):
            formatter.write_dl([(name, command.get_short_help_str(80)) for name, command in self.commands.items()])


@click.group(cls=LazyGroup, invoke_without_command=True)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Experiments on transposed convolution without multiplying by zeros."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@cli.command("list")
def list_experiments() -> None:
    """List the experiments and the papers they are about."""
    table = Table("experiment", "what it shows", "papers", box=TABLE_BOX, show_edge=False, pad_edge=False)
    for entry in EXPERIMENTS:
        table.add_row(entry.name, entry.summary, entry.source)
    output().print(table)


cli.add_command(report)


@cli.command("all")
@frame.options(out="all")
def run_all(**chosen: Any) -> int:
    """Run all experiments of the papers in turn.

    What fails is reported in one line, and the others still run. All files go into one folder.
    """
    asked = frame.Asked(**chosen)
    asked.prepare()
    exit_code = 0
    for entry in PAPERS:
        try:
            frame.run(import_module(entry.module).PAPER, asked)
        except ExperimentError as error:
            complain(f"{entry.name}: {error}")
            exit_code = max(exit_code, error.exit_code)
        except Exception as error:
            complain(f"{entry.name}: {type(error).__name__}: {error}; python -m experiments {entry.name} shows where")
            exit_code = max(exit_code, EXIT_CHECK)
        output().print()
    return exit_code


def run(arguments: Sequence[str]) -> int:
    """Run the command line on `arguments` and return its exit code; errors are ExperimentError or KeyboardInterrupt."""
    try:
        result = cli.main(list(arguments), prog_name="python -m experiments", standalone_mode=False)
    except click.Abort as abort:
        raise KeyboardInterrupt(*getattr(abort.__cause__, "args", ())) from None
    except click.ClickException as error:
        raise ExperimentError(error.format_message()) from None
    return result if isinstance(result, int) else 0
