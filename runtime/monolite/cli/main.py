"""The command `monolite`: finds the command that was asked for, runs it, prints its answer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol, cast

from monolite import __version__
from monolite.cli.answer import Answer
from monolite.cli.console import Console

COMMANDS = {
    "demo": "kill a run in the middle of its work, and watch it finish",
    "serve": "run the workflows of a file until told to stop",
    "spawn": "start a run",
    "signal": "send a message into a run",
    "ls": "list runs, and what each waits for",
    "show": "show what a run did",
    "cancel": "ask a run to stop",
    "doctor": "check a file, and what is in it",
}

INTERRUPTED = 130
"""The status of a command that was ended with Ctrl-C, by a shell's convention."""

EPILOG = "exit status: 0 it worked, 1 it failed, 2 it was misused"


class Command(Protocol):
    """What the module of a command holds."""

    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Answer]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; misuse that argparse sees exits with 2."""
    words = sys.argv[1:] if argv is None else list(argv)
    name = next((word for word in words if not word.startswith("-")), None)
    # Only the module of the command that was asked for is imported: `--help` stays quick.
    command = _command(name) if name in COMMANDS else None
    args = _parser(name, command).parse_args(words)
    assert command is not None, "the parser takes the names in COMMANDS only"
    console = Console(sys.stdout, sys.stderr)
    try:
        answer = command.run(args)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        from monolite.cli import refusal

        status = refusal.status_of(error)
        if status is None:
            raise
        console.complain(refusal.words_of(error))
        return status
    return console.publish(answer, as_json=vars(args).get("json", False))


def _command(name: str | None) -> Command:
    return cast("Command", import_module(f"monolite.cli.{name}"))


def _parser(chosen: str | None, command: Command | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "monolite", description="Durable actors in one SQLite file.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"monolite {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
        if name == chosen and command is not None:
            command.arguments(sub)
    return parser


if __name__ == "__main__":
    sys.exit(main())
