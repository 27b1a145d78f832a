"""Pictures on their way from the command line or a program to the engine, with an engine that follows a script."""

from __future__ import annotations

import io
import json
import pickle
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import gguf_samples
import pytest
from fake_engine import FakeEngine
from picture_files import noise, saved
from PIL import Image
from projector_samples import projector

from convert import gguf_writer as w
from minichat import interface, mapping, oneshot
from minichat import sight as module
from minichat.asking import Along, Given
from minichat.chat import Memory, RunOptions, describe_stats
from minichat.commands.sessions import show
from minichat.conversation import Conversation
from minichat.engine import client
from minichat.engine.types import ModelInfo, Stats
from minichat.inputs import Lines
from minichat.interface import Chat
from minichat.mapped import LinePrompt
from minichat.mapping import map_pictures
from minichat.models import Model
from minichat.pictures.keeping import KeptPictures
from minichat.pictures.size import Limits
from minichat.pictures.sources import data_url
from minichat.sessions import Sessions
from minichat.sight import Sight, check_sees, describe, limits_for, with_mmproj, with_projector
from minichat.template.messages import ImagePart, TextPart, parse_messages
from minichat.template.pieces import Control, Text
from minichat.template.pieces import Image as Piece
from quant.errors import DataError, EngineDiedError, TemplateError, UsageError

RED = saved(Image.new("RGB", (40, 20), (200, 30, 40)), "PNG")  # 2 x 1 patches: 3 tokens
LARGE = saved(Image.fromarray(noise(300, 300)), "JPEG")  # 11 x 11: 132
TEXT_ONLY = Model("blind", Path("blind.gguf"))


class ShortOfMemory(FakeEngine):
    """Has room for pictures of 60 tokens."""

    def wait_loaded(self, on_progress: Callable[[float], None] | None = None) -> ModelInfo:
        return replace(super().wait_loaded(on_progress), sees=True, picture_tokens=60)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model that sees, as far as its headers tell; in a folder with pictures, which is the current one."""
    monkeypatch.chdir(tmp_path)
    for name, content in {"red.png": RED, "large.jpg": LARGE, "broken.jpg": LARGE[:2000]}.items():
        (tmp_path / name).write_bytes(content)
    path = tmp_path / "seeing.gguf"
    gguf_samples.write(path, gguf_samples.METADATA | {"llama.embedding_length": w.u32(256)})
    (tmp_path / "mmproj-seeing.gguf").write_bytes(projector())
    return Model("seeing", path, None, tmp_path / "mmproj-seeing.gguf")


def pictures_in(prompt: list[Any]) -> list[str]:
    return [piece.source for piece in prompt if isinstance(piece, Piece)]


def tokens_of(engine: FakeEngine, source: str) -> int:
    """Of a picture, as the engine is given it."""
    assert engine.pictures is not None
    return engine.pictures(source).tokens


# What a model sees with.


def test_limits_are_those_of_the_projector(model: Model, tmp_path: Path) -> None:
    assert limits_for(model, 50) == Limits(1540, 28, 50)
    changed = projector({"clip.vision.image_size": w.u32(700), "clip.vision.spatial_merge_size": w.u32(1)})
    (tmp_path / "other.gguf").write_bytes(changed)
    assert limits_for(with_mmproj(model, "other.gguf")) == Limits(700, 14, None)
    assert with_mmproj(model, None) == model
    assert with_mmproj(model, "other.gguf").projector == tmp_path / "other.gguf"
    load = with_projector(RunOptions().load, model)
    assert load.projector == str(tmp_path / "mmproj-seeing.gguf")
    assert with_projector(RunOptions().load, TEXT_ONLY) == RunOptions().load


def test_a_model_of_text_alone() -> None:
    for look in (check_sees, limits_for, lambda model: Sight(model).add(RED), lambda model: Sight(model).picture("x")):
        with pytest.raises(DataError, match=r"blind cannot see pictures: it reads text alone \(--mmproj FILE "):
            look(TEXT_ONLY)
    with pytest.raises(DataError, match=r"^demo:q4_K_M cannot see pictures: it reads text alone \(demo-vision sees\)$"):
        check_sees(Model("demo:q4_K_M", Path("x")))


def test_a_projector_that_is_none_or_another_models(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="empty"):
        with_mmproj(model, "")
    for name, content in {"a.gguf": b"hello", "wide.gguf": projector(width=512)}.items():
        (tmp_path / name).write_bytes(content)
    for name, says in {
        "none.gguf": "--mmproj none.gguf: no such file",
        "a.gguf": "a.gguf is no usable GGUF file",
        "seeing.gguf": "seeing.gguf is no file that a model reads pictures with",
        ".": "no file that a model reads pictures with",
        "wide.gguf": "wide.gguf belongs to another model: it makes embeddings of 512 elements, and seeing takes 256",
    }.items():
        with pytest.raises(DataError) as caught:
            with_mmproj(model, name)
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)


def test_pictures_are_of_the_size_of_the_model_that_asks(model: Model, tmp_path: Path) -> None:
    changed = projector({"clip.vision.image_size": w.u32(140)})
    (tmp_path / "other.gguf").write_bytes(changed)
    with Sight(model) as sight:
        large = sight.add("large.jpg")
        assert (large.columns, large.rows, large.tokens) == (11, 11, 132)
        assert describe(large) == "large.jpg: 300 × 300 pixels, 132 tokens"
        assert sight.for_engine(with_mmproj(model, "other.gguf"))(large.source).tokens == 5 * 6
        assert sight.picture(large.source) == large
        engine = cast("client.Engine", ShortOfMemory())
        assert 30 < sight.for_engine(model, engine)(large.source).tokens <= 60
        sight.max_tokens = 30
        assert sight.for_engine(model, engine)(large.source).tokens <= 30
        assert sight.picture(large.source).tokens <= 30
        folder = large.pixels.parent
    assert not folder.exists()


def test_a_projector_that_was_made_anew_is_looked_at_again(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "again.gguf"
    for side, columns in ((140, 5), (84, 3)):
        path.write_bytes(projector({"clip.vision.image_size": w.u32(side)}) + bytes(side))
        with Sight(with_mmproj(model, "again.gguf")) as sight:
            assert sight.add("large.jpg").columns == columns


def test_nothing_is_imported_for_a_chat_of_texts(model: Model) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from minichat.sight import Sight; from minichat.models import Model; "
        "Sight(Model('x', Path('x'))).close(); print([m for m in sys.modules if 'pictures' in m or m == 'PIL'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=Path(module.__file__).parents[1]
    )
    assert done.stdout.strip() == b"[]"


# One answer.


def answer(
    monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, model: Model, along: Along, **options: Any
) -> FakeEngine:
    monkeypatch.setattr(oneshot, "Engine", lambda path, load: engine)  # noqa: ARG005
    as_json = options.pop("as_json", False)
    oneshot.answer(model, "What is this?", RunOptions(**options), as_json, False, along)
    return engine


def test_pictures_stand_before_the_question(
    model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    along = Along((Given("red.png", RED), Given("standard input", LARGE)))
    engine = answer(monkeypatch, FakeEngine(["Red."]), model, along, as_json=True)
    (prompt,) = engine.prompts
    assert prompt[:2] == [Control("<s>"), Control("[INST]")]
    assert [source.partition("/")[2] for source in pictures_in(prompt)] == ["red.png", "standard input"]
    assert prompt[4:] == [Text("What is this?"), Control("[/INST]")]
    facts = json.loads(capsys.readouterr().out)
    assert facts["images"] == [
        {"name": "red.png", "width": 40, "height": 20, "tokens": 3},
        {"name": "standard input", "width": 300, "height": 300, "tokens": 132},
    ]


def test_their_cost_is_shown_to_a_person(
    model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    along = Along((Given("large.jpg", LARGE),))
    answer(monkeypatch, FakeEngine(["It."]), model, along)
    assert capsys.readouterr() == ("It.\n", "")
    monkeypatch.setattr("minichat.terminal.output.is_terminal", lambda stream: True)  # noqa: ARG005
    answer(monkeypatch, FakeEngine(["It."]), model, along, image_max_tokens=30)
    assert "(large.jpg: 300 × 300 pixels, 30 tokens)" in capsys.readouterr().err


def test_what_is_told_is_what_memory_has_room_for(
    model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, ShortOfMemory(["It."]), model, Along((Given("large.jpg", LARGE),)), as_json=True)
    mapped(model, ShortOfMemory(["It."]), files=["large.jpg"], as_json=True)
    alone, one = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert alone["images"][0]["tokens"] == one["image_tokens"] == 56


def test_without_a_template_there_are_picture_and_text(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = answer(monkeypatch, FakeEngine([" cat"]), model, Along((Given("red.png", RED),)), raw=True)
    (prompt,) = engine.prompts
    assert [type(piece) for piece in prompt] == [Control, Piece, Text]
    assert prompt[0] == Control("<s>")


def test_messages_before_the_question(model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from minichat.template.messages import Message

    before = (Message("user", (TextPart("Look:"), ImagePart("red.png"))), Message("assistant", "I do."))
    engine = answer(
        monkeypatch, FakeEngine(["Red."]), model, Along(messages=before, folder=tmp_path, has_messages=True)
    )
    assert pictures_in(engine.prompts[0]) == ["red.png"]
    assert Text("What is this?") in engine.prompts[0]


def test_calls_in_messages_are_not_the_answers(
    model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = {"id": "abcdefgh1", "function": {"name": "look", "arguments": "no JSON"}}
    before = parse_messages(
        json.dumps(
            [
                {"role": "user", "content": "Look."},
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "abcdefgh1", "content": "a cat"},
                {"role": "assistant", "content": "A cat."},
            ]
        )
    )
    answer(monkeypatch, FakeEngine(["Red."]), model, Along(messages=tuple(before), has_messages=True), as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["answer"] == "Red."
    assert "calls" not in facts


def test_a_broken_picture_asks_nothing(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(["Never."])
    with pytest.raises(DataError, match=r"broken\.jpg cannot be read as a picture"):
        answer(monkeypatch, engine, model, Along((Given("broken.jpg", LARGE[:2000]),)))
    assert (engine.prompts, engine.closed) == ([], True)


def test_a_session_keeps_its_pictures(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions.default()
    session, _ = sessions.open_or_new("cats")
    answer(monkeypatch, FakeEngine(["Red."]), model, Along((Given("red.png", RED),)), memory=Memory(session))
    session.close()
    (model.path.parent / "red.png").unlink()
    again, saved_ = sessions.open_or_new("cats")
    engine = answer(monkeypatch, FakeEngine(["Yes."]), model, Along(), memory=Memory(again, saved_))
    again.close()
    (source,) = pictures_in(engine.prompts[0])
    with Sight(model) as sight:
        assert sight.picture(source).tokens == 3
    with Sight(model, keeps=False) as sight, pytest.raises(DataError, match=r"red\.png is not kept any more"):
        sight.picture(source)


def test_a_session_is_as_it_was_where_its_pictures_cannot_be_seen(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Sessions.default()
    session, _ = sessions.open_or_new("cats")
    answer(monkeypatch, FakeEngine(["Red."]), model, Along((Given("red.png", RED),)), memory=Memory(session))
    session.close()

    def refuse() -> None:
        raise DataError("blind cannot see pictures")

    again, saved_ = sessions.open_or_new("cats")
    with pytest.raises(DataError, match="blind cannot see pictures"):
        answer(monkeypatch, FakeEngine([refuse]), TEXT_ONLY, Along(), memory=Memory(again, saved_))
    again.close()
    last, saved_ = sessions.open_or_new("cats")
    last.close()
    assert saved_ is not None
    assert [message.text for message in saved_.messages] == ["What is this?", "Red."]


# map --images.


def mapped(model: Model, *engines: FakeEngine, files: list[str], as_json: bool = False, **options: Any) -> None:
    waiting = iter(engines)
    resume = options.pop("resume", None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mapping, "Engine", lambda path, load: next(waiting))  # noqa: ARG005
        map_pictures(model, "What is this?", RunOptions(**options), files, as_json, resume)


def test_an_answer_for_each_picture(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine(["A red\none."], ["Noise."])
    mapped(model, engine, files=["red.png", "large.jpg"])
    assert capsys.readouterr() == ("red.png\tA red one.\nlarge.jpg\tNoise.\n", "")
    assert [source.partition("/")[2] for prompt in engine.prompts for source in pictures_in(prompt)] == [
        *("red.png", "large.jpg")
    ]
    assert all(prompt[3:] == [Text("What is this?"), Control("[/INST]")] for prompt in engine.prompts)
    mapped(model, FakeEngine(["Noise."]), files=["large.jpg"], as_json=True, image_max_tokens=30)
    record = json.loads(capsys.readouterr().out)
    known = {"line": 1, "image": "large.jpg", "width": 300, "height": 300, "image_tokens": 30, "answer": "Noise."}
    assert record.items() >= known.items()


def test_a_picture_that_cannot_be_read_leaves_the_others(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["red.png", "broken.jpg", "none.png", "large.jpg"]
    for as_json in (False, True):
        with pytest.raises(DataError, match="2 of 4 pictures have an error"):
            mapped(model, FakeEngine(["One"], ["Four"]), files=files, as_json=as_json)
        out, err = capsys.readouterr()
        assert [line.split(" cannot be read")[0] for line in err.splitlines()] == [
            *("minichat: broken.jpg", "minichat: none.png")
        ]
        if as_json:
            records = [json.loads(line) for line in out.splitlines()]
            assert [("answer" in one, "error" in one, one["image"]) for one in records] == [
                (file in ("red.png", "large.jpg"), file not in ("red.png", "large.jpg"), file) for file in files
            ]
        else:
            assert out == "red.png\tOne\nbroken.jpg\t\nnone.png\t\nlarge.jpg\tFour\n"


def test_what_is_wrong_with_all_of_them_is_told_once(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TemplateError, match="cannot express the image"):
        mapped(model, FakeEngine(), files=["red.png", "large.jpg"], template="v3")
    with pytest.raises(DataError, match="blind cannot see pictures"):
        mapped(TEXT_ONLY, FakeEngine(), files=["red.png"])
    assert capsys.readouterr() == ("", "")


def test_an_engine_that_dies_of_a_picture(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    death = EngineDiedError("the engine died: SIGSEGV")
    seen: list[int] = []

    def look() -> None:
        seen.append(tokens_of(engines[1], "red.png"))

    engines = FakeEngine(["One"], [death]), FakeEngine(["Two"], [look, "Three"])
    mapped(model, *engines, files=["red.png", "large.jpg", "red.png"])
    out, err = capsys.readouterr()
    assert out == "red.png\tOne\nlarge.jpg\tTwo\nred.png\tThree\n"
    assert err.count("it starts again") == 1
    assert seen == [3]


def test_answers_that_are_there_are_not_asked_for_again(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "all.jsonl"
    mapped(model, FakeEngine(["One"]), files=["red.png"], resume=file)
    mapped(model, FakeEngine(["Two"]), files=["red.png", "large.jpg"], resume=file)
    assert capsys.readouterr().out == "red.png\tOne\nred.png\tOne\nlarge.jpg\tTwo\n"
    with pytest.raises(DataError, match=r'picture 1 is not the one .* \("red.png"\): give it the same pictures'):
        mapped(model, FakeEngine(), files=["large.jpg", "red.png"], resume=file)
    with pytest.raises(UsageError, match="made with another image-max-tokens, null"):
        mapped(model, FakeEngine(), files=["red.png"], resume=file, image_max_tokens=30)
    lines = Lines(io.BytesIO(b"x"))
    with pytest.raises(DataError, match="is no file of"):
        mapping.map_lines(model, LinePrompt.parse("{}"), RunOptions(), lines, False, file)


def test_names_and_answers_that_a_terminal_would_obey(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[2J\tb\n.png"
    Path(name).write_bytes(RED)
    with pytest.raises(DataError):
        mapped(model, FakeEngine(["\x1b[2J"]), files=[name, "c\x1b\n.png"])
    out, err = capsys.readouterr()
    assert out.count("\n") == 2
    assert out.count("\t") == 2
    assert err.count("\n") == 1
    assert "\x1b" not in out + err


def test_no_picture_stays_on_the_disk(model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    seen: list[int] = []

    def look() -> None:
        seen.append(len([path for path in folder.rglob("*") if path.is_file()]))

    mapped(model, FakeEngine([look, "x"], [look, "x"], [look, "x"], [look, "x"]), files=["red.png", "large.jpg"] * 2)
    assert seen == [3, 3, 3, 3]  # of the one under way: its bytes, its pixels, its thumbnail
    assert not list(folder.iterdir())


# From Python.


class Engine(FakeEngine):
    died = False

    def has_died(self) -> bool:
        return self.died


@pytest.fixture
def make(model: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Chat]]:
    monkeypatch.setattr(interface, "_found", lambda name: model if name == "seeing" else TEXT_ONLY)
    chats: list[Chat] = []

    def chat(*engines: Engine, name: str = "seeing", **options: Any) -> Chat:
        waiting = iter(engines)
        monkeypatch.setattr(interface, "Engine", lambda *_: next(waiting))
        chats.append(Chat(name, **options))
        return chats[-1]

    yield chat
    for one in chats:
        one.close()


def test_a_program_gives_paths_and_bytes(make: Callable[..., Chat]) -> None:
    engine = Engine(["Red."], ["Yes."])
    chat = make(engine, image_max_tokens=30)
    assert chat.say("What are these?", images=["red.png", Path("large.jpg"), RED]).text == "Red."
    sources = pictures_in(engine.prompts[0])
    assert [source.partition("/")[2] for source in sources] == ["red.png", "large.jpg", "picture"]
    assert [tokens_of(engine, source) for source in sources] == [3, 30, 3]
    content = chat.messages[0].content
    assert content[-1] == TextPart("What are these?")
    assert chat.messages[0].text == "What are these?"
    assert chat.say("Sure?").text == "Yes."
    assert pictures_in(engine.prompts[1]) == sources


def test_messages_of_a_chat_are_another_ones(make: Callable[..., Chat]) -> None:
    first, second = Engine(["Red."]), Engine(["Yes."])
    chat = make(first)
    chat.say("What?", images=["red.png"]).text  # noqa: B018
    while_open = chat.messages
    chat.close()
    assert chat.messages == while_open
    Path("red.png").unlink()
    again = make(second, messages=pickle.loads(pickle.dumps(chat.messages)))  # noqa: S301
    assert again.say("Sure?").text == "Yes."
    (source,) = pictures_in(second.prompts[0])
    assert tokens_of(second, source) == 3
    assert again.messages[:2] == while_open


def test_a_session_is_shown_with_its_pictures(
    model: Model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session, _ = Sessions.default().open_or_new("cats")
    answer(monkeypatch, FakeEngine(["Red."]), model, Along((Given("red.png", RED),)), memory=Memory(session))
    session.close()
    capsys.readouterr()
    show("cats", as_json=True)
    (part, _) = json.loads(capsys.readouterr().out)[0]["content"]
    assert part["image_url"]["url"] == data_url(RED)
    for kept in KeptPictures.among(Sessions.default().folder).all():
        kept.path.unlink()
    show("cats", as_json=True)
    shown = capsys.readouterr()
    assert json.loads(shown.out)[0]["content"][0]["image_url"]["url"].startswith("picture:")
    assert shown.err == "red.png is not kept any more: only its name is shown\n"


def test_a_programs_wrong_pictures(make: Callable[..., Chat]) -> None:
    engine = Engine(["Yes."])
    chat = make(engine)
    for wrong, error in (
        (["broken.jpg"], r"broken\.jpg cannot be read as a picture"),
        (["none.png"], r"none\.png cannot be read: No such file"),
        ([b"hello"], "what was given as bytes is no picture"),
        ([b""], "what was given as bytes is empty"),
        (["https://example.org/a.png"], "no picture is fetched from the network"),
    ):
        with pytest.raises(DataError, match=error):
            chat.say("What?", images=wrong)
    for one in ("red.png", RED, Path("red.png")):
        with pytest.raises(TypeError, match="images are a list"):
            chat.say("What?", images=one)  # type: ignore[arg-type]
    assert (chat.messages, engine.prompts) == ((), [])
    assert chat.say("Well?").text == "Yes."


def test_a_programs_model_of_text_alone(make: Callable[..., Chat]) -> None:
    chat = make(Engine(["Yes."]), name="blind")
    with pytest.raises(DataError, match="blind cannot see pictures"):
        chat.say("What?", images=[RED])
    assert chat.say("Well?").text == "Yes."


def test_pictures_outlive_a_crash_and_end_with_the_chat(
    make: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    first, second = Engine(["Red."]), Engine(["Yes."])
    chat = make(first, second)
    assert chat.say("What?", images=["red.png"]).text == "Red."
    first.died = True
    Path("red.png").unlink()
    assert chat.say("Sure?").text == "Yes."
    (source,) = pictures_in(second.prompts[0])
    assert tokens_of(second, source) == 3
    chat.close()
    assert not list(folder.iterdir())


def test_a_picture_alone_is_a_message() -> None:
    talk = Conversation(None)
    talk.ask("", ["a.png"])
    assert talk.messages[0].content == (ImagePart("a.png"),)
    assert talk.pieces() == [Control("<s>"), Piece("a.png")]


def test_the_cost_of_pictures_is_apart() -> None:
    line = describe_stats(Stats(400, 0, 2, 0.9, 0.8, 0.1, 402, pictures=2, encode_s=0.6))
    assert "400 decoded at 2000/s; 2 pictures encoded in 0.6 s; first token after 0.90 s" in line
