"""What `minichat run MODEL PROMPT` writes of an answer that could not be written as it came: JSON, calls of tools."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minichat.conversation import Conversation
    from minichat.engine.types import Done
    from minichat.pictures.album import Picture
    from minichat.template.messages import Call, Message
    from minichat.tools.rounds import Outcome


@dataclass(frozen=True)
class Report:
    """What is known of a question beforehand. name: the model's. pictures: those that came along.

    before: so many messages were there before the question. as_json: whether all of it is to be one JSON object.
    """

    name: str
    conversation: Conversation
    pictures: Sequence[Picture]
    before: int
    as_json: bool

    def write(self, outcome: Outcome | None, said: str) -> None:
        """What has not been written yet. outcome: None of no answer at all. said: the text that was held back."""
        from minichat.terminal.output import print_json, write

        if self.as_json:
            if outcome is not None:
                print_json(self._facts(outcome), indent=None)
        elif outcome is not None and outcome.calls:
            print_json([_call_facts(call) for call in outcome.calls], indent=None)
            write(sys.stderr, said)
        else:
            write(sys.stdout, said)

    def _facts(self, outcome: Outcome) -> dict[str, Any]:
        """What --json prints. Tokens (without the end token), seed and stats are those of the last answer."""
        done = outcome.done
        facts: dict[str, Any] = {"model": self.name, "template": self.conversation.template}
        if self.pictures:
            facts["images"] = [
                {"name": one.name, "width": one.width, "height": one.height, "tokens": one.tokens}
                for one in self.pictures
            ]
        facts["answer"] = done.text
        if outcome.answer.thinking:
            facts["thinking"] = outcome.answer.thinking
        if calls := _calls_with_results(self.conversation.messages[self.before :]):
            facts["calls"] = calls
        return {**facts, "tokens": list(done.tokens), **end_facts(done)}


def end_facts(done: Done) -> dict[str, Any]:
    """How an answer ended, what it was drawn with, and what it cost, as --json prints it."""
    cost = asdict(done.stats)
    seed = cost.pop("seed")
    return {
        "reason": done.reason,
        "seed": seed,
        "stats": cost | {"decode_tokens_per_s": done.stats.decode_tokens_per_s},
    }


def _calls_with_results(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """All calls in their order; one that has not been run has no result. Results stand in the order of the calls."""
    calls: list[dict[str, Any]] = []
    for message in messages:
        calls += [_call_facts(call) for call in message.calls]
        if message.role == "tool":
            next(call for call in calls if "result" not in call)["result"] = message.text
    return calls


def _call_facts(call: Call) -> dict[str, Any]:
    return {"id": call.id, "name": call.name, "arguments": json.loads(call.arguments or "{}")}
