"""A model of another family, shown its conversation by the template that its GGUF carries: Jinja, in a sandbox.

The template is a program by whoever made the file: it can reach nothing but what it is given, and is held to limits of
time, memory and output. What a person, a tool or the model said is hidden from the search for control tokens (see
minichat.engine.marks): what could become one is marked before the template runs and put back as text after. So only
the template itself can write a control token.

    messages --mark--> template --split at control tokens--> Control and text --unmark--> pieces

The variables and filters are those that Hugging Face's tools give to such templates.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from minichat.engine.marks import Marks, texts_in
from minichat.engine.watchdog import watch_python
from minichat.template.pieces import Control, Piece, Text
from quant.errors import TemplateError

if TYPE_CHECKING:
    from types import FrameType

    from jinja2 import Environment, Template

TIME_S = 5.0
MAX_OUTPUT = 1 << 22  # characters, beside twice those that the template is given
MEMORY_BYTES = 1 << 30  # more than the process had, while the template runs; Linux only
_MAX_PRODUCT = 1 << 24  # characters or items that `*` may make
_MAX_POWER_BITS = 1 << 12


class _TooLongError(Exception):
    """Raised inside the template by a timer."""


def apply(
    source: str,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    controls: Collection[str],
    bos: str,
    eos: str,
) -> list[Piece]:
    """The pieces that the template `source` makes of messages and tools in OpenAI's shape.

    controls: the names of the control tokens; bos, eos: two of them. Raises TemplateError for whatever goes wrong with
    the template, one line. Must run in the main thread, where a timer can end it.
    """
    texts = [*texts_in(list(messages)), *texts_in(list(tools))]
    longest = MAX_OUTPUT + 2 * sum(map(len, texts))
    marks = Marks(controls, [*texts, source])
    hidden = [{**marks.hide(message), "role": message["role"]} for message in messages]
    given = {
        "messages": hidden,
        "tools": marks.hide(list(tools)) or None,
        "documents": None,
        "add_generation_prompt": True,
        "bos_token": bos,
        "eos_token": eos,
    }
    try:
        with watch_python("the model's own template", 4 * TIME_S), _memory(MEMORY_BYTES), _timer(TIME_S):
            return marks.pieces(_written(_compiled(source).generate(given), longest))
    except TemplateError as error:
        raise TemplateError(marks.restored(str(error))) from None
    except _TooLongError:
        raise TemplateError(f"the model's own template took longer than {TIME_S:g} s{_ADVICE}") from None
    except (MemoryError, RecursionError) as error:
        raise TemplateError(f"the model's own template needs too much memory{_ADVICE}") from error
    except Exception as error:  # a template can raise whatever Python can
        reason = marks.restored(" ".join(str(error).split())[:200]) or type(error).__name__
        raise TemplateError(f"the model's own template fails: {reason}{_ADVICE}") from error


def stripped(pieces: Sequence[Piece], strips: Callable[[str], tuple[bool, bool]]) -> list[Piece]:
    """The pieces without the white space that control tokens take out of the texts beside them, as Phi-3's do.

    strips: of a control token's name, whether it takes the space before it, and that behind it.

    >>> stripped([Control("<|end|>"), Text("\\nHi ")], lambda name: (False, True))
    [Control(name='<|end|>'), Text(text='Hi ')]
    """
    texts = [piece.text if isinstance(piece, Text) else None for piece in pieces]
    for n, piece in enumerate(pieces):
        if isinstance(piece, Control):
            before, behind = strips(piece.name)
            if before and n and (text := texts[n - 1]) is not None:
                texts[n - 1] = text.rstrip(_SPACE)
            if behind and n + 1 < len(pieces) and (text := texts[n + 1]) is not None:
                texts[n + 1] = text.lstrip(_SPACE)
    paired = zip(pieces, texts, strict=True)
    return [piece if text is None else Text(text) for piece, text in paired if text != ""]


_SPACE = " \t\n\v\f\r"  # as C's isspace, which llama.cpp asks
_ADVICE = " (--template names one of Mistral's)"


def _written(parts: Iterator[str], longest: int) -> str:
    kept: list[str] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > longest:
            raise TemplateError(f"the model's own template writes more than {longest / 1e6:.1f} million characters")
        kept.append(part)
    return "".join(kept)


@lru_cache(maxsize=1)
def _compiled(source: str) -> Template:
    return _environment().from_string(source)


def _environment() -> Environment:
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.nodes import CallBlock
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %}: marks for training what the model says; here it only holds its text."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

        def _said(self, caller: Callable[[], str]) -> str:
            return caller()

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _check_product(operator, left, right)
            return super().call_binop(context, operator, left, right)

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            # Bytes can be decoded to what no mark hides.
            return attr != "encode" and super().is_safe_attribute(obj, attr, value)

    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation])
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _raise, "strftime_now": _now}
    environment.exceptions = jinja2.exceptions  # type: ignore[attr-defined]
    return environment


def _check_product(operator: str, left: Any, right: Any) -> None:
    """Refuses what would fill the memory at one stroke."""
    if operator == "**":
        bits = left.bit_length() * right if isinstance(left, int) and isinstance(right, int) else 0
        if bits > _MAX_POWER_BITS:
            raise ValueError("a power that is too large")
        return
    for sized, factor in ((left, right), (right, left)):
        if isinstance(sized, (str, list, tuple)) and isinstance(factor, int) and len(sized) * factor > _MAX_PRODUCT:
            raise ValueError("a product that is too long")
        if isinstance(sized, int) and sized.bit_length() > _MAX_PRODUCT:
            raise ValueError("a product that is too large")


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **others: Any) -> str:
    del ensure_ascii  # marks must stay as they are
    kept = {key: others[key] for key in ("separators", "sort_keys") if key in others}
    # Part by part: `dumps` would be one call of C code, which no timer ends.
    return "".join(json.JSONEncoder(ensure_ascii=False, indent=indent, **kept).iterencode(value))


def _raise(message: object) -> None:
    raise TemplateError(f"the model's own template says: {' '.join(str(message).split())[:200]}")


def _now(form: str) -> str:
    from datetime import datetime

    return datetime.now().astimezone().strftime(str(form))


@contextmanager
def _timer(seconds: float) -> Iterator[None]:
    """Raises _TooLongError in the block after `seconds`, where there are such timers; else the watchdog is left."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _memory(more_bytes: int) -> Iterator[None]:
    """A limit on how much the process may grow in the block: a MemoryError beyond it. Linux only."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            pages = int(file.read().split()[0])
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + more_bytes
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
