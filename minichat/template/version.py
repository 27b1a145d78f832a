"""What the versions of Mistral's chat template have in common.

A conversation becomes  <s> turn turn ...  where a user's turn is  [INST] text [/INST]  and an answer is  text </s>.
The rules are mistral-common's, which the model cards name as the source of truth:

  - consecutive messages of one role are one turn, system messages and tools' results aside; their texts are joined with
    a blank line;
  - the tools are listed before one user's turn, as the JSON text of `minichat.template.tools`;
  - an answer loses the spaces at its end (only spaces, not newlines), unless the model's own tokens are known;
  - of a question that is one text and one picture after it, the picture comes first;
  - an empty text is no token at all.

`Version` holds what differs; each version is one small file that states its difference from an earlier one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from minichat.template.messages import JOINT, Call, Content, ImagePart, Message, TextPart, ThinkPart
from minichat.template.pieces import Control, Image, Piece, Text, Tokens
from minichat.template.rules import Rules, check, check_turns
from minichat.template.tools import Tool, check_tools, tools_json
from minichat.template.turns import in_order_of_calls, turns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Place = Literal["first", "last"]  # which of the user's turns


@dataclass(frozen=True)
class Version:
    """One version of the template.

    rules: what it can express.
    system: the control tokens around a system message, which then is a turn of its own; or the user's turn that all
        system messages are put before, joined with blank lines. In the latter case a conversation must begin with a
        user's turn: an empty one is put before it.
    question: the pieces of a user's turn, from the system's text before it ("" for none) and the content.
    strips: whether an answer loses the spaces at its end.
    tools_with: the user's turn that the list of tools comes before.
    calls, result: the pieces of an answer's calls, and of one result.
    call_syntax: how a model writes calls behind [TOOL_CALLS]: as one JSON list, or each by itself with [ARGS].
    sorts_results: whether results are put in the order of their calls.
    forgets_calls: whether calls and results before the last user's turn are left out.
    """

    name: str
    rules: Rules
    system: tuple[str, str] | Place
    question: Callable[[str, Content], list[Piece]]
    strips: bool
    tools_with: Place
    calls: Callable[[Sequence[Call]], list[Piece]]
    result: Callable[[Message], list[Piece]]
    call_syntax: Literal["none", "list", "marks"]
    sorts_results: bool
    forgets_calls: bool

    def render(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[Piece]:
        """The pieces of a conversation. Raises TemplateError for what this version cannot express."""
        check(messages, self.rules)
        if tools and not self.rules.tools:
            raise self.rules.refusal("tools")
        check_tools(tools)
        turns = turns_of(messages)
        check_turns(turns, self.rules)
        if self.sorts_results:
            turns = in_order_of_calls(turns)
        system = ""
        if isinstance(self.system, str):
            system = JOINT.join(turn.text for turn in turns if turn.role == "system" and turn.text)
            turns = [turn for turn in turns if turn.role != "system"]
            if not turns or turns[0].role != "user":
                turns.insert(0, Message("user", ""))
        users = [i for i, turn in enumerate(turns) if turn.role == "user"]
        place = {"first": users[0], "last": users[-1]} if users else {}
        pieces: list[Piece] = [Control("<s>")]
        for i, turn in enumerate(turns):
            if turn.role == "user":
                if tools and i == place[self.tools_with]:
                    pieces += between("[AVAILABLE_TOOLS]", tools_json(tools), "[/AVAILABLE_TOOLS]")
                here = isinstance(self.system, str) and i == place[self.system]
                pieces += self.question(system + JOINT if system and here else "", turn.content)
            elif turn.role == "system" and isinstance(self.system, tuple):
                pieces += between(self.system[0], turn.content, self.system[1])
            elif not (self.forgets_calls and (turn.calls or turn.role == "tool") and i < place["last"]):
                pieces += self.result(turn) if turn.role == "tool" else self._answer(turn)
        return pieces

    def _answer(self, turn: Message) -> list[Piece]:
        end: list[Piece] = [] if turn.prefix else [Control("</s>")]
        if turn.tokens is not None:
            return [Tokens(turn.tokens), *end] if turn.tokens else end
        content = turn.content
        if isinstance(content, str) and self.strips:
            content = content.rstrip(" ")
        return [*written(content), *(self.calls(turn.calls) if turn.calls else []), *end]


def between(begin: str, content: Content, end: str) -> list[Piece]:
    """A content between two control tokens.

    >>> between("[INST]", "Hi", "[/INST]")
    [Control(name='[INST]'), Text(text='Hi'), Control(name='[/INST]')]
    """
    return [Control(begin), *written(content), Control(end)]


def written(content: Content) -> list[Piece]:
    """The pieces of a content, each part by itself.

    >>> written((ThinkPart("Hm."), TextPart("Yes")))  # doctest: +NORMALIZE_WHITESPACE
    [Control(name='[THINK]'), Text(text='Hm.'), Control(name='[/THINK]'), Text(text='Yes')]
    """
    pieces: list[Piece] = []
    for part in (TextPart(content),) if isinstance(content, str) else content:
        if isinstance(part, ImagePart):
            pieces.append(Image(part.source))
        elif isinstance(part, ThinkPart):
            pieces += [Control("[THINK]"), *written(part.text), *([Control("[/THINK]")] if part.closed else [])]
        elif part.text:
            pieces.append(Text(part.text))
    return pieces
