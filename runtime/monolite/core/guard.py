"""The guard: raises NotDurable when workflow code does real I/O or starts a thread.

Python reports such calls to audit hooks (PEP 578). The hook looks at them only while a
workflow's loop is running on the calling thread, so that everything else in the process is
left alone. Imports and tracebacks inside a workflow may read source files, and what it logs may
go wherever the program logs to.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

from monolite.core.loop import running_loop
from monolite.errors import NotDurable

OUTSIDE = {
    # Files.
    "open": "open()",
    "os.chdir": "os.chdir()",
    "os.chflags": "os.chflags()",
    "os.chmod": "os.chmod()",
    "os.chown": "os.chown()",
    "os.fwalk": "os.fwalk()",
    "os.getxattr": "os.getxattr()",
    "os.link": "os.link()",
    "os.listdir": "os.listdir()",
    "os.listdrives": "os.listdrives()",
    "os.listmounts": "os.listmounts()",
    "os.listvolumes": "os.listvolumes()",
    "os.listxattr": "os.listxattr()",
    "os.lockf": "os.lockf()",
    "os.mkdir": "os.mkdir()",
    "os.remove": "os.remove()",
    "os.removexattr": "os.removexattr()",
    "os.rename": "os.rename()",
    "os.rmdir": "os.rmdir()",
    "os.scandir": "os.scandir()",
    "os.setxattr": "os.setxattr()",
    "os.symlink": "os.symlink()",
    "os.truncate": "os.truncate()",
    "os.utime": "os.utime()",
    "os.walk": "os.walk()",
    "fcntl.fcntl": "fcntl.fcntl()",
    "fcntl.flock": "fcntl.flock()",
    "fcntl.ioctl": "fcntl.ioctl()",
    "fcntl.lockf": "fcntl.lockf()",
    "glob.glob": "glob.glob()",
    "mmap.__new__": "mapping memory",
    "msvcrt.locking": "msvcrt.locking()",
    "pathlib.Path.glob": "Path.glob()",
    "pathlib.Path.rglob": "Path.rglob()",
    "shutil.chown": "shutil.chown()",
    "shutil.copyfile": "shutil.copyfile()",
    "shutil.copymode": "shutil.copymode()",
    "shutil.copystat": "shutil.copystat()",
    "shutil.copytree": "shutil.copytree()",
    "shutil.make_archive": "shutil.make_archive()",
    "shutil.move": "shutil.move()",
    "shutil.rmtree": "shutil.rmtree()",
    "shutil.unpack_archive": "shutil.unpack_archive()",
    "sqlite3.connect": "sqlite3.connect()",
    "tempfile.mkdtemp": "tempfile.mkdtemp()",
    "tempfile.mkstemp": "tempfile.mkstemp()",
    # Threads, processes, and waiting for them.
    "_thread.start_new_thread": "starting a thread",
    "_thread.start_joinable_thread": "starting a thread",
    "_winapi.CreateProcess": "starting a process",
    "builtins.input": "input()",
    "os.exec": "os.exec()",
    "os.fork": "os.fork()",
    "os.forkpty": "os.forkpty()",
    "os.kill": "os.kill()",
    "os.killpg": "os.killpg()",
    "os.posix_spawn": "starting a process",
    "os.spawn": "starting a process",
    "os.startfile": "os.startfile()",
    "os.system": "os.system()",
    "pty.spawn": "pty.spawn()",
    "resource.prlimit": "resource.prlimit()",
    "resource.setrlimit": "resource.setrlimit()",
    "signal.pthread_kill": "signal.pthread_kill()",
    "subprocess.Popen": "starting a process",
    "syslog.syslog": "syslog.syslog()",
    "time.sleep": "time.sleep()",
    "webbrowser.open": "webbrowser.open()",
    # The network.
    "ftplib.connect": "an FTP connection",
    "ftplib.sendcmd": "an FTP command",
    "http.client.connect": "an HTTP connection",
    "http.client.send": "an HTTP request",
    "imaplib.open": "an IMAP connection",
    "imaplib.send": "an IMAP command",
    "nntplib.connect": "an NNTP connection",
    "nntplib.putline": "an NNTP command",
    "poplib.connect": "a POP connection",
    "poplib.putline": "a POP command",
    "smtplib.connect": "an SMTP connection",
    "smtplib.send": "an SMTP command",
    "socket.__new__": "opening a socket",
    "socket.bind": "socket.bind()",
    "socket.connect": "socket.connect()",
    "socket.getaddrinfo": "a DNS look-up",
    "socket.gethostbyaddr": "a DNS look-up",
    "socket.gethostbyname": "a DNS look-up",
    "socket.gethostname": "socket.gethostname()",
    "socket.getnameinfo": "a DNS look-up",
    "socket.getservbyname": "socket.getservbyname()",
    "socket.getservbyport": "socket.getservbyport()",
    "socket.sendmsg": "socket.sendmsg()",
    "socket.sendto": "socket.sendto()",
    "socket.sethostname": "socket.sethostname()",
    "telnetlib.Telnet.open": "a Telnet connection",
    "telnetlib.Telnet.write": "a Telnet command",
    "urllib.Request": "an HTTP request",
}
"""What Python reports of files, processes and the network, and how a refusal names it.

Looking at a file (`os.stat`, `Path.exists`) and sending on a socket that is open are not reported.
"""

_IMPORTING = ("<frozen importlib", "linecache.py", "tokenize.py", "zipimport")
# An import may also write what it compiled: it makes a directory, and renames a file into place.
_IMPORTS_MAY = frozenset({"open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove"})
_LOGGING = ("logging/__init__.py", "logging/handlers.py")
FRAMES_MAX = 40

_installed: list[bool] = []


def install() -> None:
    """Install the audit hook, once per process (Python cannot remove one)."""
    if not _installed:
        _installed.append(True)
        sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event in OUTSIDE and running_loop() is not None:
        _refuse(event, args)


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    if _is_harmless(event):
        return
    call = OUTSIDE[event]
    if event == "open" and args:
        call = f"open({args[0]!r})"
    elif args and isinstance(args[0], str):
        call = f"{call} ({args[0]!r})"
    raise NotDurable(call)


def _is_harmless(event: str) -> bool:
    """Return whether it is an import, a traceback or a log that does this."""
    frame = inspect.currentframe()
    for _ in range(FRAMES_MAX):
        if frame is None:
            return False
        name = frame.f_code.co_filename
        if name.endswith(_LOGGING):
            return True
        if event in _IMPORTS_MAY and (
            name.startswith(_IMPORTING[0]) or name.endswith(_IMPORTING[1:])
        ):
            return True
        frame = frame.f_back
    return False
