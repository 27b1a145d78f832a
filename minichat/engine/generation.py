"""An answer: prefill what the KV cache lacks of the prompt, then decode token by token.

The loop yields typed events and never prints. Its cost for one token does not grow with the conversation.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence

from minichat.engine.ahead import Pace
from minichat.engine.llama import BATCH, Llama
from minichat.engine.resident import memory
from minichat.engine.speculation import Speculation
from minichat.engine.speech import Speech
from minichat.engine.types import Done, Event, Prefill, Reason, Stats
from minichat.tokenizer import Tokenizer
from quant.errors import ContextError

EMIT_S = 0.02  # text is sent at once, but no more often than a screen can show it


def prefill(
    llama: Llama,
    prompt: Sequence[int],
    stopped: Callable[[], bool],
    room: int = 1,
    *,
    settled: int | None = None,
    pace: Pace | None = None,
) -> Iterator[Prefill]:
    """Decodes into the KV cache what it lacks of `prompt`, a batch at a time; the last Prefill is where it ended.

    settled: the tokens behind that place are still being typed. pace: of batches that are to be short. Raises
    ContextError if the prompt does not leave `room` tokens free in the context.
    """
    llama.reserve(len(prompt) + room)
    if len(prompt) + room > llama.ctx:
        more = f", or raise the limit with --ctx (this model takes up to {llama.ctx_train:,})"
        if llama.is_short_of_memory:
            more = "; memory has no room for more (--cache-type q8_0 or q4_0 takes less)"
        rows = sum(token < 0 for token in prompt)
        shorter = f"shorten it, or its pictures, {rows:,} tokens, with --image-max-tokens" if rows else "shorten it"
        raise ContextError(
            f"the prompt is {len(prompt):,} tokens long, and the context holds {llama.ctx:,}; {shorter}"
            + (more if llama.ctx < llama.ctx_train else "")
        )
    reused = done = llama.reuse(prompt)
    llama.settled = settled if settled is not None else sys.maxsize
    while done < len(prompt) and not stopped():
        yield Prefill(done, len(prompt), reused)
        end = done + (pace.size if pace is not None else BATCH)
        if llama.gallery is not None:
            end, picture = llama.gallery.next_batch(prompt, done, end)
            if picture is not None:
                yield Prefill(done, len(prompt), reused, picture.source)
                if not llama.gallery.look(picture, stopped):
                    break
        begin = time.perf_counter()
        if not llama.decode(prompt[done:end]):
            break
        if pace is not None:
            pace.took(len(llama.cached) - done, time.perf_counter() - begin)
        done = len(llama.cached)
    yield Prefill(done, len(prompt), reused)


def generate(
    llama: Llama,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    draw: Callable[[int], int | None],
    max_tokens: int | None,
    stopped: Callable[[], bool],
    room: int = 1,
    seed: int | None = None,
    speculation: Speculation | None = None,
) -> Iterator[Event]:
    """The events of one answer to `prompt`; the last is its Done.

    draw: the next token from the logits of this place in the last batch, -1 being its last; None if nothing can follow.
    `stopped` is asked before each token. seed: what `draw` draws with, for the Stats. speculation: guesses at tokens,
    which are decoded ahead.
    """
    begin = time.perf_counter()
    at = Prefill(0, len(prompt), 0)
    for at in prefill(llama, prompt, stopped, room):
        yield at
    prefilled = first = now = time.perf_counter()
    tokens: list[int] = []
    speech, sent_at = Speech(tokenizer, prompt), 0.0
    reason: Reason = "stop"
    guesses: list[int] = []  # decoded behind the answer's last token; the logits behind `place` of them are next
    place = -1
    if speculation is not None:
        speculation.begin(prompt)
    while at.done == at.total and not stopped():
        if max_tokens is not None and len(tokens) >= max_tokens:
            reason = "length"
            break
        token = draw(place)
        now = time.perf_counter()
        first = first if tokens else now
        if token is None or llama.ends(token):
            reason = "eos"
            break
        tokens.append(token)
        speech.add(token)
        if speculation is not None:
            speculation.add(token)
        if len(tokens) == max_tokens:
            reason = "length"
            break
        length = len(prompt) + len(tokens)
        if length > llama.ctx:
            reason = "context"
            break
        if 0 <= place < len(guesses) and guesses[place] == token:
            place += 1
            continue
        if speech.is_pending and now - sent_at >= EMIT_S:
            yield from speech.take()
            sent_at = now
        if speculation is not None:
            if guesses:
                llama.cut_back(length - 1)
            room = llama.ctx - length if max_tokens is None else min(llama.ctx - length, max_tokens - len(tokens) - 1)
            guesses = speculation.guess(min(room, BATCH - 1))
        if not llama.decode([token, *guesses], every=bool(guesses)):
            break
        place = 0 if guesses else -1
    if guesses:
        llama.cut_back(min(len(llama.cached), len(prompt) + len(tokens)))
    if reason == "eos":
        speech.finish()  # else a half character belongs to the token that never came
    yield from speech.take()
    resident, most = memory()
    stats = Stats(
        prompt_tokens=len(prompt),
        reused_tokens=at.reused,
        answer_tokens=len(tokens),
        first_token_s=first - begin,
        prefill_s=prefilled - begin,
        decode_s=now - first,
        context_tokens=min(len(prompt) + len(tokens), llama.ctx),
        seed=seed,
        drafted=speculation.drafted if speculation is not None else 0,
        accepted=speculation.accepted if speculation is not None else 0,
        memory_bytes=resident,
        peak_bytes=most,
        pictures=llama.gallery.encoded if llama.gallery is not None else 0,
        encode_s=llama.gallery.encode_s if llama.gallery is not None else 0.0,
    )
    yield Done(reason, speech.text, tuple(tokens), stats, speech.spans)
