"""The engine as the front sees it: start the process, send requests, read typed events.

`Engine(path, options)` returns at once; the model loads while the front goes on. Whatever happens to the process, the
front gets one EngineError with one line; it can close this engine and start another. That it got stuck is noticed while
somebody waits for it (`minichat.engine.pulse`): then it is ended.
"""

from __future__ import annotations

import io
import os
import queue
import select
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from minichat.engine import protocol, starting
from minichat.engine.ending import describe_end, memory_kills
from minichat.engine.pulse import PING_AFTER, TICK_S, Pulse, read_signs
from minichat.engine.types import Event, LoadOptions, ModelInfo, Sampling
from minichat.template.messages import Message
from minichat.template.openai import message_value
from minichat.template.pieces import Image, Piece, from_json, to_json
from minichat.template.tools import Tool, tool_value
from quant.errors import EngineDiedError, EngineError, MinichatError

if TYPE_CHECKING:
    from minichat.pictures.album import Picture

T = TypeVar("T")

_CLOSE_S = 2.0
_LAST = ("done", "error")


class Engine:
    """One engine process; a context manager. One request at a time; only `stop()` may come from elsewhere."""

    def __init__(self, path: Path | None, options: LoadOptions | None = None) -> None:
        """Starts the process and has it load the GGUF at `path` (None: load nothing, for `describe`)."""
        try:
            self._process, self._diagnostics = starting.take()
        except OSError as error:
            raise EngineError(f"the engine cannot be started: {error.strerror or error}") from error
        self.failure: MinichatError | None = None  # why the model cannot be loaded, as soon as the process has told
        self.pictures: Callable[[str], Picture] | None = None  # a picture by its source, for the prompts that have any
        self.on_end: Callable[[], object] | None = None  # called, from a thread, when that is set or the process ended
        self._stuck = ""  # why it was ended
        self._kills_before: int | None = None  # processes that the system killed for their memory
        self._pulse = Pulse()
        self._path = path
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)
        self._lines: deque[bytes] = deque()  # what has come, the last one b"" at its end
        self._came: queue.SimpleQueue[None] = queue.SimpleQueue()  # for who waits: look again
        threading.Thread(target=self._read, daemon=True).start()
        self._last_id = 0
        self._open = 0  # the request whose last line has not come yet
        self._is_ahead = False  # that one only reads ahead
        self._writing = self._stop_waits = False
        self._unsent = b""  # the rest of a line, if its writing was interrupted
        self._state: Path | None = None  # what the next prompt may begin with
        self._info: ModelInfo | None = None
        self._failure: MinichatError | None = None
        if path is not None:
            self._send("load", path=os.fspath(path), options=asdict(options or LoadOptions()))

    def wait_loaded(self, on_progress: Callable[[float], None] | None = None) -> ModelInfo:
        """Waits until the model is loaded. `on_progress` gets the fraction of the file that is read, 0 to 1.

        Raises GgufError for a file that llama.cpp does not take, EngineError if the process died. Asked again, it
        answers the same at once.
        """
        while self._info is None and self._failure is None and self._open:
            self._hear_of_loading(on_progress)
        if self._failure is not None:
            raise self._failure
        if self._info is None:
            raise EngineError("the engine was started without a model")
        return self._info

    def is_loaded(self) -> bool:
        """Whether the model is there, as far as the process has told by now. Never waits, and never raises."""
        while self._info is None and self._failure is None and self._open and self._lines:
            self._hear_of_loading(None)
        return self._info is not None

    def generate(
        self,
        pieces: Sequence[Piece],
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
        room: int = 1,
        grammar: str | None = None,
    ) -> Answer:
        """Starts an answer. Iterate over it for its events; the last one is its Done.

        max_tokens: None goes on until the model ends, or the context is full. room: tokens that the prompt must leave
        free in the context. grammar: what the answer must be, in llama.cpp's GBNF, from its rule `root`. Raises, while
        iterating, ContextError for a prompt that does not fit, GrammarError for a grammar that is none or that the
        model cannot go on with, and EngineError if the process died.
        """
        limits = {"max_tokens": max_tokens, "room": room, "grammar": grammar}
        pieces = self.with_pictures(pieces)
        fields = {"sampling": asdict(sampling or Sampling()), **limits, **self._offered()}
        return Answer(self, self._ask("generate", pieces, **fields))

    def prefill(self, pieces: Sequence[Piece], *, ahead: bool = False) -> Answer:
        """Decodes a prompt into the KV cache without answering it; its Done carries no tokens.

        ahead: the text at its end is still being typed. It is decoded in short batches, and is nothing to keep; what
        the next `generate` finds under way it lets come to its end, for it is a part of that prompt.
        """
        pieces = self.with_pictures(pieces)
        answer = Answer(self, self._ask("prefill", pieces, ahead=ahead, **self._offered()))
        self._is_ahead = ahead
        return answer

    def restore(self, path: Path) -> None:
        """What the next prompt begins with may stand in a file of `save`: read from there if that is quicker.

        Nothing is asked of the process yet, and a file that is damaged, or belongs to something else, is passed over.
        """
        self._state = path

    def save(self, path: Path, limit_bytes: int) -> int:
        """Keeps the KV cache in a file for `restore`; its length, 0 if that is above the limit or would save no time.

        Raises StorageError for a disk that cannot be written, EngineError if the process died.
        """
        self.wait_loaded()
        return int(self._result(self._send("save", path=os.fspath(path), limit_bytes=limit_bytes))["bytes"])

    def stop(self, *, gently: bool = False) -> None:
        """Ends the answer under way, which then still yields its Done. Safe in a signal handler.

        gently: at the end of the batch that is being decoded, which is kept then.
        """
        if self._writing:
            self._stop_waits = True  # a handler that ran in the middle of a line: `_write` sends it behind that
        elif self._open:
            self._write({"op": "stop", "target": self._open, "gently": gently})

    def tokenize(self, pieces: Sequence[Piece]) -> tuple[list[int], list[tuple[str, bool]]]:
        """The token ids of a prompt, and its text in spans: (text, whether it is the name of a control token)."""
        line = self._result(self._ask("tokenize", pieces))
        return line["tokens"], [(text, is_control) for text, is_control in line["spans"]]

    def apply_template(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[Piece]:
        """The prompt that the template in the model's own file makes: for a model of another family.

        Raises TemplateError for what that template does not take, and for one that does not come to an end.
        """
        self.wait_loaded()
        values = {"messages": [message_value(m) for m in messages], "tools": [tool_value(tool) for tool in tools]}
        return [from_json(piece) for piece in self._result(self._send("apply_template", **values))["pieces"]]

    def resize(self, ctx: int) -> ModelInfo:
        """Makes `ctx` tokens the longest context; what has been read of the conversation is kept.

        Raises UsageError for more than the model was trained for, FitError for more than memory has room for.
        """
        self.wait_loaded()
        self._result(self._send("resize", ctx=ctx))
        return self.wait_loaded()

    def describe(self) -> dict[str, Any]:
        """llama.cpp's version, backends and devices, as plain data."""
        info: dict[str, Any] = self._result(self._send("info"))["info"]
        return info

    def has_died(self) -> bool:
        """Whether the process is gone. Never waits."""
        return self._process.poll() is not None

    def check_alive(self) -> None:
        """Raises EngineDiedError, which says how, if the process is gone. Never waits otherwise."""
        if self.has_died():
            raise self._death()

    def close(self) -> None:
        """Ends the process: by closing its input, and if it does not heed that, by killing it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._diagnostics.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hear_of_loading(self, on_progress: Callable[[float], None] | None) -> None:
        """Takes in the next line about the model, `load` being the request that is open.

        A KeyboardInterrupt may fall anywhere: the line is taken off last.
        """
        try:
            line = protocol.decode(self._receive())
            if line.get("event") == "progress" and on_progress is not None:
                on_progress(line.get("fraction", 0.0))
            elif line.get("event") == "done":
                self._info = protocol.info_from(line)
            elif line.get("event") == "error":
                raise protocol.error_from(line)
        except MinichatError as error:
            self._failure = self._reason_of(error)
        if self._info is not None or self._failure is not None:
            self._open = 0
        self._drop()

    def _take_ctx(self, line: protocol.Line) -> None:
        """The context may have become shorter than it was to be: memory did not let it grow."""
        if self._info is not None and line.get("ctx", self._info.ctx) != self._info.ctx:
            self._info = replace(self._info, ctx=line["ctx"])

    def _reason_of(self, failure: MinichatError) -> MinichatError:
        """Why the file was not loaded: where llama.cpp gave up on it, what is wrong with it, if that can be told."""
        if isinstance(failure, EngineDiedError) and "SIGABRT" in failure.what and self._path is not None:
            from minichat.engine.soundness import check_deeply

            try:
                check_deeply(self._path)
            except MinichatError as reason:
                return reason
        return failure

    def _ask(self, op: str, pieces: Sequence[Piece], **fields: Any) -> int:
        pieces = self.with_pictures(pieces)
        return self._send(op, pieces=[to_json(piece) for piece in pieces], **fields)

    def with_pictures(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces of a prompt with what its pictures look like; this reads them, which may take long.

        DataError for one that cannot be read.
        """
        self.wait_loaded()
        return [self._resolved(piece) for piece in pieces]

    def _resolved(self, piece: Piece) -> Piece:
        """A picture with its size and its pixels, which are read now if they were not before. Others as they are."""
        if not isinstance(piece, Image) or piece.columns or self.pictures is None:
            return piece
        seen = self.pictures(piece.source)
        return Image(seen.name, seen.columns, seen.rows, os.fspath(seen.pixels), seen.key)

    def _offered(self) -> dict[str, str]:
        """What `restore` was given, once: the process keeps it until it has looked at it."""
        path, self._state = self._state, None
        return {"state": os.fspath(path)} if path is not None else {}

    def _result(self, request: int) -> protocol.Line:
        *_, last = _Lines(self, request, lambda line: line)
        return last

    # The pipes.

    def _send(self, op: str, **fields: Any) -> int:
        self.stop(gently=self._is_ahead and op == "generate")  # an answer that nobody reads any more
        self._is_ahead = False
        self._last_id += 1
        self._open = self._last_id
        self._write({"id": self._last_id, "op": op, **fields})
        return self._last_id

    def _write(self, line: protocol.Line) -> None:
        raw = protocol.encode(line)
        self._writing = True
        rest = memoryview(self._unsent + raw)
        try:
            while rest and self._process.stdin is not None:
                written = self._process.stdin.write(rest)
                if written is None:  # the pipe is full
                    self._wait_to_write(self._process.stdin.fileno())
                rest = rest[written or 0 :]
        except (OSError, ValueError):
            pass  # the process is gone: whoever reads its answer is told why
        finally:
            self._unsent = bytes(rest)  # after a KeyboardInterrupt; else a new line would begin within this one
            self._writing = False
        if self._stop_waits:
            self._stop_waits = False
            self.stop()

    def _wait_to_write(self, pipe: int) -> None:
        if not select.select([], [pipe], [], TICK_S)[1]:
            self._tick()

    def _tick(self) -> None:
        """One more second in which the process took no request and gave no answer; ends it if it is stuck."""
        problem = self._pulse.tick(read_signs(self._process.pid))
        if problem is not None:
            self._stuck = problem
            self._process.kill()
        elif self._pulse.silent >= PING_AFTER and self._process.stdin is not None and self._may_ping():
            with suppress(OSError, ValueError):
                self._process.stdin.write(protocol.PING)  # all of it or, into a full pipe, nothing

    def _may_ping(self) -> bool:
        return not self._writing and not self._unsent

    def _read(self) -> None:
        """Runs in a thread: the process's lines into the queue, then b"" for their end."""
        self._kills_before = memory_kills()
        is_loading = self._path is not None
        try:
            if self._process.stdout is not None:
                with io.BufferedReader(self._process.stdout) as stream:  # type: ignore[type-var]
                    for line in stream:
                        self._pulse.heard()
                        if line.endswith(b"\n") and line != protocol.PONG:  # else it died in the middle of it
                            self._put(line)
                            is_loading = is_loading and not self._ends_loading(line)
        finally:
            self._put(b"")
            if self.on_end is not None:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_CLOSE_S)  # its pipes close before it is gone
                self.on_end()

    def _ends_loading(self, raw: bytes) -> bool:
        """Whether that was the last line about the load; a failure is known then, also to who does not wait for it."""
        try:
            line = protocol.decode(raw)
            if line.get("event") == "error":
                self.failure = protocol.error_from(line)
        except MinichatError as error:
            self.failure = error
        if self.failure is not None and self.on_end is not None:
            self.on_end()
        return self.failure is not None or line.get("event") == "done"

    def _put(self, raw: bytes) -> None:
        self._lines.append(raw)
        self._came.put(None)

    def _receive(self) -> bytes:
        """The next line, which stays the next one until it is dropped. Raises EngineDiedError behind the last."""
        while not self._lines:
            self._wait()
        if not self._lines[0]:
            raise self._death()
        return self._lines[0]

    def _wait(self) -> None:
        try:
            self._came.get(timeout=TICK_S)
        except queue.Empty:
            self._tick()

    def _drop(self) -> None:
        """Takes the next line off; not the end, which stays for the next one who asks."""
        if self._lines and self._lines[0]:
            self._lines.popleft()

    def _death(self) -> EngineDiedError:
        if self._diagnostics.closed:
            return EngineDiedError("the engine died: it was closed")
        try:
            code = self._process.wait(_CLOSE_S)
            if self._stuck:
                return EngineDiedError(f"the engine got stuck and was ended: {self._stuck}")
            return EngineDiedError(f"the engine died: {describe_end(code, self._diagnostics, self._kills_before)}")
        except subprocess.TimeoutExpired:
            return EngineDiedError("the engine died: it closed its pipes")
        except ValueError:  # another thread has closed it meanwhile
            return EngineDiedError("the engine died: it was closed")


class _Lines(Generic[T]):
    """What the lines about one request say, up to its last.

    A KeyboardInterrupt may fall anywhere into `next()` and takes nothing away: a line is dropped by the next call, when
    what it says has been given. Python looks for signals at calls and at the ends of loops, so none may stand between
    noting that and the `return`.
    """

    def __init__(self, engine: Engine, request: int, value: Callable[[protocol.Line], T]) -> None:
        self._engine, self._request, self._value = engine, request, value
        self._given: bytes | None = None  # the line that was the last one to be given

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        engine = self._engine
        while engine._open == self._request:
            raw = engine._receive()
            if raw is self._given:
                engine._drop()
                self._given = None
                continue
            kind = None
            try:
                line = protocol.decode(raw)
                if line.get("id") != self._request:  # the end of an answer that was given up
                    engine._drop()
                    continue
                kind = line.get("event")
                if kind in _LAST:
                    engine._take_ctx(line)
                if kind == "error":
                    raise protocol.error_from(line)
                value = self._value(line)
            except MinichatError:
                if kind in _LAST:
                    engine._open = 0
                engine._drop()
                raise
            self._given = raw
            if kind == "done":
                engine._open = 0
            return value
        raise StopIteration

    def is_here(self) -> bool:
        """Whether the next one, or the end, can be had without waiting."""
        lines = self._engine._lines
        return self._engine._open != self._request or len(lines) > (self._given is not None and lines[0] is self._given)


class Answer(_Lines[Event]):
    """The events of one answer: Prefill and Chunk as they come, one Done at the end.

    A KeyboardInterrupt that falls into `next()` loses nothing: call `Engine.stop()` and go on to the Done.
    """

    def __init__(self, engine: Engine, request: int) -> None:
        super().__init__(engine, request, protocol.event_from)
