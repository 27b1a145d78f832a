"""What the versions of Mistral's chat template have in common.

A conversation becomes  <s> turn turn ...  where a user's turn is  [INST] text [/INST]  and an answer is  text </s>.
The rules are mistral-common's, which the model cards name as the source of truth:

  - consecutive messages of one role, system messages aside, are one turn; their texts are joined with a blank line;
  - an answer loses the spaces at its end (only spaces, not newlines), unless the model's own tokens are known;
  - an empty text is no token at all.

`Version` holds what differs; each version is one small file that states its difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from minichat.template.messages import JOINT, ROLES, Message
from minichat.template.pieces import Control, Piece, Text, Tokens
from quant.errors import TemplateError

_AFTER = {"system": ROLES, "user": ROLES, "assistant": ("user", "assistant")}


@dataclass(frozen=True)
class Version:
    """One version of the template.

    system_tokens: the control tokens around a system message; None if the version has none. Then all system messages
        are put, with a blank line, before the text of the last user turn, and a conversation must begin with a user
        turn: an empty one is put before it.
    lone_empty_answer: whether an answer without text is let through when it stands beside one with text.
    """

    name: str
    system_tokens: tuple[str, str] | None
    lone_empty_answer: bool

    def render(self, messages: list[Message]) -> list[Piece]:
        """The pieces of a conversation. Raises TemplateError for what this version cannot express."""
        _check(messages, self)
        turns = _merged(messages)
        system: str | None = None
        if self.system_tokens is None:
            system = JOINT.join(m.text for m in messages if m.role == "system" and m.text)
            turns = [turn for turn in turns if turn.role != "system"]
            if not turns or turns[0].role != "user":
                turns.insert(0, Message("user", ""))
        last_user = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=None)
        pieces: list[Piece] = [Control("<s>")]
        for i, turn in enumerate(turns):
            if turn.role == "user":
                before = system + JOINT if system and i == last_user else ""
                pieces += _between("[INST]", before + turn.text, "[/INST]")
            elif turn.role == "system" and self.system_tokens is not None:
                pieces += _between(self.system_tokens[0], turn.text, self.system_tokens[1])
            else:
                pieces += _answer(turn)
        return pieces


def _check(messages: list[Message], version: Version) -> None:
    """Refuses what mistral-common's validation refuses, with the number of the message, counted from 1."""
    if not messages:
        raise TemplateError("the conversation is empty: it needs at least one message")
    previous: Message | None = None
    for number, message in enumerate(messages, start=1):
        where = f"message {number} ({message.role})"
        last = number == len(messages)
        if message.role not in _AFTER:
            raise TemplateError(f"message {number} has an unknown role; known roles: {', '.join(ROLES)}")
        if previous is not None and message.role not in _AFTER[previous.role]:
            raise TemplateError(f"{where} cannot follow a message of the role {previous.role}")
        if message.role != "assistant" and (message.prefix or message.tokens is not None):
            raise TemplateError(f"{where}: only an assistant message can be a prefix or carry tokens")
        if message.role == "assistant":
            if message.prefix and not last:
                raise TemplateError(f"{where} is a prefix to continue, so it must be the last message")
            if not version.lone_empty_answer and _is_empty(message):
                raise TemplateError(f"{where} has no content")
        previous = message
    if messages[-1].role == "assistant" and (len(messages) == 1 or not messages[-1].prefix):
        raise TemplateError("the conversation cannot end with an answer, unless it is a prefix after another message")


def _merged(messages: list[Message]) -> list[Message]:
    """The turns: runs of user and of assistant messages as one message each, system messages as they are.

    An answer alone in its run keeps its tokens. In a longer run no tokens are known for the text between two answers,
    so the run is made of their texts.
    """
    turns: list[Message] = []
    for role, group in groupby(messages, key=lambda message: message.role):
        run = list(group)
        if role == "system" or len(run) == 1:
            turns += run
        else:
            text = JOINT.join(message.text for message in run if message.text)
            turns.append(Message(role, text, prefix=run[-1].prefix))
    for turn in turns:
        if turn.role == "assistant" and _is_empty(turn):
            raise TemplateError("the conversation has an answer without content")
    return turns


def _is_empty(message: Message) -> bool:
    return not message.text and message.tokens is None


def _between(begin: str, text: str, end: str) -> list[Piece]:
    return [Control(begin), *([Text(text)] if text else []), Control(end)]


def _answer(turn: Message) -> list[Piece]:
    end: list[Piece] = [] if turn.prefix else [Control("</s>")]
    if turn.tokens is not None:
        return [Tokens(turn.tokens), *end] if turn.tokens else end
    text = turn.text.rstrip(" ")
    return [Text(text), *end] if text else end
