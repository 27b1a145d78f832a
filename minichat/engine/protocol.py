"""What the front and the engine say to each other: one JSON object a line, over two pipes.

    front -> engine   {"id": 1, "op": "load", "path": "…", "options": {…}}
                      {"id": 2, "op": "generate", "pieces": […], "sampling": {…}, "max_tokens": 256,
                       "room": 1, "grammar": null}
                      {"id": 3, "op": "prefill", "pieces": […]}         into the KV cache, no answer
                      {"id": 4, "op": "tokenize", "pieces": […]}
                      {"id": 5, "op": "info"}                           backends, devices, versions
                      {"op": "stop", "target": 2}                       has no answer of its own
    engine -> front   {"id": 1, "event": "progress", "fraction": 0.4}
                      {"id": 2, "event": "prefill", "done": 512, "total": 900, "reused": 0}
                      {"id": 2, "event": "chunk", "text": "Hel", "kind": "text"}
                      {"id": 2, "event": "done", …}                     the last one of each request, or
                      {"id": 2, "event": "error", "kind": "ContextError", "message": "…"}

Requests are served one after another in the order of their coming. The engine leaves when its standard input ends, so
it never outlives its front.
"""

from __future__ import annotations

import json
from typing import Any

from quant import errors

Line = dict[str, Any]


def encode(line: Line) -> bytes:
    r"""One line of the protocol.

    >>> encode({"id": 1, "event": "chunk", "text": "a\n"})
    b'{"id":1,"event":"chunk","text":"a\\n"}\n'
    """
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def decode(raw: bytes) -> Line:
    """The object on one line. Raises EngineError for anything else."""
    try:
        line = json.loads(raw)
    except ValueError as error:
        raise errors.EngineError(f"the engine's pipe carried something else than JSON: {raw[:80]!r}") from error
    if not isinstance(line, dict):
        raise errors.EngineError(f"the engine's pipe carried something else than an object: {raw[:80]!r}")
    return line


def error_line(request: int, error: errors.MinichatError) -> Line:
    """How `error` travels to the front."""
    return {"id": request, "event": "error", "kind": type(error).__name__, "message": str(error)}


def error_from(line: Line) -> errors.MinichatError:
    """The error that `error_line` put on the line; an unknown kind becomes an EngineError."""
    kind = getattr(errors, str(line.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, errors.MinichatError)):
        kind = errors.EngineError
    return kind(str(line.get("message", "the engine failed without a word")))
