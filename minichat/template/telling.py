"""Which template a GGUF's model was trained on, told from its metadata. Pure; standard library only.

A file that minichat's converter wrote records it. Of others, two things tell: the vocabulary's control tokens, and the
Jinja template that the file carries, which is read for what it writes and never run here:

    vocabulary      [INST] in it   the template writes                        version
    SentencePiece   no             "[INST] " and " [/INST]"                   v1      7B v0.1 and v0.2, Mixtral 8x7B
    SentencePiece   yes            [INST], and no name of [PREFIX] known      v2
    SentencePiece   yes            [INST]                                     v3      7B v0.3, 8x22B, Small 2409
    SentencePiece   yes            [SYSTEM_PROMPT]                            v7      Large 2411
    Tekken          yes            [INST]                                     v3-tekken   Nemo, Ministral 8B, Pixtral
    Tekken          yes            [SYSTEM_PROMPT], and no [ARGS] known       v7-tekken   Small 3 and 3.1
    Tekken          yes            [SYSTEM_PROMPT] [CALL_ID] [ARGS]           v11     Small 3.2
    Tekken          yes            [SYSTEM_PROMPT] [ARGS] or [THINK]          v13     Magistral, Devstral 2507

llama.cpp's own names, such as mistral-v7-tekken, may stand in the template's place. What fits none of these is not
guessed: it is of another family ("embedded"), or Mistral's and "unknown".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

How = Literal["recorded", "told", "embedded", "base", "unknown"]

_BUILT_IN = {f"mistral-{name}": name for name in ("v1", "v3", "v3-tekken", "v7", "v7-tekken")}
_OTHER_FAMILIES = ("<<SYS>>", "<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "<|user|>", "### Instruction")
_NORMAL = 1  # tokenizer.ggml.token_type


@dataclass(frozen=True)
class Told:
    """template: a version's name; None where none is known, or none is Mistral's.

    how: "recorded" by minichat's converter, "told" from what is in the file, "embedded": the file carries the template
        of another family, "base": it has none, a model that completes text, "unknown": Mistral's, and not placed.
    why: what was found, a half sentence for people.
    """

    template: str | None
    how: How
    why: str


def tell(metadata: Mapping[str, Any]) -> Told:
    """The template that a GGUF's metadata names or shows. Never raises.

    >>> tell({"minichat.template": "v7-tekken"})
    Told(template='v7-tekken', how='recorded', why='recorded when the model was converted')
    """
    recorded = metadata.get("minichat.template")
    if recorded is not None:
        if isinstance(recorded, str):
            return Told(recorded, "recorded", "recorded when the model was converted")
        return Told(None, "unknown", "its minichat.template is no text")
    if "minichat.version" in metadata:
        return Told(None, "base", "converted from a model that has no template")
    embedded = metadata.get("tokenizer.chat_template")
    if embedded is None:
        return Told(None, "base", "the file carries no template")
    if not isinstance(embedded, str):
        return Told(None, "unknown", "its tokenizer.chat_template is no text")
    kind = _kind(metadata)
    if embedded.strip() in _BUILT_IN:
        return _built_in(_BUILT_IN[embedded.strip()], kind)
    if kind is None or "[INST]" not in embedded or any(mark in embedded for mark in _OTHER_FAMILIES):
        return Told(None, "embedded", "its tokenizer.chat_template is not one of Mistral's")
    controls = _controls(metadata)
    told = _sentencepiece(embedded, controls) if kind == "SentencePiece" else _tekken(embedded, controls)
    version, why = told
    return Told(version, "told" if version else "unknown", f"a {kind} vocabulary, {why}")


def _kind(metadata: Mapping[str, Any]) -> Literal["SentencePiece", "Tekken"] | None:
    model = metadata.get("tokenizer.ggml.model")
    if model == "llama":
        return "SentencePiece"
    return "Tekken" if model == "gpt2" and metadata.get("tokenizer.ggml.pre") == "tekken" else None


def _built_in(version: str, kind: str | None) -> Told:
    if (kind == "Tekken") != version.endswith("-tekken") or kind is None:
        return Told(None, "unknown", f"its template is called mistral-{version}, its vocabulary is of another kind")
    return Told(version, "told", f"its template is called mistral-{version}")


def _controls(metadata: Mapping[str, Any]) -> set[str]:
    """The tokens that are not ordinary text; all of them where no types are told."""
    tokens, types = metadata.get("tokenizer.ggml.tokens"), metadata.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, list):
        return set()
    if not isinstance(types, list) or len(types) != len(tokens):
        types = [0] * len(tokens)
    return {str(token) for token, kind in zip(tokens, types, strict=True) if kind != _NORMAL}


def _sentencepiece(embedded: str, controls: set[str]) -> tuple[str | None, str]:
    speaks_system = "[SYSTEM_PROMPT]" in embedded
    if "[INST]" not in controls:
        if speaks_system or "[TOOL_CALLS]" in embedded:
            return None, "which has no control token [INST], and a template with tools or system prompts"
        if "[INST] " in embedded and " [/INST]" in embedded:
            return "v1", "which has no control token [INST], and a template that writes it with spaces"
        return None, "which has no control token [INST], and a template that writes it without spaces"
    if speaks_system != ("[SYSTEM_PROMPT]" in controls):
        holder = "the template" if speaks_system else "the vocabulary"
        return None, f"and [SYSTEM_PROMPT] is known to {holder} only"
    if speaks_system:
        return "v7", "and a template with [SYSTEM_PROMPT]"
    if "[PREFIX]" in controls or "[IMG]" in controls:
        return "v3", "and a template with [INST] and without [SYSTEM_PROMPT]"
    return "v2", "which does not know [PREFIX], and a template with [INST]"


def _tekken(embedded: str, controls: set[str]) -> tuple[str | None, str]:
    if "[MODEL_SETTINGS]" in embedded or "[MODEL_SETTINGS]" in controls:
        return None, "with [MODEL_SETTINGS], of a version that minichat does not have"
    marks = {mark for mark in ("[ARGS]", "[CALL_ID]", "[THINK]") if mark in embedded}
    if "[SYSTEM_PROMPT]" not in embedded:
        if marks:
            return None, f"and a template with {min(marks)} and without [SYSTEM_PROMPT]"
        return "v3-tekken", "and a template with [INST] and without [SYSTEM_PROMPT]"
    if "[CALL_ID]" in marks:
        if "[ARGS]" in marks:
            return "v11", "and a template with [CALL_ID] and [ARGS]"
        return None, "and a template with [CALL_ID] and without [ARGS]"
    if marks:
        return "v13", f"and a template with {' and '.join(sorted(marks))} and without [CALL_ID]"
    if "[ARGS]" in controls:
        return None, "which knows [ARGS], and a template that does not say how it is used"
    return "v7-tekken", "and a template with [SYSTEM_PROMPT] and without [ARGS]"
