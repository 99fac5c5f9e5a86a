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
    "update": "send a request into a run, and wait for its answer",
    "resolve": "give a promise its value",
    "reject": "give a promise an error",
    "ls": "list runs, and what each waits for",
    "show": "show what a run did",
    "cancel": "ask a run to stop",
    "terminate": "end a run at once, without clean-up",
    "pause": "let a run start nothing new until it is resumed",
    "resume": "let a paused run go on",
    "blocked": "list what is blocked, why, and what to type next",
    "retry": "give what is blocked in a run new attempts, or spawn a failed run again",
    "skip": "let a run go on without what is blocked",
    "set-result": "let a run go on with a result for what is blocked",
    "replay": "check whether today's code still fits the recorded runs",
    "queue": "see what waits in queues; pause, resume, limit, drain them",
    "schedule": "list schedules and steer them",
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
    if not words or words[0] not in COMMANDS:
        return _without_command(words)
    command = _command(words[0])
    args = _arguments(words[0], command).parse_intermixed_args(words[1:])
    console = Console(sys.stdout, sys.stderr)
    try:
        return console.publish(command.run(args), as_json=vars(args).get("json", False))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        from monolite.cli import refusal

        status = refusal.status_of(error)
        if status is None:
            raise
        console.complain(refusal.words_of(error))
        return status


def _without_command(words: list[str]) -> int:
    """Print the help or the version, or exit with what is wrong."""
    parser = argparse.ArgumentParser(
        "monolite", description="Durable actors in one SQLite file.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"monolite {__version__}")
    # argparse leaves room for this word only, so it must be as long as the longest command.
    commands = parser.add_subparsers(title="commands", metavar="COMMAND ARGS", required=True)
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary)
    parser.parse_args(words)
    parser.error("the command comes first")


def _command(name: str) -> Command:
    # Only the module of the command that was asked for is imported: `--help` stays quick.
    return cast("Command", import_module(f"monolite.cli.{name.replace('-', '_')}"))


def _arguments(name: str, command: Command) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        f"monolite {name}", description=f"{COMMANDS[name].capitalize()}.", epilog=EPILOG
    )
    command.arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
