"""The other side of each measurement, a process each: what people do with llama.cpp and llama-cpp-python today.

    convert SOURCE OUT FTYPE               to bf16, then llama_model_quantize; prints the seconds of the second step
    decode MODEL PROMPT TOKENS CTX         the bare llama_decode loop, greedy; prints tokens/s
    depth MODEL DEPTH PROMPT TOKENS        the same loop behind DEPTH tokens; prints tokens/s of reading and of writing
    one-shot MODEL PROMPT TOKENS CTX       llama_cpp's Llama class

Our own converter stands in for convert_hf_to_gguf.py in the first step: it needs no torch, and is faster. Like the
real one it does not wait until the temporary file is on the disk.
"""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    name, *arguments = sys.argv[1:]
    commands: dict[str, Callable[..., None]] = {
        "convert": convert,
        "decode": decode,
        "depth": depth,
        "one-shot": one_shot,
    }
    commands[name](*arguments)


def convert(source: str, out: str, file_type: str) -> None:
    from convert.pipeline import convert

    temporary = Path(out).with_suffix(".bf16.gguf")
    setattr(os, "fsync", lambda _: None)  # noqa: B010 (a function of another signature)
    convert(Path(source), temporary, "bf16")
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{file_type}")
    params.nthread = os.cpu_count() or 1
    begin = time.perf_counter()
    if llama_cpp.llama_model_quantize(os.fsencode(temporary), os.fsencode(out), ctypes.byref(params)):
        sys.exit("llama_model_quantize failed")
    print(time.perf_counter() - begin)
    temporary.unlink()


def decode(model: str, prompt: str, tokens: str, ctx: str) -> None:
    c, loaded, context, sampler = bare(model, int(ctx))
    raw = prompt.encode()
    ids = (c.llama_token * (len(raw) + 8))()
    count = c.llama_tokenize(c.llama_model_get_vocab(loaded), raw, len(raw), ids, len(ids), True, False)
    c.llama_decode(context, c.llama_batch_get_one(ids, count))
    print(written(c, context, sampler, int(tokens) - 1))


def depth(model: str, depth: str, prompt: str, tokens: str) -> None:
    from minichat.engine.starting import SPIN_COUNT

    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # as the engine: else on busy cores its threads wait
    count = int(prompt)
    c, _, context, sampler = bare(model, int(depth) + count + int(tokens) + 8)
    memory = c.llama_get_memory(context)
    ids = (c.llama_token * count)(*(1000 + n * 7 % 1000 for n in range(count)))

    def read(begin: int, end: int) -> None:
        for at in range(begin, end, count):
            c.llama_decode(context, c.llama_batch_get_one(ids, min(count, end - at)))
        c.llama_synchronize(context)

    read(0, int(depth))
    rates = []
    for _ in range(2):  # the first time wakes the processor
        c.llama_memory_seq_rm(memory, 0, int(depth), -1)
        begin = time.perf_counter()
        read(int(depth), int(depth) + count)
        rates.append(count / (time.perf_counter() - begin))
    c.llama_memory_seq_rm(memory, 0, int(depth), -1)
    c.llama_decode(context, c.llama_batch_get_one(ids, 1))
    print(rates[-1], written(c, context, sampler, int(tokens)))


def bare(path: str, ctx: int) -> tuple[Any, Any, Any, Any]:
    """llama.cpp's functions, a model, a context with as many threads as minichat takes, a greedy sampler."""
    from minichat.engine import binding
    from minichat.engine.llama import physical_cores, usable_cpus

    c = binding.load()
    c.llama_backend_init()
    params = c.llama_model_default_params()
    params.use_extra_bufts = not has_amx(c)
    loaded = c.llama_model_load_from_file(os.fsencode(path), params)
    settings = c.llama_context_default_params()
    settings.n_ctx, settings.n_threads, settings.n_threads_batch = ctx, physical_cores(), usable_cpus()
    context = c.llama_init_from_model(loaded, settings)
    sampler = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
    c.llama_sampler_chain_add(sampler, c.llama_sampler_init_greedy())
    return c, loaded, context, sampler


def written(c: Any, context: Any, sampler: Any, tokens: int) -> float:
    """Tokens/s of the loop: decode one, draw the next."""
    one = (c.llama_token * 1)(c.llama_sampler_sample(sampler, context, -1))
    begin = time.perf_counter()
    for _ in range(tokens):
        c.llama_decode(context, c.llama_batch_get_one(one, 1))
        one[0] = c.llama_sampler_sample(sampler, context, -1)
    return tokens / (time.perf_counter() - begin)


def one_shot(model: str, prompt: str, tokens: str, ctx: str) -> None:
    import llama_cpp

    defaults = llama_cpp.llama_cpp.llama_model_default_params
    if has_amx(llama_cpp):  # or it crashes at the first token: see minichat/engine/llama.py

        def without_amx() -> object:
            params = defaults()
            params.use_extra_bufts = False
            return params

        llama_cpp.llama_cpp.llama_model_default_params = without_amx
    llama = llama_cpp.Llama(model, n_ctx=int(ctx), verbose=False)
    answer: Any = llama.create_completion(f"<s>[INST]{prompt}[/INST]", max_tokens=int(tokens), temperature=0)
    print(answer["choices"][0]["text"])


def has_amx(c: Any) -> bool:
    return b"AMX_INT8 = 1" in c.llama_print_system_info()


if __name__ == "__main__":
    main()
