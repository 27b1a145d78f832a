"""`minichat map MODEL "prompt with {line}"`: one answer for each line of standard input, as the lines come.

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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minichat import formats
from minichat.chat import RunOptions
from minichat.engine.client import Engine
from minichat.inputs import Line, Lines
from minichat.oneshot import begin, end_facts
from quant.errors import ContextError, DataError, EngineDiedError, EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from minichat.conversation import Conversation
    from minichat.engine.types import Done, ModelInfo, Sampling
    from minichat.models import Model
    from minichat.results import Record, Results
    from minichat.template.pieces import Piece
    from minichat.terminal.line_progress import LineProgress

_TOO_MANY_DEATHS = 3  # in a row
BLANK = "blank"  # the reason of the empty answer to an empty line


@dataclass(frozen=True)
class LinePrompt:
    """A prompt with places for a line: {line}, or {} where there is no {line}."""

    text: str
    place: str

    @classmethod
    def parse(cls, text: str) -> LinePrompt:
        """Raises UsageError for a text without a place."""
        place = next((place for place in ("{line}", "{}") if place in text), None)
        if place is None:
            raise UsageError("the prompt has no place for the line: write {line} there, in quotes for the shell")
        return cls(text, place)

    def fill(self, line: str) -> str:
        """
        >>> LinePrompt.parse("Translate: {line}").fill("{}"), LinePrompt.parse("{}, {}").fill("a")
        ('Translate: {}', 'a, a')
        """
        return self.text.replace(self.place, line)


def map_lines(
    model: Model, prompt: LinePrompt, options: RunOptions, lines: Lines, as_json: bool, resume: Path | None
) -> None:
    """Writes one line to standard output for each of `lines`: the answer, or with as_json a JSON object.

    resume: a file of answers that are there already; new ones are added to it. Raises DataError at the end if any line
    has an error, and at once what is wrong with more than a line.
    """
    from minichat.results import opened

    with (
        opened(resume, _made_with(model, prompt, options)) if resume is not None else nullcontext() as results,
        _Engines(lambda: Engine(model.path, options.load)) as engines,  # it loads while the terminal is imported
    ):
        from minichat.terminal.answer import wait_loaded
        from minichat.terminal.line_progress import LineProgress
        from minichat.terminal.progress import StatusLine

        info = wait_loaded(engines.now, StatusLine(sys.stderr))
        conversation = begin(engines.now, model, info, options)
        answers = _Answers(engines, info, conversation, prompt, options, options.sampling)
        answers.check_prompt()
        with LineProgress(lines.total_bytes) as progress:
            run = _Run(answers, results, progress, as_json)
            for line in lines:
                run.take(line, lines.read_bytes)
    if run.failed:
        raise DataError(f"{run.failed:,} of {run.taken:,} lines have an error")


class _Engines:
    """One engine after another; a context manager that closes the last. now: the one that answers.

    deaths: how many of them have died since there was an answer.
    """

    def __init__(self, start: Callable[[], Engine]) -> None:
        self._start = start
        self.now, self.deaths = start(), 0

    def replace(self, death: EngineDiedError) -> None:
        """Starts another one in the place of one that died, and tells of it. Raises `death` if it was one too many."""
        from minichat.terminal.answer import wait_loaded
        from minichat.terminal.output import say
        from minichat.terminal.progress import StatusLine

        self.deaths += 1
        if self.deaths >= _TOO_MANY_DEATHS:
            raise death
        self.now.close()
        self.now = self._start()
        say(f"{death.what}; it starts again", stream=sys.stderr)
        wait_loaded(self.now, StatusLine(sys.stderr))

    def __enter__(self) -> _Engines:
        return self

    def __exit__(self, *_: object) -> None:
        self.now.close()


class _Answers:
    """Answers to single lines."""

    def __init__(
        self,
        engines: _Engines,
        info: ModelInfo,
        conversation: Conversation,
        prompt: LinePrompt,
        options: RunOptions,
        sampling: Sampling,
    ) -> None:
        self._engines, self._info, self._conversation = engines, info, conversation
        self._prompt, self._options, self._sampling = prompt, options, sampling

    def check_prompt(self) -> None:
        """Raises TemplateError and ContextError for what would be wrong with every line."""
        tokens, _ = self._engines.now.tokenize(self._pieces("x"))
        if len(tokens) >= self._info.ctx:
            raise ContextError(
                f"the prompt alone is {len(tokens):,} tokens long, and the context holds {self._info.ctx:,}; shorten it"
                + (", or raise the limit with --ctx" if self._info.ctx < self._info.ctx_train else "")
            )

    def record(self, line: Line) -> Record:
        """What is to be told of a line: its answer, or its error."""
        known: Record = {"line": line.number, "input": line.text}
        if line.text is not None and not line.text.strip():
            return known | {"answer": "", "reason": BLANK}
        try:
            return known | self._answer(line.text)
        except DataError as error:
            return known | {"error": str(error)}

    def _answer(self, line: str | None) -> dict[str, Any]:
        if line is None:
            raise DataError("longer than any model reads")
        try:
            done, thoughts = self._generate(line)
        except EngineDiedError as death:
            done, thoughts = self._generate_again(line, death)
        self._engines.deaths = 0
        formats.check(self._options.form, done.text, done.reason)
        thinking = {"thinking": thoughts} if thoughts else {}
        return {"answer": done.text, **thinking, **end_facts(done)}

    def _generate_again(self, line: str, death: EngineDiedError) -> tuple[Done, str]:
        self._engines.replace(death)
        try:
            return self._generate(line)
        except EngineDiedError as again:
            self._engines.replace(again)
            raise DataError(f"{again.what}, twice over this line") from again

    def _generate(self, line: str) -> tuple[Done, str]:
        from minichat.engine.types import Chunk, Done

        engine = self._engines.now
        self._conversation.embedded = engine.apply_template
        events = engine.generate(
            self._pieces(line), self._sampling, self._options.max_tokens, grammar=self._options.form.grammar
        )
        thoughts: list[str] = []
        for event in events:
            if isinstance(event, Done):
                return event, "".join(thoughts)
            if isinstance(event, Chunk) and event.kind == "think":
                thoughts.append(event.text)
        raise EngineError("the engine ended an answer without saying so: run it again")

    def _pieces(self, line: str) -> list[Piece]:
        self._conversation.clear()
        self._conversation.ask(self._prompt.fill(line))
        return self._conversation.pieces()


class _Run:
    """The lines so far. taken, failed: how many there were, and how many of them have an error."""

    def __init__(self, answers: _Answers, results: Results | None, progress: LineProgress, as_json: bool) -> None:
        self._answers, self._results, self._progress, self._as_json = answers, results, progress, as_json
        self.taken = self.failed = 0

    def take(self, line: Line, read_bytes: int) -> None:
        """Writes what a line comes to."""
        self.taken += 1
        record = self._results.find(line.number, line.text) if self._results is not None else None
        is_new = record is None
        if record is None:
            record = self._answers.record(line)
            if self._results is not None:
                self._results.append(record)
        self.failed += "error" in record
        self._write(record)
        self._progress.update(self.taken, read_bytes, is_new)

    def _write(self, record: Record) -> None:
        from minichat.terminal.output import is_terminal, print_error, print_json, write
        from minichat.terminal.sanitize import clean

        problem = _problem(record)
        if problem or is_terminal(sys.stdout):
            self._progress.clear()
        if self._as_json:
            print_json(record, indent=None)
        else:
            write(sys.stdout, clean(one_line(record.get("answer", ""))) + "\n")
        if problem:
            print_error(f"line {record['line']}: {problem}")


def one_line(answer: str) -> str:
    r"""An answer without its line breaks, each of which becomes a blank.

    >>> one_line("One:\n\n  two\r\nthree\n")
    'One: two three'
    """
    return re.sub(r"[ \t]*[\r\n]\s*", " ", answer.strip())


def _problem(record: Record) -> str | None:
    cut = "the answer was cut: the context is full (--ctx)" if record.get("reason") == "context" else None
    return record.get("error", cut)


def _made_with(model: Model, prompt: LinePrompt, options: RunOptions) -> dict[str, Any]:
    """What all answers in one file have in common."""
    sampling = {key.replace("_", "-"): value for key, value in asdict(options.sampling).items()}
    grammar = hashlib.sha256((options.form.grammar or "").encode()).hexdigest()[:16]
    return {
        "model": model.reference,
        "prompt": prompt.text,
        "system": options.system,
        "template": options.template,
        "format": options.form.name if options.form.grammar is None else f"{options.form.name} {grammar}",
        **sampling,
    }
