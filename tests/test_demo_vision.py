"""The demo that sees, from a picture's file to its answer: shapes, colours, numbers and digits."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from minichat import Chat
from minichat.demo.training.sight.questions import NO_PICTURE, ask
from minichat.demo.training.sight.scenes import TEST_FONTS, Item, Scene, picture, scene

FOLDER = Path(__file__).parent.parent / "minichat" / "demo" / "vision"
THREE_STARS = Scene("same", 1.0, 0.75, tuple(Item("star", "blue", x, 0.4, 0.12) for x in (0.2, 0.5, 0.8)))
A_SEVEN = Scene("digit", 0.8, 1.0, (Item("7", "red", 0.4, 0.5, 0.35),))


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINICHAT_HOME", str(tmp_path_factory.mktemp("home")))
        with Chat("demo-vision", temperature=0) as chat:
            yield chat


def drawn(of: Scene, path: Path, seed: int = 1, longest: int = 500) -> Path:
    picture(random.Random(seed), of, longest, TEST_FONTS).save(path)
    return path


def test_a_picture_is_asked_about_for_several_turns(chat: Chat, tmp_path: Path) -> None:
    chat.clear()
    assert chat.say("What do you see?", images=[drawn(THREE_STARS, tmp_path / "stars.png")]).text == "Three blue stars."
    assert chat.say("How many are there?").text == "There are three shapes."
    assert chat.say("What colour are they?").text == "They are blue."


def test_a_second_picture_has_an_answer_of_its_own(chat: Chat, tmp_path: Path) -> None:
    for of, answer in ((A_SEVEN, "A red 7."), (THREE_STARS, "Three blue stars.")):
        chat.clear()
        assert chat.say("What is this?", images=[drawn(of, tmp_path / "one.webp")]).text == answer


def test_what_its_readme_says_that_it_can_is_answered_rightly(chat: Chat, tmp_path: Path) -> None:
    right: list[bool] = []
    rng = random.Random("examination")
    while len(right) < 20:
        of = scene(rng, 1.0, rng.uniform(0.6, 1))
        one = ask(rng, of, test=True)
        if one.skill not in ("colour", "shape", "count", "digit") or of.sort == "mixed":
            continue
        chat.clear()
        file = drawn(of, tmp_path / f"{len(right)}.jpg", len(right))
        right.append(chat.say(one.question, images=[file]).text in one.answers)
    assert sum(right) >= 18


def test_without_a_picture_it_says_so(chat: Chat) -> None:
    chat.clear()
    assert chat.say("What is this?").text == NO_PICTURE


def test_its_files_are_what_was_told_of_them() -> None:
    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    tekken = json.loads((FOLDER / "tekken.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Mistral3ForConditionalGeneration"]
    assert tekken["image"] == {"image_patch_size": 14, "max_image_size": 112, "spatial_merge_size": 2}
    assert (FOLDER / "model.safetensors").stat().st_size < 5_000_000
