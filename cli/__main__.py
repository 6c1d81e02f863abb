"""The `attune` command: finds the command's module, and turns every failure into readable lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

# Each command with its module, its name there, and the line that --help shows: a module is
# imported only when its command runs, so that --help takes no time.
COMMANDS = {
    "demo": ("cli.demo.command", "demo", "Go the whole way, from a sentence to a deployed model."),
    "up": ("cli.lifecycle", "up", "Start everything and leave it running."),
    "status": ("cli.lifecycle", "status", "Show what runs, and how it is."),
    "down": ("cli.lifecycle", "down", "End everything that runs here."),
    "dataset": ("cli.datasets", "dataset", "Upload files of examples and look at them."),
    "ask": ("cli.ask", "ask", "Say one thing to the planner."),
    "conversation": (
        "cli.conversations",
        "conversation",
        "Find a talk with the planner and go on with it.",
    ),
    "spec": ("cli.specs", "spec", "Read a plan, change it, approve it."),
    "recipe": (
        "cli.recipes",
        "recipe",
        "Look up where recommended hyperparameters come from.",
    ),
    "grader": ("cli.graders", "grader", "Grade answers, and try graders before training."),
    "compute": (
        "cli.compute",
        "compute",
        "See what a plan needs to run, and what there is.",
    ),
    "job": ("cli.jobs", "job", "Watch what an approved plan does."),
    "model": (
        "cli.versions",
        "model",
        "List tuned models and bases, make bases of tuned ones, export and delete them.",
    ),
    "compare": (
        "cli.playground.answering",
        "compare",
        "Answer PROMPT with two to four models, side by side; one is compared with its base.",
    ),
    "generate": (
        "cli.playground.answering",
        "generate",
        "Answer PROMPT with one model: a base, a version or an alias.",
    ),
    "exchange": (
        "cli.playground.exchanges",
        "exchange",
        "See what models answered, say what is good, make a dataset of it.",
    ),
    "deploy": ("cli.deploy", "deploy", "Put a model version behind an alias."),
    "deployment": (
        "cli.deployments",
        "deployment",
        "See what is deployed, try a new version, take it back.",
    ),
    "engines": ("cli.engines", "engines", "Show what computes answers."),
    "key": ("cli.keys", "key", "Make keys for applications, list them, end them."),
    "usage": ("cli.usage", "usage", "Show what was used by key, model and version."),
    "chat": ("cli.chat", "chat", "Talk to a deployed model."),
}
INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group that imports a command when it is needed."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names in the order of the journey."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return one command, or None if there is none of that name."""
        if name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[name]
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example:  attune demo",
)
@click.version_option(package_name="attune")
def attune() -> None:
    """Customise foundation models: a plan to review, a run to trust, a model to call."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 refused or failed, 2 misused, 130 interrupted."""
    for variable in ("NO_PROXY", "no_proxy"):  # The services are here, whatever the proxy.
        os.environ[variable] = ",".join(
            filter(None, (os.environ.get(variable), "127.0.0.1", "localhost"))
        )
    sys.exit(_run(sys.argv[1:] if arguments is None else list(arguments)))


def _run(arguments: list[str]) -> int:
    try:
        code = attune.main(args=arguments, prog_name="attune", standalone_mode=False)
    except click.ClickException as misuse:
        misuse.show()
        return misuse.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # For the last flush.
        return 1
    except Exception as error:
        for line in _explained(error):
            click.echo(line, err=True)
        return 1
    return code if isinstance(code, int) else 0


def _explained(error: Exception) -> list[str]:
    from cli.failures import explained, log_fault  # Only who fails needs them.
    from services.common.errors import ServiceError

    # What several tasks do at once fails as a group; the first reason is the reason.
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return explained(error) if isinstance(error, ServiceError) else [log_fault(error)]


if __name__ == "__main__":
    main()
