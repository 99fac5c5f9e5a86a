"""The console: what a command prints, and what happens when nobody reads it."""

from __future__ import annotations

import contextlib
import io
import os
from typing import TextIO

from monolite.cli.answer import Answer
from monolite.cli.words import one_line


class Console:
    """Answers on stdout, everything else on stderr. A reader that leaves early is no error."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        for stream in (out, err):
            if isinstance(stream, io.TextIOWrapper):
                # A terminal without Unicode must not turn an answer into an error.
                stream.reconfigure(errors="backslashreplace")

    def publish(self, answer: Answer, *, as_json: bool) -> int:
        """Print an answer and return the exit status it means."""
        if as_json:
            self._say(_document(answer.data))
        elif answer.text:
            self._say(answer.text)
        if answer.hint is not None:
            self.complain(answer.hint)
        if answer.problem is not None:
            self.complain(answer.problem)
        return 0 if answer.problem is None else 1

    def complain(self, message: str) -> None:
        """Print one line of diagnostics."""
        with contextlib.suppress(OSError):
            print(f"monolite: {one_line(message)}", file=self._err, flush=True)

    def _say(self, text: str) -> None:
        try:
            print(text, file=self._out, flush=True)
        except OSError as error:
            # What is still in the buffer must not be written, and fail, once more at exit.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._out.fileno())
            os.close(nowhere)
            if not isinstance(error, BrokenPipeError):
                raise


def _document(data: object) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode()
