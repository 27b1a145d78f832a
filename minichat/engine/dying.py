"""What the engine's process arranges for its own end, before anything can go wrong."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

_OOM_SCORE = "500"  # of 1000: what the system adds to our share of the memory when it looks for whom to kill


def prepare_to_die() -> None:
    """No core file, which would take as long to write as the model is large: the front waits for the pipes to close.

    And if the memory is full, the system should take this process, not the front, which has the conversation.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # else a trace of Python's
    with suppress(ImportError, OSError, ValueError):
        import resource

        # One byte: less than any core, and, other than none, also heeded where cores go to a program.
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (min(1, hard) if hard != resource.RLIM_INFINITY else 1, hard))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
