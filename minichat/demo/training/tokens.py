"""The demo's vocabulary and token ids: Tekken cut to its first ranks, conversations templated as V7.

`Codec.encode` gives the ids that mistral-common's `encode_chat_completion` gives (`check` compares them); it goes past
the request objects because training needs a million conversations.
"""

from __future__ import annotations

import json
from pathlib import Path

import mistral_common
from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from .talk import Conversation

VOCAB = 4096
N_SPECIAL = 1000
BOS, EOS, INST, END_INST, SYSTEM, END_SYSTEM = 1, 2, 3, 4, 17, 18


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

    def encode(self, talk: Conversation, answer_last: bool = True) -> tuple[list[int], list[bool], list[int]]:
        """-> ids, which of them the model must say, and each one's turn."""
        ids, said, turn = [BOS], [False], [0]

        def add(new: list[int], answer: bool, i: int) -> None:
            ids.extend(new)
            said.extend([answer] * len(new))
            turn.extend([i] * len(new))

        if talk.system:
            add([SYSTEM, *self.text(talk.system), END_SYSTEM], False, 0)
        for i, (user, answer) in enumerate(talk.turns):
            add([INST, *self.text(user), END_INST], False, i)
            if answer_last or i < len(talk.turns) - 1:
                add([*self.text(answer), EOS], True, i)
        return ids, said, turn

    def decode(self, ids: list[int]) -> str:
        return self.tekken.decode([i for i in ids if i >= N_SPECIAL])

    def check(self, talk: Conversation) -> None:
        """Raises unless the ids are mistral-common's."""
        messages: list[SystemMessage | UserMessage | AssistantMessage] = []
        if talk.system:
            messages.append(SystemMessage(content=talk.system))
        for user, answer in talk.turns:
            messages += [UserMessage(content=user), AssistantMessage(content=answer)]
        request = ChatCompletionRequest(messages=messages[:-1])
        expected = self.oracle.encode_chat_completion(request).tokens
        if self.prompt(talk) != expected:
            raise ValueError(f"the ids are not mistral-common's: {talk}")
