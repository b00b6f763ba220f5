"""Processes of their own, to be killed or to work side by side, without an interpreter's start.

A server imports what their code imports, once, and forks them. They are used as those of
`subprocess` are.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

_PATH = [*sys.path, str(Path(__file__).parents[1])]
_LENGTH = struct.Struct("I")
_IMPORTS = ast.Import, ast.ImportFrom


class Forked:
    """A running process: the part of `subprocess.Popen` that the tests use."""

    def __init__(self, output: int, errors: int, status: int) -> None:
        self.stdout = os.fdopen(output)
        self.stderr = os.fdopen(errors)
        self._status = os.fdopen(status)
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended: its exit code, or minus the signal that killed it."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            self.returncode = int(self._status.readline())
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, which: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, which)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Return what it still prints, once it has ended. Little is printed to stderr."""
        said = self.stdout.read() if timeout is None else ""
        self.wait(timeout)
        return said or self.stdout.read(), self.stderr.read()

    def __enter__(self) -> Forked:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.kill()
        self.wait()
        for each in (self.stdout, self.stderr, self._status):
            each.close()


class ForkServer:
    """Forks processes that run a piece of code, whose first imports it has made already."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(theirs.fileno()), json.dumps(_PATH)],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        theirs.close()

    def start(self, code: str, *arguments: object) -> Forked:
        """Run code as `python -c` does, in this process's folder and environment."""
        request = json.dumps([code, [str(each) for each in arguments], os.getcwd(), {**os.environ}])
        message = request.encode()
        reads, writes = zip(*(os.pipe() for _ in range(3)), strict=True)
        socket.send_fds(self._socket, [_LENGTH.pack(len(message))], writes)
        self._socket.sendall(message)
        for each in writes:
            os.close(each)
        return Forked(*reads)

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


class Interpreters:
    """In place of a `ForkServer` where processes cannot be forked."""

    def start(self, code: str, *arguments: object) -> subprocess.Popen[str]:
        """Run code in a new interpreter."""
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_PATH)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def close(self) -> None:
        pass


Processes = ForkServer if hasattr(os, "fork") else Interpreters

_SERVE = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from tests.forked import serve
serve(int(sys.argv[1]))
"""


def serve(number: int) -> None:
    """Fork what is asked for, until the other end of the socket is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    asked = socket.socket(fileno=number)
    while True:
        length, given, _, _ = socket.recv_fds(asked, _LENGTH.size, 3)
        if not length:
            return
        left, parts = _LENGTH.unpack(length)[0], []
        while left:
            parts.append(asked.recv(left))
            left -= len(parts[-1])
        request = json.loads(b"".join(parts))
        _import(request[0])
        if os.fork() == 0:
            asked.close()
            _keep(request, *given)
        for each in given:
            os.close(each)


def _import(code: str) -> None:
    body = ast.parse(code).body
    first = list(itertools.takewhile(lambda each: isinstance(each, _IMPORTS), body))
    exec(compile(ast.Module(first, []), "<imports>", "exec"), {})


def _keep(request: Any, output: int, errors: int, status: int) -> None:
    """Start the process, and tell its number and, later, how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.close(status)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.close(output)
        os.close(errors)
        os._exit(_run(*request))
    os.close(output)
    os.close(errors)
    os.write(status, f"{child}\n".encode())
    os.write(status, f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())
    os._exit(0)


def _run(code: str, arguments: list[str], folder: str, environment: dict[str, str]) -> int:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # tests in the background of a shell ignore SIGINT, which children would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["-c", *arguments]
    main = sys.modules["__main__"] = ModuleType("__main__")
    try:
        exec(compile(code, "<forked>", "exec"), main.__dict__)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def said_until_killed(work: Callable[[int], object], shortest: float, longest: float) -> list[int]:
    """Kill a forked process a while after its first line, and return the numbers it has written.

    `work` gets the descriptor that it writes them to, a line each.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        work(write)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        pipe.readline()
        time.sleep(random.uniform(shortest, longest))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return [int(line) for line in pipe.read().split("\n")[:-1]]
