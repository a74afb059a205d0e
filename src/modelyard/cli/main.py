"""The command line: one verb for each stage. It parses, calls and prints; it decides nothing."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from modelyard.core.errors import ModelyardError, did_you_mean

VERBS = {
    "init": "Profile a table and write a commented brief.",
    "plan": "Show what would be tried, why, and what it would cost. Trains nothing.",
    "develop": "Take a brief to a packaged model and six documents.",
    "runs": "List the runs of the workspace.",
    "show": "Show one run.",
    "compare": "Compare two runs.",
    "predict": "Score a file of rows.",
    "evaluate": "Measure a bundle on labelled rows.",
    "explain": "Say which columns drove each prediction.",
    "reasons": "Give a bundle its reviewed table of reasons.",
    "register": "Enter a run's bundle in the registry.",
    "promote": "Move a release to the next stage, through its gates.",
    "rollback": "Put the previous production release back.",
    "deprecate": "Tell callers that a release ends, and when.",
    "history": "Show everything that happened to a release.",
    "serve": "Serve a bundle over HTTP.",
    "rollout": "Try a candidate beside what serves; promote it or roll it back.",
    "keys": "Make, list, rotate and revoke the API keys of a server.",
    "export": "Write Dockerfile, Kubernetes, CI and alert files.",
    "log": "Export or count what a server was asked and answered.",
    "labels": "Say what came true of predictions.",
    "watch": "Compare new rows with those the model learnt from.",
    "doctor": "Check this machine and this workspace.",
    "help": "Explain a topic: metrics, exit-codes, brief.",
}


class Verbs(click.Group):
    """The verbs, each loaded when it is used, so that ``--help`` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one verb."""
        if cmd_name not in VERBS:
            return None
        command = import_module(f"modelyard.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 -- a verb without a command is a bug of ours
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one was probably meant."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            near = did_you_mean(args[0], list(VERBS))
            raise click.UsageError(f"No verb is called '{args[0]}'." + (f" {near}" if near else ""), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without loading any of them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="modelyard", message="modelyard %(version)s")
def cli() -> None:
    """Take a model from one written brief to production, and keep it good there.

    \b
    Start with a table:   modelyard init patients.csv --label readmitted
    Then:                 modelyard plan patients.yaml
                          modelyard develop patients.yaml

    Exit codes: 0 done, 1 error, 2 a gate, a finding or the target said no, 3 inconclusive.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; every failure becomes one clear message and the exit code of its kind."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except ModelyardError as error:
        _say(error.render())
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:  # no words at all ask for help, and are no error
        click.echo(error.format_message())
        return 0
    except click.UsageError as error:
        hint = f"  See: {error.ctx.command_path} --help" if error.ctx else ""
        _say("\n".join(part for part in (error.format_message(), hint) if part))
        return 1
    except click.ClickException as error:
        _say(error.format_message())
        return 1
    except (KeyboardInterrupt, click.Abort):
        _say("Interrupted.\n  What was finished is kept; run the same command again to go on from there.")
        return 1
    except BrokenPipeError:
        # The reader of our output has left (as in `modelyard runs | head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        _say(_unexpected(error))
        return 1


def _unexpected(error: Exception) -> str:
    """Keep the traceback of a fault of ours in a file, and return what a user is told."""
    text = "".join(traceback.format_exception(error))
    if os.environ.get("MODELYARD_DEBUG"):
        return text
    handle, name = tempfile.mkstemp(prefix="modelyard-", suffix=".txt")
    os.close(handle)
    Path(name).write_text(text)
    return f"{type(error).__name__}: {error}\n  This is a fault of modelyard. What happened is written in {name}"


def _say(text: str) -> None:
    click.echo(click.style("error: ", fg="red") + text, err=True)
