"""Whether llama.cpp takes a grammar, found out where it does no harm: in a process of its own.

Invalid grammars end in errors mostly, but some in a crash (deep nesting), some never (`"a"{5,2}`), and some fill the
memory (`(("a"{1000}){1000}){1000}`). The process has a time and, where the system knows one, a limit of memory.
"""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache

from quant.errors import GrammarError

ROOT = "root"
MAX_BYTES = 4 * 2**20
_TIME_S = 10.0
_MEMORY_BYTES = 2**30
# Started as the engine is: see `minichat.engine.client`.
_START = "import sys; sys.path[:] = filter(None, sys.path); from minichat.engine.grammar_check import main; main()"
_MAX_REASON = 160  # characters


@lru_cache(maxsize=32)
def check(text: str, start: str = ROOT) -> None:
    """Raises GrammarError, in one line, for a text that is no GBNF with a rule `start`, or too much of it."""
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise GrammarError("the grammar is no valid Unicode") from error
    if not raw:
        raise GrammarError("the grammar is empty")  # llama.cpp would allow everything
    if len(raw) > MAX_BYTES:
        raise GrammarError(f"the grammar is longer than {MAX_BYTES // 2**20} MiB")
    if b"\0" in raw:
        raise GrammarError("the grammar has a character U+0000 in it")
    try:
        done = subprocess.run([sys.executable, "-c", _START, start], input=raw, capture_output=True, timeout=_TIME_S)
    except subprocess.TimeoutExpired as error:
        raise GrammarError(f"llama.cpp does not get through with the grammar in {_TIME_S:.0f} s") from error
    except OSError as error:
        raise GrammarError(f"the grammar cannot be checked: {error.strerror or error}") from error
    if done.stdout != b"taken":
        raise GrammarError(f"the grammar is invalid: {_reason(done.stderr.decode(errors='replace'))}")


def _reason(said: str) -> str:
    """What llama.cpp says first, without its own preamble.

    >>> _reason("parse: error parsing grammar: Undefined rule identifier 'b'\\n\\nroot ::= b")
    "Undefined rule identifier 'b'"
    """
    first = next((" ".join(line.split()) for line in said.split("\n") if line.strip()), "")
    reason = first.removeprefix("parse: ").removeprefix("error parsing grammar: ")[:_MAX_REASON]
    return reason or "llama.cpp cannot take it (it is nested too deep, or too large)"


def main() -> None:
    """Reads a grammar from standard input and writes "taken" if llama.cpp takes it."""
    from minichat.engine import binding

    text = sys.stdin.buffer.read()
    c = binding.load()
    _limit_memory()
    if c.llama_sampler_init_grammar(None, text, sys.argv[1].encode()):
        sys.stdout.write("taken")


def _limit_memory() -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
