"""The command itself: help, misuse, and what a failure looks like."""

import subprocess
import sys

import click
import pytest

from cli.__main__ import COMMANDS, attune


def commands(group: click.Group, path: tuple[str, ...] = ()):
    """Yield every command with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(attune))


def test_the_list_of_commands_says_what_each_says_of_itself():
    for name, (_, _, line) in COMMANDS.items():
        assert ALL[name,].help.splitlines()[0] == line


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_help_has_one_example_of_that_very_command(path):
    example = ALL[path].epilog
    assert example.startswith("Example:  attune " + path[0])
    assert example.count("attune ") == 1
    if not isinstance(ALL[path], click.Group):
        assert example.startswith("Example:  attune " + " ".join(path))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_example_is_one_that_the_command_takes(path):
    import shlex

    words = shlex.split(ALL[path].epilog.removeprefix("Example:  attune "))
    group, context = attune, click.Context(attune)
    while isinstance(group, click.Group) and words and words[0] in group.list_commands(context):
        group = group.get_command(context, words.pop(0))
    group.make_context("x", words)


@pytest.mark.parametrize(
    "path", [path for path in ALL if path not in {("up",), ("demo",)}], ids=str
)
def test_every_command_writes_json(path):
    command = ALL[path]
    if not isinstance(command, click.Group):
        assert "as_json" in {parameter.name for parameter in command.params}


def test_help_imports_nothing_but_click():
    code = (
        "import sys\n"
        "from cli.__main__ import main\n"
        "try:\n  main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'grpc', 'rich', 'google', 'attune', 'openai', 'psutil', 'services'}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "[]"
    assert "deploy" in result.stdout


def test_misuse_exits_with_two(attune):
    result = attune("spec", "show")
    assert result.code == 2
    assert "Missing argument 'NAME'" in result.err


def test_nothing_running_is_one_line_that_says_what_to_do(attune):
    result = attune("job", "list")
    assert (result.code, result.out) == (1, "")
    assert len(result.err.splitlines()) == 1
    assert "attune up" in result.err


def test_a_fault_shows_no_trace(attune, services, monkeypatch, home):
    def broken(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr("cli.jobs.all_pages", broken)
    result = attune("job", "list")
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert "secret" not in result.err
    assert "secret" in home.log("cli").read_text()


def test_an_interrupt_exits_with_130(attune, services, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.jobs.all_pages", interrupted)
    assert attune("job", "list").code == 130
