"""Wards: child processes as the annex sees them, from their start until they are gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import monolite
from monolite.host.processes import frames
from monolite.host.processes.frames import Frame, FrameInvalid, Setup
from monolite.host.processes.output import Output

log = logging.getLogger("monolite.processes")

LOOK_S = 0.02
"""How often a process is looked at where the system does not tell of its end."""

GONE_LOOK_S = 0.001
"""How often the rest of a killed group is looked for."""

GONE_S_MAX = 10.0
"""How long a killed group may take to be gone; one that hangs in the kernel is then named."""

LINE_S = 0.1
"""How long the line of a dead process is listened to, if somebody outside its group holds it."""

_BOOT = "import sys; sys.path.insert(0, {root!r}); from monolite.host.processes import child; {run}"


class Ward:
    """One child process, in a session and process group of its own."""

    def __init__(self, setup: Setup) -> None:
        ours, theirs = socket.socketpair()
        leash, self._leash = os.pipe()
        try:
            self._process = subprocess.Popen(
                _command(theirs.fileno(), leash),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(), leash),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            os.close(self._leash)
            raise
        finally:
            theirs.close()
            os.close(leash)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.output = Output(self._process.stdout, self._process.stderr)
        self.spoilt = False
        """Whether it must not be given another attempt."""
        self._loop = asyncio.get_running_loop()
        self._died = asyncio.Event()
        self._heard: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._socket = ours
        self._setup = setup
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._pidfd = self._watch()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, once it is gone: as `subprocess` has it."""
        return self._process.returncode

    @property
    def alive(self) -> bool:
        return not self._died.is_set()

    async def open(self) -> None:
        """Begin to talk to it."""
        ours = self._socket
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._listening = asyncio.create_task(self._listen(reader))
        self.output.open()
        self.send(self._setup)

    def send(self, frame: Frame) -> None:
        assert self._writer is not None
        with contextlib.suppress(OSError):
            self._writer.write(frames.pack(frame))

    async def hear(self) -> Frame | None:
        """Return what it says next; None once it says nothing any more."""
        return await self._heard.get()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            async for frame in frames.read(reader):
                self._heard.put_nowait(frame)
        except FrameInvalid as error:
            log.warning("process %d wrote into its own line (%s)", self.pid, error)
        finally:
            self._heard.put_nowait(None)

    def forget(self) -> None:
        """Let go of it, in a fork of this process: it must not live as long as the fork."""
        if self._leash >= 0:
            os.close(self._leash)
            with contextlib.suppress(OSError):
                os.close(self._socket.fileno())

    # Its end.

    def _watch(self) -> int | None:
        """Have `_died` set when the process ends, however that comes."""
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                fd = os.pidfd_open(self.pid)
                self._loop.add_reader(fd, self._on_death)
                return fd
        self._loop.call_later(LOOK_S, self._look)
        return None

    def _look(self) -> None:
        if self._ended():
            self._on_death()
        else:
            self._loop.call_later(LOOK_S, self._look)

    def _ended(self) -> bool:
        """Return whether the process has ended. It is left as it is: its number stays taken."""
        try:
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.pid, flags) is not None
        except ChildProcessError:
            return True

    def _on_death(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self._died.set()
        # What it said at last is still on the line, which ends when nobody holds the other end.
        self.kill()
        self._loop.call_later(LINE_S, self._heard.put_nowait, None)

    def kill(self) -> None:
        """Kill the process and all of its group, if it is not gone yet."""
        self.spoilt = True
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill the whole group; it is gone when this returns."""
        self.kill()
        try:
            async with asyncio.timeout(GONE_S_MAX):
                await self._died.wait()
                # It may have died by itself and left others behind. Its number is still taken.
                self.kill()
                self._process.wait()
                while not _group_gone(self.pid):  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(GONE_LOOK_S)
        except TimeoutError:
            log.exception("process group %d was killed and does not end", self.pid)
        self._close()

    def _close(self) -> None:
        self.output.close()
        if self._listening is not None:
            self._listening.cancel()
        if self._writer is not None:
            self._writer.close()
        else:
            self._socket.close()
        if self._leash >= 0:
            os.close(self._leash)
            self._leash = -1


def _command(line: int, leash: int) -> list[str]:
    root = str(Path(monolite.__file__).parent.parent)
    boot = _BOOT.format(root=root, run=f"child.main({line}, {leash})")
    # Unbuffered, so that what it printed before it was killed is heard.
    warnings = [f"-W{option}" for option in sys.warnoptions]
    return [sys.executable, "-u", *warnings, "-c", boot]


def _group_gone(group: int) -> bool:
    """Return whether nobody of a process group is left; take up those that are ours."""
    with contextlib.suppress(ChildProcessError):
        # As process 1 of a container we inherit them.
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return True
    return _only_dead(group)


def _only_dead(group: int) -> bool:
    """Return whether all of a group have ended, and only wait for their parent to notice."""
    if sys.platform != "linux":
        return False
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # "pid (name) state parent group ...", and the name may hold anything.
            state, _parent, its_group = (
                path.read_text("utf-8", "replace").rpartition(")")[2].split()[:3]
            )
        except (OSError, ValueError):
            continue
        if int(its_group) == group and state not in "ZX":
            return False
    return True
