"""`minichat map MODEL "prompt with {line}"`: one answer for each line of standard input, as the lines come; or, with
--images, one for each picture. What is said of lines here holds for pictures, too.

Each line is a conversation of its own. They all begin alike up to the line, and that part is prefilled once: the engine
keeps the longest beginning that a prompt shares with the one before.

A line that cannot be answered has an error, on standard error and in the JSON, and the next one follows; what is wrong
with the prompt itself, the model or the disk ends the work. Nothing is kept of a line but, with --resume, in the file.

An engine that dies is started again, and asked for the same line once more. If that kills it, too, the line has an
error; if the next line does, the work ends.
"""

from __future__ import annotations

import hashlib
import re
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minichat import formats
from minichat.answer_report import end_facts
from minichat.chat import RunOptions
from minichat.engine.client import Engine
from minichat.engines import Engines
from minichat.mapped import LinePrompt, Mapped, MappedLines, MappedPictures
from minichat.oneshot import begin
from minichat.sight import Sight, check_sees, seeing, with_projector
from quant.errors import ContextError, DataError, EngineDiedError, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minichat.conversation import Conversation
    from minichat.engine.types import Done, ModelInfo
    from minichat.inputs import Line, Lines
    from minichat.models import Model
    from minichat.results import Record, Results
    from minichat.terminal.line_progress import LineProgress

BLANK = "blank"  # the reason of the empty answer to an empty line


def map_lines(
    model: Model, prompt: LinePrompt, options: RunOptions, lines: Lines, as_json: bool, resume: Path | None
) -> None:
    """Writes one line to standard output for each of `lines`: the answer, or with as_json a JSON object.

    resume: a file of answers that are there already; new ones are added to it. Raises DataError at the end if any line
    has an error, and at once what is wrong with more than a line.
    """
    _map(model, MappedLines(prompt, lines), options, lambda: Engine(model.path, options.load), as_json, resume)


def map_pictures(
    model: Model, prompt: str, options: RunOptions, files: Sequence[str], as_json: bool, resume: Path | None
) -> None:
    """As `map_lines`, for the pictures in files; before an answer stands the name of its file, and a tab.

    Raises DataError for a model of text alone, too.
    """
    check_sees(model)
    load = with_projector(options.load, model)
    with Sight(model, options.image_max_tokens, keeps=False) as sight:
        pictures = MappedPictures(prompt, files, sight, options)
        _map(model, pictures, options, lambda: seeing(Engine(model.path, load), sight, model), as_json, resume)


def _map(
    model: Model,
    mapped: Mapped,
    options: RunOptions,
    start: Callable[[], Engine],
    as_json: bool,
    resume: Path | None,
) -> None:
    from minichat.results import opened

    with (
        opened(resume, _made_with(model, mapped, options)) if resume is not None else nullcontext() as results,
        Engines(start) as engines,  # it loads while the terminal is imported
    ):
        from minichat.terminal.answer import wait_loaded
        from minichat.terminal.line_progress import LineProgress
        from minichat.terminal.progress import StatusLine

        info = wait_loaded(engines.now, StatusLine(sys.stderr))
        conversation = begin(engines.now, model, info, options)
        answers = _Answers(engines, info, conversation, mapped, options)
        answers.check_prompt()
        with LineProgress(mapped.total_bytes, noun=mapped.noun) as progress:
            run = _Run(answers, mapped, results, progress, as_json)
            for line in mapped:
                run.take(line)
    if run.failed:
        raise DataError(f"{run.failed:,} of {run.taken:,} {mapped.noun}s have an error")


class _Answers:
    """Answers to single lines."""

    def __init__(
        self,
        engines: Engines,
        info: ModelInfo,
        conversation: Conversation,
        mapped: Mapped,
        options: RunOptions,
    ) -> None:
        self._engines, self._info, self._conversation = engines, info, conversation
        self._mapped, self._options = mapped, options

    def check_prompt(self) -> None:
        """Raises TemplateError and ContextError for what would be wrong with every line."""
        self._conversation.clear()
        tokens, _ = self._engines.now.tokenize(self._mapped.sample(self._conversation))
        if len(tokens) >= self._info.ctx:
            raise ContextError(
                f"the prompt alone is {len(tokens):,} tokens long, and the context holds {self._info.ctx:,}; shorten it"
                + (", or raise the limit with --ctx" if self._info.ctx < self._info.ctx_train else "")
            )

    def record(self, line: Line) -> Record:
        """What is to be told of a line: its answer, or its error."""
        known = self._mapped.known(line)
        if line.text is not None and not line.text.strip():
            return known | {"answer": "", "reason": BLANK}
        try:
            return known | self._answer(line)
        except DataError as error:
            return known | {"error": str(error)}
        finally:
            self._mapped.forget()

    def _answer(self, line: Line) -> dict[str, Any]:
        self._conversation.clear()
        facts = self._mapped.ask(line, self._conversation, self._engines.now)
        try:
            done, thoughts = self._generate()
        except EngineDiedError as death:
            done, thoughts = self._generate_again(death)
        self._engines.deaths = 0
        formats.check(self._options.form, done.text, done.reason)
        thinking = {"thinking": thoughts} if thoughts else {}
        return {**facts, "answer": done.text, **thinking, **end_facts(done)}

    def _generate_again(self, death: EngineDiedError) -> tuple[Done, str]:
        self._engines.replace(death)
        try:
            return self._generate()
        except EngineDiedError as again:
            self._engines.replace(again)
            raise DataError(f"{again.what}, twice over this {self._mapped.noun}") from again

    def _generate(self) -> tuple[Done, str]:
        from minichat.engine.types import Chunk, Done

        engine = self._engines.now
        self._conversation.embedded = engine.apply_template
        options, pieces = self._options, self._conversation.pieces()
        events = engine.generate(pieces, options.sampling, options.max_tokens, grammar=options.form.grammar)
        thoughts: list[str] = []
        for event in events:
            if isinstance(event, Done):
                return event, "".join(thoughts)
            if isinstance(event, Chunk) and event.kind == "think":
                thoughts.append(event.text)
        raise EngineError("the engine ended an answer without saying so: run it again")


class _Run:
    """The lines so far. taken, failed: how many there were, and how many of them have an error."""

    def __init__(
        self, answers: _Answers, mapped: Mapped, results: Results | None, progress: LineProgress, as_json: bool
    ) -> None:
        self._answers, self._mapped, self._as_json = answers, mapped, as_json
        self._results, self._progress = results, progress
        self.taken = self.failed = 0

    def take(self, line: Line) -> None:
        """Writes what a line comes to."""
        self.taken += 1
        record = self._results.find(self._mapped.known(line), self._mapped.noun) if self._results is not None else None
        is_new = record is None
        if record is None:
            record = self._answers.record(line)
            if self._results is not None:
                self._results.append(record)
        self.failed += "error" in record
        self._write(line, record)
        self._progress.update(self.taken, self._mapped.read_bytes, is_new)

    def _write(self, line: Line, record: Record) -> None:
        from minichat.terminal.output import is_terminal, print_error, print_json, write
        from minichat.terminal.sanitize import clean

        problem = _problem(record)
        if problem or is_terminal(sys.stdout):
            self._progress.clear()
        if self._as_json:
            print_json(record, indent=None)
        else:
            write(sys.stdout, self._mapped.shown(clean(one_line(record.get("answer", ""))), line) + "\n")
        if problem:
            place = self._mapped.place(line)
            print_error(problem if problem.startswith(place) else f"{place}: {problem}")


def one_line(answer: str) -> str:
    r"""An answer without its line breaks, each of which becomes a blank.

    >>> one_line("One:\n\n  two\r\nthree\n")
    'One: two three'
    """
    return re.sub(r"[ \t]*[\r\n]\s*", " ", answer.strip())


def _problem(record: Record) -> str | None:
    cut = "the answer was cut: the context is full (--ctx)" if record.get("reason") == "context" else None
    return record.get("error", cut)


def _made_with(model: Model, mapped: Mapped, options: RunOptions) -> dict[str, Any]:
    """What all answers in one file have in common."""
    sampling = {key.replace("_", "-"): value for key, value in asdict(options.sampling).items()}
    grammar = hashlib.sha256((options.form.grammar or "").encode()).hexdigest()[:16]
    return {
        "model": model.reference,
        **mapped.made_with(),
        "system": options.system,
        "template": options.template,
        "format": options.form.name if options.form.grammar is None else f"{options.form.name} {grammar}",
        **sampling,
    }
