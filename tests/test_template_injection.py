"""Nothing that somebody wrote becomes a control token, whatever place of a conversation it stands in."""

from __future__ import annotations

import json
import random

import pytest
from mistral_oracle import VERSIONS
from random_text import hostile_text
from template_checks import controls, conversation_with, injected, ours, vocabulary

CONVERSATIONS = 60  # for each version; tests/oracle.py has 5,000


@pytest.mark.parametrize("version", VERSIONS)
def test_no_content_becomes_a_control_token(version: str) -> None:
    assert injected(version, CONVERSATIONS) is None


TALK = {"system", "question", "answer", "last question", "prefix"}
TOOLS = {"key", "argument", "result", "description", "property", "schema"}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_place_is_in_the_prompt(version: str) -> None:
    """Or the test above would test nothing there; only a picture's source and V13's ids are never shown."""
    seen: set[str] = set()

    def marked(place: str) -> str:
        seen.add(place)
        return f"<{place}>"

    messages, tools = conversation_with(version, marked)
    ids, _ = ours(messages, version, tools)
    text = vocabulary(version).text(ids or []).replace("▁", " ")
    expected = TALK if version == "v1" else TALK | TOOLS
    expected |= {"after the image"} if version not in ("v1", "v2", "v3") else set()
    expected |= {"text and call"} if version in ("v7", "v7-tekken", "v11", "v13") else set()
    expected |= {"thinking"} if version == "v13" else set()
    assert {place for place in seen if f"<{place}>" in text} == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_names_and_ids_that_could_be_taken_for_control_tokens_are_refused(version: str) -> None:
    rng = random.Random(f"names {version}")
    harmless = controls(version, *conversation_with(version, lambda _: "x"))
    plain = json.dumps(conversation_with(version, lambda _: "x"))
    for _ in range(300):
        hostile = json.dumps(hostile_text(rng))
        for before, after in (('"name": "f"', f'"name": {hostile}'), ('"D681PevKs"', hostile)):
            messages, tools = json.loads(plain.replace(before, after))
            ids, why = ours(messages, version, tools)
            if ids is None:
                assert "name is 1 to 64" in why or "id is 9 letters" in why
            else:
                assert controls(version, messages, tools) == harmless
