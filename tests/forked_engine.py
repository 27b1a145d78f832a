"""Engines that are forked from one that has imported everything: a hundredth of a second each, where starting one takes
a third of one. For tests that show llama.cpp thousands of files.

    with ForkedEngines() as engines:
        monkeypatch.setattr("minichat.engine.starting.take", engines.take)

`ForkedEngines` talks to a process of its own, this file run as a program, which has no threads, and forks one engine
for each `take`. An engine has its memory bounded, so that a file that asks for too much of it is not the machine's end.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent
MEMORY_BYTES = 4 << 30
_POLL_S = 0.002


class ForkedProcess:
    """What the client uses of subprocess.Popen."""

    def __init__(self, server: socket.socket, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._server, self.pid, self.stdin, self.stdout = server, pid, stdin, stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self._server.sendall(json.dumps({"poll": self.pid}).encode())
            self.returncode = json.loads(self._server.recv(100))
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("engine", timeout)
            time.sleep(_POLL_S)
        return code

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


class ForkedEngines:
    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._server = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=os.environ | {"OMP_THREAD_LIMIT": "1", "GGML_NO_BACKTRACE": "1", "PYTHONPATH": str(ROOT)},
        )
        theirs.close()

    def take(self) -> tuple[ForkedProcess, IO[bytes]]:
        """In the place of `minichat.engine.starting.take`."""
        their_in, our_in = os.pipe()
        our_out, their_out = os.pipe()
        diagnostics = tempfile.TemporaryFile()  # noqa: SIM115 - the client closes it
        socket.send_fds(self._socket, [b'{"fork": 1}'], [their_in, their_out, diagnostics.fileno()])
        os.close(their_in)
        os.close(their_out)
        pid = json.loads(self._socket.recv(100))
        return ForkedProcess(self._socket, pid, os.fdopen(our_in, "wb", 0), os.fdopen(our_out, "rb", 0)), diagnostics

    def __enter__(self) -> ForkedEngines:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        assert self._server.wait(20) == 0


def serve(server: socket.socket) -> None:
    """Forks engines, and tells of each whether it has ended, and how. An engine that is asked of is told once."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(server, 100, 3)
        if not message:
            return
        task: dict[str, Any] = json.loads(message)
        if "fork" in task:
            child = os.fork()
            if not child:
                _run(server, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            answer: int | None = child
        else:
            done, status = os.waitpid(task["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if done else None
        server.sendall(json.dumps(answer).encode())


def _run(server: socket.socket, descriptors: list[int]) -> None:
    import resource

    from minichat.engine import worker

    server.close()
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with contextlib.suppress(BaseException):
        worker.main()
    os._exit(70)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from minichat.engine import worker

    with Path(os.devnull).open("wb", buffering=0) as nowhere:
        worker.Worker(nowhere).get_ready()
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
