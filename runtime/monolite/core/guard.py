"""The guard: raises NotDurable when workflow code does real I/O or starts a thread.

Python reports such calls to audit hooks (PEP 578). The hook looks at them only while a
workflow's loop is running on the calling thread, so that everything else in the process is
left alone. Imports and tracebacks inside a workflow may read source files, and what it logs may
go to a file that is opened or rotated just then.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

from monolite.core.loop import running_loop
from monolite.errors import NotDurable

_OUTSIDE = {
    "open": "open()",
    "_thread.start_new_thread": "starting a thread",
    "_thread.start_joinable_thread": "starting a thread",
    "time.sleep": "time.sleep()",
    "socket.__new__": "opening a socket",
    "socket.connect": "socket.connect()",
    "socket.bind": "socket.bind()",
    "socket.sendto": "socket.sendto()",
    "socket.getaddrinfo": "a DNS look-up",
    "socket.gethostbyname": "a DNS look-up",
    "subprocess.Popen": "starting a process",
    "os.system": "os.system()",
    "os.exec": "os.exec()",
    "os.fork": "os.fork()",
    "os.forkpty": "os.forkpty()",
    "os.posix_spawn": "starting a process",
    "os.spawn": "starting a process",
    "os.kill": "os.kill()",
    "os.listdir": "os.listdir()",
    "os.scandir": "os.scandir()",
    "os.mkdir": "os.mkdir()",
    "os.remove": "os.remove()",
    "os.rename": "os.rename()",
    "os.rmdir": "os.rmdir()",
    "os.truncate": "os.truncate()",
    "shutil.copyfile": "shutil.copyfile()",
    "shutil.move": "shutil.move()",
    "shutil.rmtree": "shutil.rmtree()",
    "sqlite3.connect": "sqlite3.connect()",
    "urllib.Request": "an HTTP request",
    "http.client.connect": "an HTTP connection",
    "ftplib.connect": "an FTP connection",
    "smtplib.connect": "an SMTP connection",
    "builtins.input": "input()",
}

_MAY_READ = ("<frozen importlib", "linecache.py", "tokenize.py", "zipimport")
# An import may also write what it compiled: it makes a directory, and renames a file into place.
_MAY_READ_EVENTS = frozenset(
    {"open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove"}
)
_LOGGING = ("logging/__init__.py", "logging/handlers.py")
FRAMES_MAX = 40

_installed: list[bool] = []


def install() -> None:
    """Install the audit hook, once per process (Python cannot remove one)."""
    if not _installed:
        _installed.append(True)
        sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event in _OUTSIDE and running_loop() is not None:
        _refuse(event, args)


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    if event in _MAY_READ_EVENTS and _is_harmless():
        return
    call = _OUTSIDE[event]
    if event == "open" and args:
        call = f"open({args[0]!r})"
    elif args and isinstance(args[0], str):
        call = f"{call} ({args[0]!r})"
    raise NotDurable(call)


def _is_harmless() -> bool:
    """Return whether it is an import, a traceback or a log that opens the file."""
    frame = inspect.currentframe()
    for _ in range(FRAMES_MAX):
        if frame is None:
            return False
        name = frame.f_code.co_filename
        if name.startswith(_MAY_READ[0]) or name.endswith(_MAY_READ[1:] + _LOGGING):
            return True
        frame = frame.f_back
    return False
