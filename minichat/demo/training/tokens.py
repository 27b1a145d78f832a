"""The demo's vocabulary and token ids: Tekken cut to its first ranks, conversations templated as V7.

`Codec.encode` gives the ids that mistral-common's `encode_chat_completion` gives (`check` compares them); it goes past
the request objects because training needs a million conversations.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mistral_common
from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.tool_calls import FunctionCall, Tool, ToolCall
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from .talk import Conversation
from .turns import CALLS, Calls, Results, WrongCalls

VOCAB = 4096
N_SPECIAL = 1000
BOS, EOS, INST, END_INST, SYSTEM, END_SYSTEM = 1, 2, 3, 4, 17, 18
TOOLS, END_TOOLS, RESULTS, END_RESULTS, TOOL_CALLS, TOOL_CONTENT = 5, 6, 7, 8, 9, 19
DIGIT_WEIGHT = 0.15
"""What a digit of a call's id counts in the loss: only that it is a new digit can be learned."""


def trimmed_tekken(vocab: int = VOCAB) -> str:
    """mistral-common's Tekken, cut to its first ranks (still a valid byte-pair vocabulary), as JSON of version v7."""
    source = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    tekken = json.loads(source.read_text(encoding="utf-8"))
    n = vocab - N_SPECIAL
    tekken["config"].update(version="v7", default_vocab_size=vocab, num_vocab_tokens=n)
    tekken["vocab"] = tekken["vocab"][:n]
    tekken.pop("image", None)
    return json.dumps(tekken)


class Codec:
    def __init__(self, tekken: Path) -> None:
        self.oracle = MistralTokenizer.from_file(str(tekken))
        self.tekken = self.oracle.instruct_tokenizer.tokenizer
        vocab = json.loads(tekken.read_text(encoding="utf-8"))["vocab"]
        strings = [v["token_str"] for v in vocab]
        self.pieces = sorted({s for s in strings if s and s.isascii() and s.isalpha() and s.islower() and len(s) < 6})
        self.cache: dict[str, list[int]] = {}
        self.id_key = self.tekken.encode('}, "id": "', bos=False, eos=False)[-5:]

    def text(self, text: str) -> list[int]:
        ids = self.cache.get(text)
        if ids is None:
            ids = self.tekken.encode(text, bos=False, eos=False)
            if len(self.cache) < 500_000:
                self.cache[text] = ids
        return ids

    def prompt(self, talk: Conversation) -> list[int]:
        """The ids up to the last answer, which is left to the model."""
        return self.encode(talk, answer_last=False)[0]

    def encode(self, talk: Conversation, answer_last: bool = True) -> tuple[list[int], list[float], list[int]]:
        """-> ids, how much each one counts (0: the model need not say it), and each one's turn."""
        ids, counts, turn = [BOS], [0.0], [0]
        last_user = max(i for i, (asked, _) in enumerate(talk.turns) if isinstance(asked, str))

        def add(new: list[int], count: float, i: int) -> None:
            ids.extend(new)
            counts.extend([count] * len(new))
            turn.extend([i] * len(new))

        if talk.system:
            add([SYSTEM, *self.text(talk.system), END_SYSTEM], 0, 0)
        for i, (asked, answer) in enumerate(talk.turns):
            if talk.tools and i == last_user:
                add([TOOLS, *self.text(talk.tools), END_TOOLS], 0, i)
            if isinstance(asked, Results):
                for call_id, text in asked.results:
                    add([RESULTS, *self.tekken.encode(call_id, bos=False, eos=False), TOOL_CONTENT], 0, i)
                    add([*self.text(text), END_RESULTS], 0, i)
            else:
                add([INST, *self.text(asked), END_INST], 0, i)
            if not answer_last and i == len(talk.turns) - 1:
                break
            if isinstance(answer, Calls):
                # Calls before the last question are made without sight of the tools.
                learned = i >= last_user and not isinstance(answer, WrongCalls)
                self.add_calls(answer, float(learned), i, add)
            else:
                add([*self.text(answer), EOS], 1, i)
        return ids, counts, turn

    def add_calls(self, calls: Calls, count: float, i: int, add: Callable[[list[int], float, int], None]) -> None:
        add([TOOL_CALLS], count, i)
        new = self.tekken.encode(calls, bos=False, eos=False)
        id_digits = 0
        for at, token in enumerate(new):
            if new[max(0, at - 5) : at] == self.id_key:
                id_digits = 9
            add([token], count * DIGIT_WEIGHT if id_digits else count, i)
            id_digits = max(0, id_digits - 1)
        add([EOS], count, i)

    def decode(self, ids: list[int]) -> str:
        """The answer's text; calls begin with `[TOOL_CALLS]`."""
        return (CALLS if ids[:1] == [TOOL_CALLS] else "") + self.tekken.decode([i for i in ids if i >= N_SPECIAL])

    def check(self, talk: Conversation) -> None:
        """Raises unless the ids are mistral-common's."""
        messages: list[SystemMessage | UserMessage | AssistantMessage | ToolMessage] = []
        if talk.system:
            messages.append(SystemMessage(content=talk.system))
        for asked, answer in talk.turns:
            if isinstance(asked, Results):
                messages += [ToolMessage(tool_call_id=i, content=text) for i, text in asked.results]
            else:
                messages.append(UserMessage(content=asked))
            if isinstance(answer, Calls):
                messages.append(AssistantMessage(content=None, tool_calls=[a_call(c) for c in json.loads(answer)]))
            else:
                messages.append(AssistantMessage(content=answer))
        tools = [Tool.model_validate(tool) for tool in json.loads(talk.tools)] if talk.tools else None
        request = ChatCompletionRequest(messages=messages[:-1], tools=tools)
        expected = self.oracle.encode_chat_completion(request).tokens
        if self.prompt(talk) != expected:
            raise ValueError(f"the ids are not mistral-common's: {talk}")


def a_call(call: dict[str, Any]) -> ToolCall:
    arguments = json.dumps(call["arguments"], ensure_ascii=False)
    return ToolCall(id=call["id"], function=FunctionCall(name=call["name"], arguments=arguments))
