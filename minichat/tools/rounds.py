"""From a question to an answer, with calls of tools between: the model calls, tools run, the model goes on.

    question -> answer with calls -> results -> answer with calls -> results -> answer

A round is an answer with calls and their results. All of an answer's calls run, in their order and one at a time, or
none does. Whatever happens, the conversation is left such that another question can follow:

  - a call that cannot be read (no JSON object, no name) has no place in a conversation: that answer is dropped, and
    asked for once more with the reason behind what was said last, for this one time;
  - a call of an unknown tool, or with arguments against the schema, gets the reason as its result;
  - if the next answer is wrong as well, it is the person's turn: ToolError;
  - a call that the person declines, or that is interrupted, has a result that says so;
  - what no command runs is asked of `supply`; without that, it ends the rounds: all results of that answer's calls are
    the caller's to add.

No terminal, no engine: answers and `agree` are given. `Rounds.run` takes answers from a function, `Rounds.steps` from
whoever drives it.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from minichat.template import VERSIONS
from minichat.template.answers import ReadAnswer, read_answer
from minichat.template.messages import JOINT, Call, TextPart
from minichat.template.rules import Rules
from minichat.tools.calling import Limits, Result, call
from minichat.tools.checking import Checked, checked, parsed
from quant.errors import ContextError, SchemaError, TemplateError, ToolError

if TYPE_CHECKING:
    from minichat.conversation import Conversation
    from minichat.engine.types import Done
    from minichat.tools.toolbox import Toolbox

MAX_ROUNDS = 10  # in a row: a model that calls and calls must come to an end
DECLINED = "Error: the user declined this call"
INTERRUPTED = "Error: the user stopped this call"
TOO_LONG = "Error: the result is too long for the context"
NOT_RUN = "Error: not run, because another call of the same answer was wrong"
_CUT = {"length": "more tokens are needed (--max-tokens)", "context": "the context is full (--ctx)"}
_NINE = re.compile("[a-zA-Z0-9]{9}")

Generate = Callable[["Conversation"], "Done"]
Steps = Generator[None, "Done", "Outcome"]
Agree = Callable[[Call, Mapping[str, Any], Sequence[str]], bool]
Supply = Callable[[Call], "str | None"]
Report = Callable[[Call, Result], None]


@dataclass(frozen=True)
class Outcome:
    """How the rounds ended. done, answer: the last answer, as it came and as it was read; calls: those handed out,
    each of which needs a `conversation.result` before anything else is asked.
    """

    done: Done
    answer: ReadAnswer
    calls: tuple[Call, ...] = ()


class Rounds:
    """The rounds of one conversation.

    generate: the model's next answer to a conversation, which it leaves as it is but for forgetting its oldest turns;
        None for who drives `steps`.
    agree: whether a call may run: with its arguments and the command that would be run.
    supply: the result of a call that no command runs, None if there is none to be had. Without it, such a call ends the
        rounds.
    report: told each result of a command that was run.
    """

    def __init__(
        self,
        conversation: Conversation,
        toolbox: Toolbox,
        generate: Generate | None,
        agree: Agree,
        report: Report | None = None,
        supply: Supply | None = None,
        limits: Limits | None = None,
        most: int = MAX_ROUNDS,
    ) -> None:
        self._conversation, self._toolbox = conversation, toolbox
        self._generate, self._agree, self._supply, self._report = generate, agree, supply, report
        self._limits, self._most = limits or Limits(), most

    def run(self) -> Outcome:
        """Answers the conversation's last message, and adds to it all that is said; nothing, if that is no token.

        Raises as `steps` does, and passes on what `generate` raises.
        """
        if self._generate is None:
            raise TypeError("rounds that nobody drives need a `generate`")
        steps = self.steps()
        try:
            next(steps)
            while True:
                try:
                    done = self._generate(self._conversation)
                except BaseException as error:  # noqa: PERF203
                    steps.throw(error)
                else:
                    steps.send(done)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def steps(self) -> Steps:
        """What `run` does, for who has to do more between: it stops for each of the model's answers.

        At each stop it is sent the next answer to the conversation as that stands then, or thrown what came in place of
        one; its value is what `run` returns. Raises ToolError for calls that are wrong twice in a row, that are cut
        off, or that do not come to an end; and passes on what `agree` and `supply` raise, and all that is thrown but
        the first ContextError behind results: they are shortened, and it stops again.
        """
        unread: str | None = None  # what was wrong with the answer that has just been dropped
        wrong = False  # whether the last answer was
        rounds = 0
        while True:
            with _noted(self._conversation, unread):
                done = yield from self._generated()
            rules = self._rules()  # not before: a model that is still being loaded has not told its template
            read = _read(done, rules)
            if rules is None or done.reason == "stop" or not (read.calls or read.problem):
                self._keep_text(done, read)
                return Outcome(done, read)
            unread = read.problem or _unreadable(read.calls, rules)
            if unread is not None and done.reason in _CUT:
                raise ToolError(f"the answer ended in the middle of a call: {_CUT[done.reason]}")
            checks = [self._checked(one) for one in read.calls]
            reason = unread or next((problem for _, problem in checks if problem is not None), None)
            if reason is not None and wrong:
                raise ToolError(f"the model called a tool wrongly twice: {reason}; ask again, or in other words")
            if rounds == self._most:
                raise ToolError(f"the model called tools {rounds} times in a row without an answer: ask it for one")
            wrong = reason is not None
            if unread is not None:
                continue
            rounds += 1
            calls = self._keep_calls(done, read, rules)
            if not wrong and self._supply is None and not all(self._toolbox.has_command(one.name) for one in calls):
                return Outcome(done, read, calls)
            self._add_results(calls, checks, run=not wrong)

    def _generated(self) -> Generator[None, Done, Done]:
        """The next answer; a result that leaves no room for one is replaced by that news, once."""
        try:
            return (yield)
        except ContextError:
            messages = self._conversation.messages
            results = list(takewhile(lambda message: message.role == "tool", reversed(messages)))
            longest = max(results, key=lambda message: len(message.text), default=None)
            if longest is None or longest.content == TOO_LONG:
                raise
            place = next(n for n, message in enumerate(messages) if message is longest)
            messages[place] = replace(longest, content=TOO_LONG)
        return (yield)

    def _checked(self, one: Call) -> Checked:
        try:
            return checked(self._toolbox.tools, one)
        except SchemaError as error:
            raise ToolError(f"the parameters of the tool {one.name} cannot be checked: {error}") from error

    def _rules(self) -> Rules | None:
        """Those of the conversation's template; None where it has no tools."""
        version = VERSIONS.get(self._conversation.template or "")
        return version.rules if version is not None and version.rules.tools else None

    def _keep_text(self, done: Done, read: ReadAnswer) -> None:
        """An answer without calls; of one that was stopped in the middle of calls, what came before them."""
        if read.calls or read.problem:
            if done.text:
                self._conversation.answer(done.text, None)
        elif done.tokens:
            self._conversation.answer(done.text, done.tokens)

    def _keep_calls(self, done: Done, read: ReadAnswer, rules: Rules) -> tuple[Call, ...]:
        """The answer's calls, with ids that the template takes. With other ids, its tokens are not what was said."""
        calls = with_ids(read.calls, rules)
        tokens = done.tokens if calls == read.calls or rules.call_ids != "nine" else None
        text = done.text if rules.text_and_calls or tokens is not None else ""
        self._conversation.answer(text, tokens, calls)
        return calls

    def _add_results(self, calls: Sequence[Call], checks: Sequence[Checked], run: bool) -> None:
        """A result for each call, whatever exception comes between. run: whether any call may be run."""
        given = 0
        try:
            for one, (arguments, problem) in zip(calls, checks, strict=True):
                if arguments is None:
                    self._conversation.result(one, f"Error: {problem}")
                elif not run:
                    self._conversation.result(one, NOT_RUN)
                else:
                    self._run(one, arguments)
                given += 1
        finally:
            for one in calls[given:]:
                self._conversation.result(one, INTERRUPTED)

    def _run(self, one: Call, arguments: dict[str, Any]) -> None:
        if self._supply is not None and not self._toolbox.has_command(one.name):
            supplied = self._supply(one)
            self._conversation.result(one, DECLINED if supplied is None else supplied)
            return
        if not self._agree(one, arguments, self._toolbox.commands[one.name]):
            self._conversation.result(one, DECLINED)
            return
        result = call(self._toolbox, one.name, arguments, self._limits)
        self._conversation.result(one, result.text)
        try:
            self._conversation.pieces()
        except TemplateError as error:  # JSON that is nested too deeply, for example: it must not stay
            self._conversation.messages.pop()
            result = Result(f"Error: the result cannot be shown: {error}", failed=True)
            self._conversation.result(one, result.text)
        if self._report is not None:
            self._report(one, result)


def with_ids(calls: Sequence[Call], rules: Rules) -> tuple[Call, ...]:
    """The calls, with fresh random ids in place of those that a template of these rules would refuse."""
    if rules.call_ids == "none":
        return tuple(calls)
    taken: set[str] = set()
    kept: list[Call] = []
    for one in calls:
        fits = one.id and one.id != "null" and (rules.call_ids == "any" or _NINE.fullmatch(one.id))
        call_id = one.id if fits and one.id is not None and one.id not in taken else _fresh_id()
        taken.add(call_id)
        kept.append(replace(one, id=call_id))
    return tuple(kept)


def _read(done: Done, rules: Rules | None) -> ReadAnswer:
    return read_answer(done.spans, rules.version) if rules is not None else ReadAnswer(done.text, "", (), None)


def _fresh_id() -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))


def _unreadable(calls: Sequence[Call], rules: Rules) -> str | None:
    """Why an answer with these calls can have no place in a conversation, if it cannot."""
    if rules.one_result and len(calls) > 1:
        return "only one tool can be called at a time"
    for one in calls:
        _, problem = parsed(one.arguments)
        if problem is not None:
            return f"{one.name}: {problem}"
    return None


@contextmanager
def _noted(conversation: Conversation, problem: str | None) -> Iterator[None]:
    """The conversation, with a problem told behind its last message for as long as this lasts."""
    if problem is None:
        yield
        return
    last = conversation.messages[-1]
    note = f"(Your last answer called a tool in a way that cannot be read: {problem}. Answer again.)"
    content = last.content + JOINT + note if isinstance(last.content, str) else (*last.content, TextPart(note))
    noted = replace(last, content=content)
    conversation.messages[-1] = noted
    try:
        yield
    finally:
        conversation.messages[:] = [last if message is noted else message for message in conversation.messages]
