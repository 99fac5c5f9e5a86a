"""Children: real processes that a test starts, listens to, stops, wakes and kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parent.parent.parent


class Child:
    """A Python module in a process of its own. It says what happens in JSON lines on a pipe.

    Nothing here waits for a time: reading blocks until the child speaks or dies.
    """

    def __init__(
        self,
        module: str,
        *args: object,
        env: dict[str, str] | None = None,
        tracer: Sequence[str] = (),
    ) -> None:
        self.said: list[Any] = []
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed on exit
        self._process = subprocess.Popen(
            [*tracer, sys.executable, "-m", module, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(env or {}), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            assert pipe is not None
            pipe.close()

    # Listening.

    def lines(self) -> Iterator[Any]:
        """Everything it says from now on, until it closes its end."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # A child that was killed may leave half a line: it has not said that.
            if line.endswith("\n"):
                self.said.append(json.loads(line))
                yield self.said[-1]

    def hear(self, word: str) -> None:
        """Wait until it says this word; fails if it ends before."""
        for said in self.lines():
            if said == word:
                return
        raise AssertionError(f"the child ended before it said {word!r}: {self.errors()}")

    def errors(self) -> str:
        """What it wrote to its standard error; waits for its end."""
        self._process.wait()
        self._errors.seek(0)
        return self._errors.read()

    # Commanding.

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def finish(self) -> int:
        """Close its standard input, which tells it to leave; return its exit status."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        list(self.lines())
        return self._process.wait()

    def wait(self) -> int:
        """Listen until it has ended; return its exit status."""
        list(self.lines())
        return self._process.wait()

    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def kill(self) -> list[Any]:
        """Kill it as the kernel does, at once; return what it had still said."""
        self._process.send_signal(signal.SIGKILL)
        last_words = list(self.lines())
        assert self._process.wait() == -signal.SIGKILL
        return last_words

    def pause(self) -> None:
        """Stop it with SIGSTOP; returns when it has stopped."""
        self._process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)


def say(what: Any) -> None:
    """Tell the parent, from inside a child: one write, so that threads cannot mix lines."""
    os.write(1, json.dumps(what).encode() + b"\n")
