"""Measures what a model answers about the pictures that `examine` has drawn; an answer is right if it is word for word.

    python -m minichat.demo.training.sight.evaluate MODEL FOLDER [--show 3]

MODEL is a run's folder (checkpoint.pt) or an exported one, both computed by PyTorch; or, with --minichat, whatever
`minichat run` takes: then the pictures go the way of every user's, through both GGUF files.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

Answer = Callable[[Path | None, str], str]


def torch_answer(model: Path) -> Answer:
    """model: a folder with `checkpoint.pt`, or an exported one."""
    import torch
    from PIL import Image

    from ..tokens import BOS, END_INST, EOS, INST
    from .batches import codec_of, normalised, picture_ids
    from .export import load_export
    from .model import LONGEST, UNIT, Sight

    torch.set_num_threads(1)
    if (model / "checkpoint.pt").exists():
        net = Sight()
        net.load_state_dict(torch.load(model / "checkpoint.pt", weights_only=True)["net"])
    else:
        net = load_export(model)
    codec = codec_of(model)

    def answer(file: Path | None, question: str) -> str:
        pixels, first = None, []
        if file:
            image = Image.open(file).convert("RGB")
            ratio = max(1.0, max(image.size) / LONGEST)
            columns, rows = (int((round(side / ratio) - 1) // UNIT + 1) for side in image.size)
            pixels, first = torch.from_numpy(normalised(image, rows, columns))[None], picture_ids(rows, columns)
        ids = torch.tensor([[BOS, INST, *first, *codec.text(question), END_INST]])
        return codec.decode(net.greedy(ids, pixels, EOS)[0])

    return answer


def minichat_answer(model: str) -> Answer:
    """model: as `minichat run` takes it."""
    from minichat import Chat

    chat = Chat(model, temperature=0)

    def answer(file: Path | None, question: str) -> str:
        chat.clear()
        return chat.say(question, images=[file] if file else []).text

    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minichat", action="store_true")
    parser.add_argument("--pictures", type=int, default=10**9)
    parser.add_argument("--show", type=int, default=3, help="mistakes shown a skill")
    a = parser.parse_args()
    answer = minichat_answer(a.model) if a.minichat else torch_answer(Path(a.model))
    questions = json.loads((a.folder / "questions.json").read_text(encoding="utf-8"))
    right: dict[str, list[bool]] = defaultdict(list)
    mistakes: dict[str, list[str]] = defaultdict(list)
    files = set()
    for q in questions:
        files.add(q["file"])
        if len(files - {None}) > a.pictures:
            break
        said = answer(a.folder / q["file"] if q["file"] else None, q["question"])
        passed = said.strip() in q["answers"]
        skill = f"{q['skill']}, {q['sort']}" if q["sort"] else q["skill"]
        for name in ("all", skill):
            right[name].append(passed)
        if not passed:
            mistakes[skill].append(f"{q['file']}: {q['question']} -> {said!r}, not {q['answers'][0]!r}")
    for skill in sorted(right):
        print(f"{skill:20} {100 * sum(right[skill]) / len(right[skill]):5.1f}%  of {len(right[skill])}", flush=True)
        for line in mistakes[skill][: a.show]:
            print("      ", line)


if __name__ == "__main__":
    main()
