"""Templates told from what published files carry: their vocabularies' control tokens and their own Jinja templates."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from mistral_oracle import VERSIONS, header
from random_text import hostile_text, random_text

from minichat.template import VERSIONS as TEMPLATES
from minichat.template.telling import Told, tell

V1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
)
V3 = """{{ bos_token }}{% for m in messages %}{{ '[AVAILABLE_TOOLS] [' }}{{ '[INST] ' + m.content + '[/INST]' }}
{{ '[TOOL_CALLS] [' }}{{ '[TOOL_RESULTS] {"call_id": "' + m.tool_call_id + '"}[/TOOL_RESULTS]' }}{% endfor %}"""
V3_TEKKEN = V3.replace("] ", "]")
V7 = "{{ bos_token }}{{ '[INST] ' + content + '[/INST]' }}{{ '[SYSTEM_PROMPT] ' + content + '[/SYSTEM_PROMPT]' }}"
V7_TEKKEN = V7.replace("] ", "]")
V11 = V7_TEKKEN + "{{ '[TOOL_CALLS]' + name + '[CALL_ID]' + id + '[ARGS]' + arguments }}"
V13 = V7_TEKKEN + "{{ '[TOOL_CALLS]' + name + '[ARGS]' + arguments }}{{ '[THINK]' + thinking + '[/THINK]' }}"
CHATML = "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}"
LLAMA_2 = "{{ bos_token + '[INST] ' + '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + content + ' [/INST]' }}"
EMBEDDED = dict(zip(VERSIONS, (V1, V1, V3, V3_TEKKEN, V7, V7_TEKKEN, V11, V13), strict=True))


def told(version: str, template: object, **changes: Any) -> Told:
    """Of a file with the vocabulary of this version and the given template."""
    return tell({**header(version).metadata, "tokenizer.chat_template": template, **changes})


@pytest.mark.parametrize("version", VERSIONS)
def test_published_files(version: str) -> None:
    found = told(version, EMBEDDED[version])
    assert (found.template, found.how) == (version, "told")
    assert "vocabulary" in found.why


@pytest.mark.parametrize("version", ["v1", "v3", "v3-tekken", "v7", "v7-tekken"])
def test_llama_cpps_names(version: str) -> None:
    assert told(version, f"mistral-{version}").template == version
    other = "v3" if version.endswith("tekken") else "v3-tekken"
    assert told(other, f"mistral-{version}") == Told(
        None, "unknown", f"its template is called mistral-{version}, its vocabulary is of another kind"
    )


def test_files_of_minichats_own() -> None:
    metadata = {**header("v3").metadata, "minichat.version": "0.1", "tokenizer.chat_template": V7}
    assert tell(metadata).how == "base"
    assert tell({**metadata, "minichat.template": "v7"}) == Told(
        "v7", "recorded", "recorded when the model was converted"
    )
    assert tell({**metadata, "minichat.template": "v15"}).template == "v15"
    assert tell({**metadata, "minichat.template": 7}).how == "unknown"


def test_files_without_a_template_complete_text() -> None:
    for version in VERSIONS:
        assert tell(header(version).metadata) == Told(None, "base", "the file carries no template")
    assert tell({}).how == "base"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("template", [CHATML, LLAMA_2, "{{ messages }}", "", "mistral-v8", V3 + CHATML])
def test_templates_of_other_families(version: str, template: str) -> None:
    found = told(version, template)
    assert (found.template, found.how) == (None, "embedded")


def test_vocabularies_of_other_families() -> None:
    for changes in (
        {"tokenizer.ggml.model": "bert"},
        {"tokenizer.ggml.pre": "llama-bpe"},
        {"tokenizer.ggml.model": None},
    ):
        assert told("v7-tekken", V7_TEKKEN, **changes).how == "embedded"


@pytest.mark.parametrize(
    ("version", "template", "why"),
    [
        ("v1", V3, "no control token .INST., and a template with tools"),
        ("v1", V7, "no control token .INST., and a template with tools or system"),
        ("v1", V1.replace(" + ' [/INST]'", " + '[/INST]'"), "without spaces"),
        ("v3", V7, ".SYSTEM_PROMPT. is known to the template only"),
        ("v7", V3, ".SYSTEM_PROMPT. is known to the vocabulary only"),
        ("v13", V7_TEKKEN, "knows .ARGS., and a template that does not say"),
        ("v3-tekken", V3_TEKKEN + "[ARGS]", r"with \[ARGS\] and without .SYSTEM_PROMPT"),
        ("v11", V11.replace("[ARGS]", ""), "with .CALL_ID. and without .ARGS."),
        ("v13", V13 + "[MODEL_SETTINGS]", "MODEL_SETTINGS"),
        ("v3", ["a"], "is no text"),
    ],
)
def test_what_cannot_be_placed_is_unknown_and_says_why(version: str, template: object, why: str) -> None:
    found = told(version, template)
    assert (found.template, found.how) == (None, "unknown")
    assert re.search(why, found.why)


def test_unnamed_control_tokens_of_other_converters() -> None:
    """Nemo's and Ministral's files call [SYSTEM_PROMPT] <SPECIAL_17>; without types every token is looked at."""
    metadata = dict(header("v3-tekken").metadata)
    tokens = ["<SPECIAL_17>" if t == "[SYSTEM_PROMPT]" else t for t in metadata["tokenizer.ggml.tokens"]]
    assert told("v3-tekken", V3_TEKKEN, **{"tokenizer.ggml.tokens": tokens}).template == "v3-tekken"
    assert told("v3", V3, **{"tokenizer.ggml.token_type": None}).template == "v3"
    assert told("v3", V3, **{"tokenizer.ggml.tokens": None}).how == "unknown"


def test_any_metadata_can_be_told_of() -> None:
    rng = random.Random("telling")
    hints = (
        "[INST]",
        "[INST] ",
        " [/INST]",
        "[SYSTEM_PROMPT]",
        "[ARGS]",
        "[CALL_ID]",
        "[THINK]",
        "[TOOL_CALLS]",
        "<<SYS>>",
    )
    keys = ("minichat.template", "minichat.version", "tokenizer.chat_template", "tokenizer.ggml.model")
    values: tuple[object, ...] = (None, 7, True, [], ["a", 7], "", "llama", "gpt2", "tekken")
    for _ in range(3_000):
        text = "".join(rng.choice((*hints, hostile_text(rng), random_text(rng, 2))) for _ in range(rng.randint(0, 5)))
        tokens = [rng.choice((*hints, "a", 7)) for _ in range(rng.randint(0, 6))]
        metadata: dict[str, Any] = {
            "tokenizer.ggml.model": rng.choice(("llama", "gpt2")),
            "tokenizer.ggml.pre": rng.choice(("tekken", None)),
            "tokenizer.ggml.tokens": rng.choice((tokens, None)),
            "tokenizer.ggml.token_type": rng.choice((None, [3] * len(tokens), [3])),
            "tokenizer.chat_template": text,
        }
        if rng.random() < 0.3:
            metadata[rng.choice(keys)] = rng.choice(values)
        found = tell({key: value for key, value in metadata.items() if value is not None})
        assert (found.template is not None) == (found.how in ("recorded", "told"))
        assert found.how == "recorded" or found.template in (None, *TEMPLATES)
        assert "\n" not in found.why
