"""`minichat run MODEL PROMPT`: one answer, with calls of tools before it, from a model that is being loaded."""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from minichat import formats
from minichat.answer_report import Report
from minichat.asking import Along, placed
from minichat.chat import RunOptions, describe_stats
from minichat.engine.client import Engine
from minichat.sight import Sight, describe, with_projector
from minichat.template.messages import Message
from minichat.templates import check_call_tokens, describe_choice
from minichat.tools.toolbox import Toolbox
from minichat.worded import sources_in
from quant.errors import DataError, EngineDiedError, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from minichat.chat import Memory
    from minichat.conversation import Conversation
    from minichat.engine.types import Chunk, Done, ModelInfo
    from minichat.models import Model
    from minichat.pictures.album import Picture
    from minichat.session import Session
    from minichat.template.messages import Call
    from minichat.terminal.agreement import Agreement
    from minichat.tools.calling import Result
    from minichat.tools.rounds import Outcome
    from minichat.warm import Warm


def answer(
    model: Model, question: str, options: RunOptions, as_json: bool, with_stats: bool, along: Along | None = None
) -> None:
    """Writes one answer to standard output, and with `with_stats` a line about its cost to standard error.

    along: messages before the question, pictures that go with it. Calls that nothing runs are written as a JSON list:
    those of tools without a command, and where nobody is there to agree to one (see `RunOptions.allow_tools`).
    """
    along = along or Along()
    with (
        Engine(model.path, with_projector(options.load, model)) as engine,  # it loads while the terminal is imported
        Sight(model, options.image_max_tokens, along.folder, keeps=not options.memory.private) as sight,
    ):
        from minichat.terminal.answer import wait_loaded
        from minichat.terminal.output import say
        from minichat.terminal.progress import StatusLine

        engine.pictures = look = sight.for_engine(model, engine)
        pictures = _read(sight, along, options.memory)
        info = wait_loaded(engine, StatusLine(sys.stderr, plain=options.plain))
        shown = [look(source) for source in [*along.sources, *pictures]]
        _tell_cost(shown)
        conversation = begin(engine, model, info, options)
        _warm_up(options, engine)
        if options.toolbox is not None:
            check_call_tokens(conversation.template, engine)
        conversation.messages += along.messages
        report = Report(model.name, conversation, shown, len(conversation.messages), as_json)
        if question or pictures or not along.messages:
            conversation.ask(question, pictures)
        keep = partial(_keep, options.memory, conversation, model.reference, info)
        one = _One(engine, conversation, options, keep)
        held = io.StringIO()  # text that may turn out to stand before calls, which a program wants as JSON alone
        try:
            outcome = one.run(held if as_json or one.may_print_calls() else sys.stdout)
        except KeyboardInterrupt:
            if (stopped := one.unfinished()) is not None and stopped.done.tokens:
                conversation.messages.append(Message("assistant", stopped.done.text, stopped.done.tokens, cut=True))
            keep()
            report.write(stopped, held.getvalue())
            raise
        except (EngineError, SystemExit) as error:  # of an answer that has not ended, the session has what was heard
            if options.memory.session is not None:
                options.memory.session.close()
                if isinstance(error, EngineDiedError):
                    _warm_of(options, options.memory.session).forget(options.memory.session.name)
            raise
        except DataError:  # a prompt that is too long, a picture that this model cannot see
            if conversation.messages[-1].role == "user":  # else no later question would fit behind it
                del conversation.messages[-1]
            keep()
            raise
        keep()
        report.write(outcome, held.getvalue())
        done = outcome.done
        if with_stats:
            say(describe_stats(done.stats), stream=sys.stderr)
        formats.check(options.form, done.text, done.reason)
        if done.reason == "eos" and not done.tokens:
            say("the model said nothing", stream=sys.stderr)
        if done.reason == "context":
            ctx = engine.wait_loaded().ctx  # memory may not have let it grow
            say(f"the answer was cut: the context of {ctx:,} tokens is full (--ctx)", stream=sys.stderr)
        _keep_warm(options, engine)


def _read(sight: Sight, along: Along, memory: Memory) -> list[str]:
    """Reads all pictures that come along; the sources of those of the question, which a session keeps."""
    for number, message in enumerate(along.messages, start=1):
        for source in sources_in([message.content]):
            with placed(number):
                sight.picture(source)
    pictures = [sight.add(image.content, image.name).source for image in along.images]
    for source in pictures if memory.session is not None else []:
        sight.album().keep(source)
    return pictures


def _tell_cost(pictures: Sequence[Picture]) -> None:
    """Tells a person what pictures cost, as the model is shown them."""
    from minichat.terminal.output import is_terminal, say

    for picture in pictures if is_terminal(sys.stderr) else []:
        say(f"({describe(picture)})", "dim", stream=sys.stderr)


def _keep(memory: Memory, conversation: Conversation, name: str, info: ModelInfo) -> None:
    """Brings the session up to date, where there is one."""
    if memory.session is not None:
        memory.session.save(conversation, name, info.vocabulary)


def _warm_up(options: RunOptions, engine: Engine) -> None:
    """Has the engine go on with what it had read of the session when that was left."""
    session, saved = options.memory.session, options.memory.saved
    if session is not None and saved is not None:
        _warm_of(options, session).offer(engine, saved.forked_from or session.name)


def _keep_warm(options: RunOptions, engine: Engine) -> None:
    """Keeps what the engine has read of the session, for the next time."""
    session = options.memory.session
    if session is not None and session.is_on_disk:
        with suppress(KeyboardInterrupt):  # the answer is there: this is not worth waiting for
            _warm_of(options, session).keep(engine, session.name)


def _warm_of(options: RunOptions, session: Session) -> Warm:
    from minichat.warm import Warm

    return Warm.among(session.path.parent, options.warm_gb)


def begin(engine: Engine, model: Model, info: ModelInfo, options: RunOptions) -> Conversation:
    """The conversation with a model that has been loaded, without a message. A choice that may surprise is told."""
    from minichat.terminal.output import is_terminal, say

    conversation = options.conversation()
    conversation.template, conversation.embedded = options.choose_template(model, info), engine.apply_template
    conversation.bos = info.bos
    if (saved := options.memory.saved) is not None:
        from minichat.session_reports import describe_faults

        conversation.messages = saved.messages_for(model.reference, info.vocabulary)
        for line in describe_faults(saved):
            say(line, "dim", stream=sys.stderr)
    if (remark := describe_choice(conversation.template, info, in_chat=False)) is not None:
        say(remark, "dim", stream=sys.stderr)
    for line in info.remarks(options.load) if is_terminal(sys.stderr) else []:
        say(f"({line})", "dim", stream=sys.stderr)
    return conversation


class _One:
    """The rounds of one question."""

    def __init__(
        self, engine: Engine, conversation: Conversation, options: RunOptions, keep: Callable[[], None]
    ) -> None:
        self._engine, self._conversation, self._options, self._keep = engine, conversation, options, keep
        self._out: IO[str] = sys.stdout
        self._decided: Agreement | None = None
        self._stopped: Done | None = None

    def may_print_calls(self) -> bool:
        """Whether a program may get calls in place of an answer."""
        from minichat.terminal.output import is_terminal

        toolbox = self._runnable()
        return not is_terminal(sys.stdout) and not all(toolbox.has_command(tool.name) for tool in toolbox.tools)

    def run(self, out: IO[str]) -> Outcome:
        from minichat.terminal.output import say
        from minichat.tools.rounds import Rounds

        self._out = out
        toolbox = self._runnable()
        try:
            outcome = Rounds(self._conversation, toolbox, self._generate, self._agrees, self._report).run()
        finally:
            if self._decided is not None:
                self._decided.settle()
        if outcome.calls and toolbox is not self._options.toolbox:
            say("not run: nobody is here to agree (--allow-tools agrees beforehand)", "dim", stream=sys.stderr)
        return outcome

    def unfinished(self) -> Outcome | None:
        """The answer that Ctrl-C cut off, if there was one."""
        from minichat.template.answers import ReadAnswer
        from minichat.tools.rounds import Outcome

        done = self._stopped
        return Outcome(done, ReadAnswer(done.text, "", (), None)) if done is not None else None

    def _runnable(self) -> Toolbox:
        """The tools, with their commands only where somebody can agree to them."""
        from minichat.terminal.ask import can_ask

        toolbox = self._options.toolbox or Toolbox()
        may_run = self._options.allow_tools or not toolbox.commands or can_ask()
        return toolbox if may_run else Toolbox(toolbox.tools, {}, toolbox.folder)

    def _generate(self, conversation: Conversation) -> Done:
        from minichat.terminal.answer import stream_answer
        from minichat.terminal.progress import StatusLine

        self._keep()  # a kill in the middle of the answer must not lose the question
        done, interrupted = stream_answer(
            self._engine,
            conversation.pieces(),
            self._options.sampling,
            self._options.max_tokens,
            self._out,
            StatusLine(sys.stderr, plain=self._options.plain),
            grammar=self._options.form.grammar,
            heard=self._hear,
            plain=self._options.plain,
        )
        if interrupted:
            self._stopped = done
            raise KeyboardInterrupt
        return done

    def _hear(self, chunk: Chunk) -> None:
        session = self._options.memory.session
        if session is not None and chunk.kind == "text":
            session.hear(chunk.text)

    def _agrees(self, call: Call, arguments: Mapping[str, Any], command: Sequence[str]) -> bool:
        return self._agreement().agrees(call, arguments, command)

    def _report(self, call: Call, result: Result) -> None:
        self._agreement().report(call, result)

    def _agreement(self) -> Agreement:
        from minichat.terminal.agreement import Agreement

        self._decided = self._decided or Agreement(self._options.allow_tools)
        return self._decided
