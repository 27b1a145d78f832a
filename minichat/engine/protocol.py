"""What the front and the engine say to each other: one JSON object a line, over two pipes.

    front -> engine   {"id": 1, "op": "load", "path": "…", "options": {…}}
                      {"id": 2, "op": "generate", "pieces": […], "sampling": {…}, "max_tokens": 256,
                       "room": 1, "grammar": null, "state": "…"}        state: a file that may hold the prompt's begin
                      {"id": 3, "op": "prefill", "pieces": […]}         into the KV cache, no answer; "state" as above
                      {"id": 4, "op": "tokenize", "pieces": […]}
                      {"id": 5, "op": "info"}                           backends, devices, versions
                      {"id": 6, "op": "save", "path": "…", "limit_bytes": 9}    the KV cache, to a file
                      {"op": "stop", "target": 2}                       has no answer of its own
                      {"op": "ping"}                                    is answered at once, whatever is computed
    engine -> front   {"id": 1, "event": "progress", "fraction": 0.4}
                      {"id": 2, "event": "prefill", "done": 512, "total": 900, "reused": 0, "picture": ""}
                      {"id": 2, "event": "chunk", "text": "Hel", "kind": "text"}
                      {"id": 2, "event": "done", …}                     the last one of each request, or
                      {"id": 2, "event": "error", "kind": "ContextError", "message": "…"}
                      {"event": "pong"}

Pieces are those of `minichat.template.pieces`; a picture's pixels are in a file, which the engine reads when it comes
to them: "picture" says so while it does.

Requests are served one after another in the order of their coming. The engine leaves when its standard input ends, so
it never outlives its front.
"""

from __future__ import annotations

import json
from typing import Any

from minichat.engine.types import Chunk, Done, Event, ModelInfo, Prefill, Stats
from quant import errors

Line = dict[str, Any]
PING, PONG = b'{"op":"ping"}\n', b'{"event":"pong"}\n'


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


def event_from(line: Line) -> Event:
    """What a line about an answer says. Raises EngineError for a line that no engine in its senses writes."""
    try:
        match line["event"]:
            case "chunk":
                return Chunk(line["text"], line["kind"])
            case "prefill":
                return Prefill(line["done"], line["total"], line["reused"], line.get("picture", ""))
            case "done":
                spans = tuple((text, is_control) for text, is_control in line["spans"])
                return Done(line["reason"], line["text"], tuple(line["tokens"]), Stats(**line["stats"]), spans)
    except (KeyError, TypeError, ValueError) as error:
        raise _senseless(line) from error
    raise _senseless(line)


def info_from(line: Line) -> ModelInfo:
    """What the last line about loading says of the model. Raises EngineError as `event_from` does."""
    try:
        return ModelInfo(**line["info"])
    except (KeyError, TypeError) as error:
        raise _senseless(line) from error


def _senseless(line: Line) -> errors.EngineError:
    return errors.EngineError(f"the engine's pipe carried what is no event: {str(line)[:80]!r}")


def error_line(request: int, error: errors.MinichatError) -> Line:
    """How `error` travels to the front."""
    return {"id": request, "event": "error", "kind": type(error).__name__, "message": str(error)}


def error_from(line: Line) -> errors.MinichatError:
    """The error that `error_line` put on the line; an unknown kind becomes an EngineError."""
    kind = getattr(errors, str(line.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, errors.MinichatError)):
        kind = errors.EngineError
    return kind(str(line.get("message", "the engine failed without a word")))
