"""The engine process: reads requests from standard input, serves them in order, writes events to standard output.

Two threads: one reads, so that a `stop` is heard in the middle of a decode and the end of the input ends the process
at once, whatever llama.cpp is doing; the other serves. The protocol keeps a private copy of standard output; the
public one is pointed at standard error, so that nothing that a C library prints can get between the lines.
"""

from __future__ import annotations

import importlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from minichat.engine import protocol
from minichat.engine.ahead import Pace
from minichat.engine.dying import prepare_to_die
from minichat.engine.types import Chunk, Done, Event, LoadOptions, ModelInfo, Prefill, Sampling, Stats
from quant.errors import DataError, EngineError, GgufError, MinichatError, TemplateError

if TYPE_CHECKING:
    from convert.gguf_file import GgufHeader
    from minichat.engine.drafting import Draft
    from minichat.engine.llama import Llama
    from minichat.engine.speculation import Speculation
    from minichat.engine.state import States
    from minichat.template.pieces import Piece
    from minichat.template.telling import Told
    from minichat.tokenizer import Tokenizer

# What a model is loaded with, and what its first answer needs: imported while there is nothing else to do.
_TO_LOAD = ("llama", "soundness", "fitting")
_TO_ANSWER = ("sampler", "generation", "grammar", "state", "speculation")
_PROGRESS_S = 0.1


def main() -> None:
    """Serves until standard input ends."""
    prepare_to_die()
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    worker = Worker(output)
    threading.Thread(target=worker.read, args=(sys.stdin.buffer,), daemon=True).start()
    worker.get_ready()
    worker.serve()


class Worker:
    """One engine process: at most one model, one answer at a time."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._requests: queue.SimpleQueue[protocol.Line] = queue.SimpleQueue()
        self._stop_lock, self._write_lock = threading.Lock(), threading.Lock()
        self._stop_up_to = 0  # requests up to this id are to stop
        self._serving = 0
        self._llama: Llama | None = None
        self._draft: Draft | None = None
        self._pace = Pace()
        self._speculation: Speculation | None = None
        self._states: States | None = None
        self._tokenizer: Tokenizer | None = None
        self._metadata: dict[str, Any] = {}

    # Requests.

    def get_ready(self) -> None:
        """Imports until the first request comes what such requests need. What cannot be imported, they tell of."""
        with suppress(Exception):
            from minichat.engine import binding

            binding.load()
            for name in (
                *(f"minichat.engine.{name}" for name in (*_TO_LOAD, *_TO_ANSWER)),
                "minichat.template.telling",
            ):
                if not self._requests.empty():
                    break
                importlib.import_module(name)

    def read(self, stream: BinaryIO) -> None:
        """Runs in a thread of its own: queues requests, obeys `stop`, leaves with the front."""
        try:
            for raw in stream:
                line = protocol.decode(raw)
                if line.get("op") == "stop":
                    self._stop(int(line["target"]), bool(line.get("gently")))
                elif line.get("op") == "ping":
                    self._write(protocol.PONG)
                else:
                    self._requests.put(line)
        except Exception as error:
            sys.stderr.write(f"{error}\n")
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)  # not sys.exit: the serving thread may be deep in C

    def serve(self) -> None:
        """Answers requests, one after another, for ever."""
        while True:
            line = self._requests.get()
            request = int(line["id"])
            try:
                with self._stop_lock:
                    self._serving = request
                    self._abort(on=self._stop_up_to >= request)
                getattr(self, f"_do_{line['op']}")(request, line)
            except MinichatError as error:
                self._send(protocol.error_line(request, error))
            except Exception as error:  # a defect of ours: the front must hear of it
                self._send(protocol.error_line(request, EngineError(f"{type(error).__name__}: {error}")))

    def _stop(self, target: int, gently: bool) -> None:
        with self._stop_lock:
            self._stop_up_to = max(self._stop_up_to, target)
            if self._serving <= target and not gently:
                self._abort(on=True)

    def _abort(self, on: bool) -> None:
        for model in (self._llama, self._draft):
            if model is not None:
                model.abort(on)

    def _is_stopped(self, request: int) -> bool:
        return self._stop_up_to >= request

    def _send(self, line: protocol.Line) -> None:
        if line["event"] in ("done", "error") and self._llama is not None:
            line = line | {"ctx": self._llama.ctx}  # it falls where memory does not let the context grow
        self._write(protocol.encode(line))

    def _write(self, raw: bytes) -> None:
        try:
            with self._write_lock:
                while raw:
                    raw = raw[self._output.write(raw) or 0 :]
        except BrokenPipeError:
            os._exit(0)  # the front is gone

    def _do_load(self, request: int, line: protocol.Line) -> None:
        from minichat.engine.fitting import fit_for
        from minichat.engine.llama import Llama
        from minichat.engine.soundness import read_sound_header
        from minichat.engine.types import stamp_of

        path, options = Path(line["path"]), LoadOptions(**line["options"])
        stamp = stamp_of(path)  # before the file is read: one that is replaced meanwhile has another
        header = read_sound_header(path)
        self._metadata = header.metadata
        template = header.metadata.get("minichat.template")
        if template is not None and not isinstance(template, str):
            raise GgufError(f"{path} is damaged: its minichat.template is no name")
        # tiktoken takes 0.25 s for a full vocabulary, as long as llama.cpp reads the file: do both at once.
        preparing = _InBackground(lambda: self._prepare(header))
        name = str(header.metadata.get("general.name", path.stem))
        projector = None
        if options.projector is not None:
            from minichat.engine.eyesight import read_sound_projector
            from minichat.projectors import for_pictures

            with for_pictures(name):
                projector = read_sound_projector(Path(options.projector), header.metadata, name)
        fit = fit_for(name, header, options, projector)
        llama = Llama(path, options, _throttled(lambda part: self._progress(request, part)), fit)
        told, self._tokenizer = preparing.result()
        from minichat.engine.speculation import Speculation
        from minichat.engine.state import States

        self._llama, self._states = llama, States(llama, path, options)
        if options.speculation and llama.ctx and llama.can_take_back:
            if options.draft is not None:
                from minichat.engine.drafting import open_draft

                self._draft = open_draft(Path(options.draft), options, header, fit is not None and fit.draft_on_gpu)
                llama.take_log()
            self._speculation = Speculation(llama.ends, self._draft)
        most_tokens = 0  # of a picture
        if projector is not None:
            from minichat.engine.eyesight import Room, gallery_for
            from minichat.engine.kinship import check_kin

            room = Room(projector, fit.projector_on_gpu if fit is not None else llama.gpu_layers != 0)
            most_tokens = room.most_tokens()
            check = partial(check_kin, projector, path, header, self._tokenizer.controls, name)
            llama.gallery = gallery_for(projector, llama, room, check)
        info = ModelInfo(
            name=name,
            architecture=str(header.metadata.get("general.architecture", "")),
            template=told.template,
            template_how=told.how,
            template_why=told.why,
            ctx=llama.ctx,
            ctx_train=llama.ctx_train,
            parameters=header.parameters,
            size_bytes=header.file_bytes,
            vocabulary=llama.vocabulary,
            threads=llama.threads,
            gpu_layers=llama.gpu_layers,
            bos=_bos(llama, self._tokenizer),
            fit=fit.note if fit else "",
            stamp=stamp,
            sees=projector is not None,
            picture_side=projector.told.longest_side if projector is not None else 0,
            picture_patch=projector.patch if projector is not None else 0,
            picture_tokens=most_tokens,
        )
        self._send({"id": request, "event": "done", "info": asdict(info)})

    def _do_generate(self, request: int, line: protocol.Line) -> None:
        from minichat.engine import generation, sampler
        from minichat.engine.grammar import constrained
        from minichat.engine.speculation import largest_batch

        llama, tokenizer = self._loaded()
        prompt = self._encode(_pieces(line))
        asked = Sampling(**line["sampling"])
        settings = sampler.resolve(asked, self._metadata)
        if self._speculation is not None:
            is_repeatable = settings.temperature == 0 or asked.seed is not None
            self._speculation.most = largest_batch(llama.gpu_layers > 0, llama.repacks, is_repeatable)
        stopped, longest, room = partial(self._is_stopped, request), line["max_tokens"], line["room"]
        with ExitStack() as kept:
            samplers = kept.enter_context(sampler.chain(settings))
            draw: Callable[[int], int | None] = partial(llama.sample, samplers)
            if line["grammar"] is not None:
                draw = kept.enter_context(constrained(llama, tokenizer, samplers, settings, line["grammar"])).draw
            restored_s = self._restore(line, prompt, stopped)
            events = generation.generate(
                llama, tokenizer, prompt, draw, longest, stopped, room, settings.seed, self._speculation
            )
            self._stream(request, events, restored_s)

    def _do_prefill(self, request: int, line: protocol.Line) -> None:
        from minichat.engine import generation
        from minichat.engine.ahead import settled_and_typed

        llama, tokenizer = self._loaded()
        stopped = partial(self._is_stopped, request)
        settled, typed = settled_and_typed(_pieces(line)) if line["ahead"] else (_pieces(line), [])
        if not llama.can_take_back:  # what is edited could not be taken back
            typed = []
        prompt = self._encode([*settled, *typed])
        place, pace = (len(prompt) - len(tokenizer.encode(typed)), self._pace) if line["ahead"] else (None, None)
        self._restore(line, prompt, stopped)
        begin, at = time.perf_counter(), Prefill(0, 0, 0)
        for at in generation.prefill(llama, prompt, stopped, settled=place, pace=pace):
            self._stream(request, [at])
        took = time.perf_counter() - begin
        seen = (llama.gallery.encoded, llama.gallery.encode_s) if llama.gallery is not None else (0, 0.0)
        stats = Stats(at.done, at.reused, 0, took, took, 0.0, len(llama.cached), pictures=seen[0], encode_s=seen[1])
        self._stream(request, [Done("stop" if at.done < at.total else "length", "", (), stats)])

    def _do_tokenize(self, request: int, line: protocol.Line) -> None:
        _, tokenizer = self._loaded(context=False)
        ids = tokenizer.encode(_pieces(line))
        control = set(tokenizer.controls.values())
        spans = [(tokenizer.text(list(run)), is_control) for is_control, run in groupby(ids, control.__contains__)]
        self._send({"id": request, "event": "done", "tokens": ids, "spans": spans})

    def _do_apply_template(self, request: int, line: protocol.Line) -> None:
        from minichat.engine import embedded
        from minichat.template.pieces import Control, to_json

        llama, tokenizer = self._loaded(context=False)
        source = self._metadata.get("tokenizer.chat_template")
        if not isinstance(source, str):
            raise TemplateError("the file carries no template of its own")
        bos, eos = (tokenizer.control_names.get(token, "") for token in (tokenizer.bos, tokenizer.eos))
        pieces = embedded.apply(source, line["messages"], line["tools"], tokenizer.controls, bos, eos)
        pieces = embedded.stripped(pieces, lambda name: llama.strips(tokenizer.controls[name]))
        wanted = _bos(llama, tokenizer)
        if wanted is not None and pieces[:1] != [Control(wanted)]:
            pieces.insert(0, Control(wanted))
        self._send({"id": request, "event": "done", "pieces": [to_json(piece) for piece in pieces]})

    def _do_save(self, request: int, line: protocol.Line) -> None:
        llama, _ = self._loaded()
        is_sent = len(llama.cached) <= llama.settled or llama.cut(llama.settled)  # what was only typed is not kept
        states = self._states if is_sent else None
        size = states.save(Path(line["path"]), line["limit_bytes"]) if states is not None else 0
        self._send({"id": request, "event": "done", "bytes": size})

    def _do_resize(self, request: int, line: protocol.Line) -> None:
        llama, _ = self._loaded()
        llama.resize(line["ctx"])
        self._send({"id": request, "event": "done"})

    def _do_info(self, request: int, _: protocol.Line) -> None:
        from minichat.engine import devices

        self._send({"id": request, "event": "done", "info": devices.describe()})

    # Help for the above.

    def _prepare(self, header: GgufHeader) -> tuple[Told, Tokenizer]:
        """What is done while llama.cpp loads: the tokenizer, and the imports of an answer."""
        from minichat import tokenizer as tokenizers
        from minichat.template.telling import tell

        told = tell(header.metadata)
        tokenizer = tokenizers.load(header, self._ids_of, self._bytes_of, is_other=told.how == "embedded")
        tokenizer.warm_up()
        for name in _TO_ANSWER:
            importlib.import_module(f"minichat.engine.{name}")
        return told, tokenizer

    def _encode(self, pieces: Sequence[Piece]) -> list[int]:
        """The ids of a prompt as they stand in the KV cache. DataError for a picture that the model cannot see."""
        from minichat.template.pieces import Image

        llama, tokenizer = self._loaded()
        if llama.gallery is not None:
            return llama.gallery.encode_prompt(pieces, tokenizer.encode)
        if any(isinstance(piece, Image) for piece in pieces):
            raise DataError(
                "this model cannot see pictures: it reads text alone (--mmproj FILE gives it what it needs)"
            )
        return tokenizer.encode(pieces)

    def _restore(self, line: protocol.Line, prompt: Sequence[int], stopped: Callable[[], bool]) -> float:
        """Reads what a request names of its prompt, or an earlier one did that was stopped; the seconds it took."""
        if self._states is None:
            return 0.0
        if line.get("state") is not None:
            self._states.offer(Path(line["state"]))
        return self._states.restore(prompt, stopped)

    def _loaded(self, context: bool = True) -> tuple[Llama, Tokenizer]:
        if self._llama is None or self._tokenizer is None:
            raise EngineError("no model is loaded")
        if context and not self._llama.ctx:
            raise EngineError("only the vocabulary is loaded")
        return self._llama, self._tokenizer

    def _ids_of(self, text: str) -> list[int]:
        if self._llama is None:
            raise EngineError("no model is loaded")
        return self._llama.sentencepiece(text)

    def _bytes_of(self, token: int) -> bytes:
        if self._llama is None:
            raise EngineError("no model is loaded")
        return self._llama.token_bytes(token)

    def _progress(self, request: int, fraction: float) -> None:
        self._send({"id": request, "event": "progress", "fraction": fraction})

    def _stream(self, request: int, events: Iterable[Event], restored_s: float = 0.0) -> None:
        for event in events:
            match event:
                case Chunk():
                    self._send({"id": request, "event": "chunk", **asdict(event)})
                case Prefill():
                    self._send({"id": request, "event": "prefill", **asdict(event)})
                case Done():
                    if self._states is not None and event.reason != "stop":  # which may have come in the prompt
                        self._states.note(event.stats)
                    line = {"id": request, "event": "done", **asdict(event)}
                    line["stats"]["first_token_s"] += restored_s
                    self._send(line)


class _InBackground:
    """The result of a call that runs in a thread meanwhile; what it raised is raised by `result()`."""

    def __init__(self, call: Callable[[], tuple[Told, Tokenizer]]) -> None:
        self._value: tuple[Told, Tokenizer] | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], tuple[Told, Tokenizer]]) -> None:
        try:
            self._value = call()
        except BaseException as error:  # carried over to the thread that waits
            self._error = error

    def result(self) -> tuple[Told, Tokenizer]:
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._value is None:
            raise EngineError("the tokenizer is not there")
        return self._value


def _pieces(line: protocol.Line) -> list[Piece]:
    from minichat.template.pieces import from_json

    return [from_json(piece) for piece in line["pieces"]]


def _bos(llama: Llama, tokenizer: Tokenizer) -> str | None:
    """The name of the token that the file wants before a prompt, if it wants one."""
    return tokenizer.control_names.get(tokenizer.bos) if llama.begins_with_bos else None


def _throttled(report: Callable[[float], None]) -> Callable[[float], None]:
    """`report`, called at most every _PROGRESS_S seconds."""
    last = 0.0

    def maybe(fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PROGRESS_S:
            last = now
            report(fraction)

    return maybe
