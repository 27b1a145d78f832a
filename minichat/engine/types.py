"""What goes in and out of an engine, as plain frozen data. Standard library only: the front imports this.

Everything here also crosses the pipe as JSON: `dataclasses.asdict` one way, `T(**fields)` the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Device = Literal["auto", "cpu", "gpu"]
CacheType = Literal["f16", "q8_0", "q4_0"]
FlashAttention = Literal["auto", "on", "off"]
Reason = Literal["eos", "stop", "length", "context"]
Kind = Literal["text", "call", "think"]
TemplateHow = Literal["recorded", "told", "embedded", "base", "unknown"]


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded. None leaves the choice to the engine.

    ctx: context length in tokens, opened at once (None: what the model was trained for, as far as it fits into memory;
        a short one is opened, which grows when it is needed).
    gpu_layers: layers to offload (None: as many as fit on "auto" and "gpu", none on "cpu").
    threads: threads for decode and prefill (None: the physical cores that this process may use).
    vocab_only: read header and vocabulary only, for `tokenize`; `generate` is then refused.
    cache_type: how the KV cache is kept; q8_0 takes half the memory, q4_0 a quarter, and flash attention is needed.
    speculation: guess at tokens and decode several at once where that pays; what is answered stays as it is.
        False: nobody guesses, a draft model neither.
    draft: the GGUF of a smaller model of the same vocabulary that does the guessing (None: the text so far does).
    projector: the GGUF that makes pictures readable for this model, its mmproj (None: it reads text alone).
    """

    ctx: int | None = None
    gpu_layers: int | None = None
    threads: int | None = None
    device: Device = "auto"
    vocab_only: bool = False
    cache_type: CacheType = "f16"
    flash_attention: FlashAttention = "auto"
    speculation: bool = True
    draft: str | None = None
    projector: str | None = None


@dataclass(frozen=True)
class Sampling:
    """The sampler chain, in this order: top-k, top-p, min-p, temperature, a draw with `seed`.

    None takes the model's own default (`general.sampling.*` in its GGUF), else minichat's. temperature 0 takes the best
    token. top_k 0, top_p 1 and min_p 0 switch their sampler off. seed None draws another one for each answer.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class ModelInfo:
    """What the engine knows of the model that it has loaded. ctx and ctx_train in tokens.

    ctx: the longest context that there may be; it may be opened shorter, and grows.
    template: the version of Mistral's template to talk to it with; None if none is known.
    template_how: whether minichat's converter recorded it, or it was told from the file; else whether the file has a
        template of another family embedded, is a base model's, or looks like Mistral's but cannot be placed.
    template_why: what that was told from, one line.
    bos: the name of the control token that the file wants before a prompt; None if it wants none.
    fit: what was chosen because memory is short, in one line; "" if nothing had to give way.
    stamp: `stamp_of` the file when it was loaded.
    sees: whether pictures can be given to it: a projector goes with it. It is read with the first one.
    picture_side: the longest side of a picture that it takes, in pixels; picture_patch: those of the square that is one
        token, by which width and height must divide; picture_tokens: those of the largest one that memory has room for.
        0 if it does not see.
    """

    name: str
    architecture: str
    template: str | None
    template_how: TemplateHow
    template_why: str
    ctx: int
    ctx_train: int
    parameters: int
    size_bytes: int
    vocabulary: int
    threads: int
    gpu_layers: int
    bos: str | None = None
    fit: str = ""
    stamp: str = ""
    sees: bool = False
    picture_side: int = 0
    picture_patch: int = 0
    picture_tokens: int = 0

    def remarks(self, asked: LoadOptions) -> list[str]:
        """What is less than could be expected of how the model was loaded, a line each."""
        lines = [self.fit] if self.fit else []
        whole = -(-self.picture_side // self.picture_patch) if self.picture_patch else 0
        if self.picture_tokens < whole * (whole + 1):
            lines.append(
                f"memory has room for pictures of {self.picture_tokens:,} tokens; larger ones are made smaller"
                if self.picture_tokens
                else "memory has no room for reading a picture"
            )
        if asked.gpu_layers and asked.device != "cpu" and not self.gpu_layers:
            lines.append(
                f"--gpu-layers {asked.gpu_layers} without effect: llama.cpp has no GPU here (`minichat doctor`)"
            )
        return lines


def stamp_of(path: Path) -> str:
    """What tells a file from one that took its place: size, time and number; "" where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"


@dataclass(frozen=True)
class Stats:
    """Counts of tokens and seconds of one answer. reused_tokens of the prompt were in the KV cache already.

    seed: what the tokens were drawn with: the one that was asked for, else the one that was made up for this answer;
        None where nothing was to be drawn.
    drafted: tokens that were guessed at and decoded ahead; accepted: how many of them were drawn then.
    pictures: those of the prompt that had to be encoded; encode_s: the seconds that took, a part of prefill_s.
    memory_bytes: what the engine's process holds, mapped weights among it; peak_bytes: what it held at most. 0 where
        the system does not tell.
    """

    prompt_tokens: int
    reused_tokens: int
    answer_tokens: int
    first_token_s: float
    prefill_s: float
    decode_s: float
    context_tokens: int
    seed: int | None = None
    drafted: int = 0
    accepted: int = 0
    memory_bytes: int = 0
    peak_bytes: int = 0
    pictures: int = 0
    encode_s: float = 0.0

    @property
    def decoded_tokens(self) -> int:
        """Tokens of the prompt that had to be decoded."""
        return self.prompt_tokens - self.reused_tokens

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens a second after the first one; 0.0 where there was no second token."""
        return (self.answer_tokens - 1) / self.decode_s if self.answer_tokens > 1 and self.decode_s > 0 else 0.0


@dataclass(frozen=True)
class Prefill:
    """`done` of the prompt's `total` tokens are in the KV cache, `reused` of them from before.

    picture: the name of the picture that is being encoded now; "" while tokens are decoded.
    """

    done: int
    total: int
    reused: int
    picture: str = ""


@dataclass(frozen=True)
class Chunk:
    """The next piece of the answer: whole characters only.

    kind: "call" behind the control token [TOOL_CALLS], "think" between [THINK] and [/THINK] (<think> and </think> in
        other families), else "text".
    """

    text: str
    kind: Kind = "text"


@dataclass(frozen=True)
class Done:
    """The end of an answer: why, the whole text, its token ids (without the end token), and what it cost.

    text: what is of the kind "text". spans: everything that the model said, in order, as (text, is it the name of a
    control token): the tokens tell, so that a text that reads [TOOL_CALLS] is a text.
    """

    reason: Reason
    text: str
    tokens: tuple[int, ...]
    stats: Stats
    spans: tuple[tuple[str, bool], ...] = ()


Event = Prefill | Chunk | Done
