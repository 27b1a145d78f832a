"""Nothing that somebody wrote becomes a control token, whatever place of a conversation it stands in."""

from __future__ import annotations

import pytest
from mistral_oracle import VERSIONS
from template_checks import conversation_with, injected, injected_names, ours, vocabulary

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
def test_names_and_ids_are_refused_or_harmless(version: str) -> None:
    assert injected_names(version, CONVERSATIONS) is None
