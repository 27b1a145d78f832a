"""The other side of each measurement, a process each: what people do with llama.cpp and llama-cpp-python today.

    convert SOURCE OUT FTYPE               to bf16, then llama_model_quantize; prints the seconds of the second step
    decode MODEL PROMPT TOKENS CTX         the bare llama_decode loop, greedy; prints tokens/s
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
    commands: dict[str, Callable[..., None]] = {"convert": convert, "decode": decode, "one-shot": one_shot}
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
    from minichat.engine import binding
    from minichat.engine.llama import physical_cores, usable_cpus

    c = binding.load()
    c.llama_backend_init()
    params = c.llama_model_default_params()
    params.use_extra_bufts = not has_amx(c)
    loaded = c.llama_model_load_from_file(os.fsencode(model), params)
    settings = c.llama_context_default_params()
    settings.n_ctx, settings.n_threads, settings.n_threads_batch = int(ctx), physical_cores(), usable_cpus()
    context = c.llama_init_from_model(loaded, settings)
    sampler = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
    c.llama_sampler_chain_add(sampler, c.llama_sampler_init_greedy())
    raw = prompt.encode()
    ids = (c.llama_token * (len(raw) + 8))()
    count = c.llama_tokenize(c.llama_model_get_vocab(loaded), raw, len(raw), ids, len(ids), True, False)
    c.llama_decode(context, c.llama_batch_get_one(ids, count))
    one = (c.llama_token * 1)(c.llama_sampler_sample(sampler, context, -1))
    begin = time.perf_counter()
    for _ in range(int(tokens) - 1):
        c.llama_decode(context, c.llama_batch_get_one(one, 1))
        one[0] = c.llama_sampler_sample(sampler, context, -1)
    print((int(tokens) - 1) / (time.perf_counter() - begin))


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
