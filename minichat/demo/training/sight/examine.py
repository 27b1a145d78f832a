"""Draws pictures to examine a model with: files as people have them, of seeds that no training row has.

    python -m minichat.demo.training.sight.examine FOLDER --pictures 300

Sides of 90 to 1,400 pixels in any proportion down to 1 : 2; JPEG, PNG or WebP; noise, blur, uneven light; digits by
hand and in fonts that training has not seen; questions in words that it has not seen. `questions.json` tells what to
ask of each file and which answers are true.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from .questions import Asked, ask, talk
from .scenes import TEST_FONTS, picture, scene

PER_PICTURE = 3


def question(one: Asked, file: str | None, sort: str) -> dict[str, object]:
    """sort: the scene's; no file: asked without a picture."""
    return {"file": file, "sort": sort, "skill": one.skill, "question": one.question, "answers": one.answers}


def examination(folder: Path, pictures: int, seed: int) -> None:
    """Writes pictures that no training has seen, and questions.json with what may be answered."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = []
    for n in range(pictures):
        rng = random.Random(f"test:{seed}:{n}")
        short = rng.uniform(0.5, 1) if rng.random() < 0.7 else 0.75
        of = scene(rng, *((1, short) if rng.random() < 0.6 else (short, 1)))
        longest = rng.choice((rng.randint(90, 200), rng.randint(200, 640), rng.randint(640, 1400)))
        suffix = rng.choice(("jpg", "jpg", "png", "webp"))
        name = f"{n:04}.{suffix}"
        image = picture(rng, of, longest, TEST_FONTS)
        image.save(folder / name, quality=rng.randint(50, 95))
        asks = [ask(rng, of, test=True) for _ in range(PER_PICTURE)]
        asked += [question(one, name, of.sort) for one in asks]
        if n % 12 == 0:
            asked.append(question(talk(rng, test=True), None, ""))
    (folder / "questions.json").write_text(json.dumps(asked, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    examination(a.folder, a.pictures, a.seed)


if __name__ == "__main__":
    main()
