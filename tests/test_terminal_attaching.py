"""Pictures in a chat: what is sent, shown, and comes back into the prompt; with an engine that follows a script."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import gguf_samples
import pytest
from fake_engine import FakeEngine
from fake_screen import Screen
from picture_files import noise, saved
from PIL import Image
from projector_samples import projector
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from typing_hand import CTRL_C, CTRL_D, ENTER, chat_of, hand, step_by_step

from convert import gguf_writer as w
from minichat.conversation import Conversation
from minichat.engine.types import Chunk, Done, Prefill, Sampling, Stats
from minichat.models import Model
from minichat.pictures.reader import Reader
from minichat.sessions import Sessions
from minichat.sight import Sight
from minichat.template.messages import ImagePart, Message, TextPart, parse_messages
from minichat.template.pieces import Control, Text
from minichat.template.pieces import Image as Piece
from minichat.terminal.answer import stream_answer
from minichat.terminal.attaching import Attaching, attach_in
from minichat.terminal.chat import Chat, Opened
from minichat.terminal.cost import Cost, measure
from minichat.terminal.interrupt import interrupt_waits
from minichat.terminal.line_editor import LineEditor
from minichat.terminal.progress import StatusLine
from minichat.terminal.render import print_rendering
from minichat.terminal.repl import run_repl
from minichat.terminal.resuming import resume
from minichat.terminal.typeahead import beginning, finished_content
from quant.errors import DataError

RED = saved(Image.new("RGB", (56, 28), (200, 30, 40)), "PNG")  # 2 x 1 patches: 3 tokens
GREY = saved(Image.fromarray(noise(56, 56)), "JPEG")  # 2 x 2: 6 tokens


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """stdout as a terminal of 80 columns; what prompt_toolkit draws is not in it. It shows no pictures."""
    monkeypatch.setenv("TERM", "linux")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    return Screen(80, 24)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model that sees, as far as its headers tell; in a folder with files to attach, which is the current one."""
    folder = tmp_path / "files"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name, content in {"red.png": RED, "my grey": GREY, "broken.jpg": GREY[:400], "notes.txt": b"text\n"}.items():
        Path(name).write_bytes(content)
    path = tmp_path / "seeing.gguf"
    gguf_samples.write(path, gguf_samples.METADATA | {"llama.embedding_length": w.u32(256)})
    (tmp_path / "mmproj-seeing.gguf").write_bytes(projector())
    return Model("seeing", path, None, tmp_path / "mmproj-seeing.gguf")


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """One process for all that is read here."""
    reader = Reader()
    yield reader
    reader.close()


@pytest.fixture(autouse=True)
def one_reader(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minichat.pictures.album.Reader", lambda: _Shared(reader))


class _Shared:
    def __init__(self, reader: Reader) -> None:
        self.read = reader.read

    def stop(self) -> None:
        """Others go on with it."""

    close = stop


@pytest.fixture
def sight(model: Model) -> Iterator[Sight]:
    with Sight(model) as sight:
        yield sight


def type_into(screen: Screen, chat: Chat, keys: str) -> None:
    with redirect_stdout(screen), create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text(keys)
        run_repl(chat)


def source(name: str, content: bytes) -> str:
    import hashlib

    return f"picture:{hashlib.sha256(content).hexdigest()}/{name}"


STATS = Stats(9, 0, 1, 0.1, 0.1, 0.1, 10)
RED_SOURCE, GREY_SOURCE = source("red.png", RED), source("my grey", GREY)


def test_a_picture_stands_where_its_name_stood_and_its_cost_is_told(screen: Screen, sight: Sight) -> None:
    engine = FakeEngine(["Red."])
    chat = chat_of(engine, sight=sight)
    type_into(screen, chat, f'What is @red.png, and @"my grey"? See @notes.txt.{ENTER}{CTRL_D}')
    said = (
        TextPart("notes.txt:\n```\ntext\n```\n\nWhat is"),
        ImagePart(RED_SOURCE),
        TextPart(", and"),
        ImagePart(GREY_SOURCE),
        TextPart("? See @notes.txt."),
    )
    assert chat.conversation.messages[0] == Message("user", said)
    red, grey = Piece(RED_SOURCE), Piece(GREY_SOURCE)
    pieces = [Text(said[0].text), red, Text(", and"), grey, Text("? See @notes.txt.")]
    assert engine.prompts == [[Control("<s>"), Control("[INST]"), *pieces, Control("[/INST]")]]
    assert screen.text() == [
        "(red.png: 56 × 28 pixels, 3 tokens)",
        "(my grey: 56 × 56 pixels, 6 tokens)",
        "Red.",
    ]


def test_what_cannot_be_sent_is_one_line_and_stands_in_the_prompt_again(screen: Screen, sight: Sight) -> None:
    engine = FakeEngine(["Hello."])
    chat = chat_of(engine, sight=sight)
    type_into(screen, chat, f"Hi{ENTER}look @broken.jpg{ENTER}!{ENTER}{CTRL_C}{CTRL_D}")
    errors = [line for line in screen.text() if line.startswith("minichat:")]
    assert len(errors) == 2
    assert all(line.startswith("minichat: broken.jpg cannot be read as a picture: it is damaged") for line in errors)
    assert [message.text for message in chat.conversation.messages] == ["Hi", "Hello."]
    assert len(engine.prompts) == 1


def test_a_model_of_text_alone_says_so_at_once(screen: Screen, model: Model) -> None:
    engine = FakeEngine(["Hello."])
    with Sight(Model("blind", model.path)) as sight:
        chat = chat_of(engine, sight=sight)
        type_into(screen, chat, f"look @red.png{ENTER}{CTRL_C}Hi{ENTER}{CTRL_D}")
    assert screen.text()[0].startswith("minichat: blind cannot see pictures: it reads text alone ")
    assert [message.text for message in chat.conversation.messages] == ["Hi", "Hello."]


def test_a_conversation_with_pictures_goes_on_without_them_where_they_are_not_seen(
    screen: Screen, model: Model
) -> None:
    engine = FakeEngine(["Hello."])
    with Sight(Model("blind", model.path)) as sight:
        chat = chat_of(engine, sight=sight)
        seen = [Message("user", (ImagePart(RED_SOURCE),)), Message("assistant", "Red.")]
        chat.conversation.messages += [Message("user", "Hi"), Message("assistant", "Ho."), *seen]
        type_into(screen, chat, f"And?{ENTER}{CTRL_C}/drop 2{ENTER}And?{ENTER}{CTRL_D}")
    said = " ".join(" ".join(screen.text()).split())
    assert "demo:q4_K_M cannot see pictures, and turn 2 has one: /drop 2 leaves it out, /model NAME" in said
    assert "(dropped turn 2: @red.png)" in said
    assert [message.text for message in chat.conversation.messages] == ["Hi", "Ho.", "And?", "Hello."]


@pytest.mark.parametrize(
    "typed",
    [
        "What is @red.png?",
        "@red.png",
        'compare @red.png and @"my grey".',
        '(see @"my grey") now',
        "@notes.txt and @red.png",
        "@red.png @notes.txt what?",
    ],
)
def test_an_edited_message_has_its_words_again(screen: Screen, sight: Sight, typed: str) -> None:
    chat = chat_of(FakeEngine(["One."], ["Two."]), sight=sight)
    type_into(screen, chat, f"{typed}{ENTER}/edit{ENTER} so{ENTER}{CTRL_D}")
    first, second = chat.conversation.messages[0].content, None
    assert len(chat.conversation.messages) == 2
    other = chat_of(FakeEngine(["Three."]), sight=sight)
    type_into(Screen(80, 24), other, f"{typed} so{ENTER}{CTRL_D}")
    second = other.conversation.messages[0].content
    assert first == second


def test_a_file_that_is_gone_can_be_asked_about_again(screen: Screen, sight: Sight) -> None:
    chat = chat_of(FakeEngine(["Red."], ["Still."], ["Yes."]), sight=sight)
    type_into(screen, chat, f"What is @red.png?{ENTER}{CTRL_D}")
    Path("red.png").unlink()
    chat.engine = FakeEngine(["Red."], ["Still."])  # type: ignore[assignment]
    type_into(screen, chat, f"/retry{ENTER}/edit{ENTER}?{ENTER}{CTRL_D}")
    assert chat.conversation.messages[0].content == (TextPart("What is"), ImagePart(RED_SOURCE), TextPart("??"))
    Path("red.png").write_bytes(GREY)  # another one by now: that is the one that is meant
    chat.engine = FakeEngine(["Grey."])  # type: ignore[assignment]
    type_into(screen, chat, f"And @red.png?{ENTER}{CTRL_D}")
    assert chat.conversation.messages[2].content == (
        TextPart("And"),
        ImagePart(source("red.png", GREY)),
        TextPart("?"),
    )


def test_a_session_goes_on_when_its_files_are_gone(screen: Screen, model: Model) -> None:
    with Sight(model) as sight:
        chat = chat_of(FakeEngine(["Red."]), sight=sight, session=Sessions.default().new("trip"))
        type_into(screen, chat, f"What is @red.png?{ENTER}{CTRL_D}")
    Path("red.png").unlink()
    (listed,) = Sessions.default().list()
    assert listed.title == "What is @red.png?"
    assert [found.excerpt for found in Sessions.default().search("red.png")] == ["What is @red.png?"]
    with Sight(model) as sight:
        session, opened = Sessions.default().open("trip")
        chat = chat_of(FakeEngine(["Yes."]), sight=sight, session=session)
        with redirect_stdout(screen):
            resume(chat, opened)
        assert chat.conversation.messages[0].content == (TextPart("What is"), ImagePart(RED_SOURCE), TextPart("?"))
        assert sight.picture(RED_SOURCE).tokens == 3
        assert "> What is @red.png?" in screen.text()
        type_into(screen, chat, f"/undo{ENTER}{CTRL_D}")
        assert "(undone: What is @red.png?)" in screen.text()


def test_a_session_whose_picture_is_kept_no_more_says_what_to_do(screen: Screen, model: Model) -> None:
    gone = f"picture:{'0' * 64}/red.png"
    seen = [Message("user", (ImagePart(gone),)), Message("assistant", "Red.")]
    with Sight(model) as sight:
        chat = chat_of(FakeEngine(["Hello."]), sight=sight)
        chat.conversation.messages += seen
        type_into(screen, chat, f"And?{ENTER}{CTRL_C}/drop 1{ENTER}And?{ENTER}{CTRL_D}")
    said = " ".join(" ".join(screen.text()).split())
    assert "turn 1: red.png is not kept any more: attach it again; /drop 1 goes on without it" in said
    assert [message.text for message in chat.conversation.messages] == ["And?", "Hello."]


def test_a_picture_is_kept_for_each_session(screen: Screen, model: Model) -> None:
    with Sight(model) as sight:
        chat = chat_of(FakeEngine(["Red."]), sight=sight, session=Sessions.default().new("trip"))
        type_into(screen, chat, f"What is @red.png?{ENTER}/clear{ENTER}{CTRL_D}")
        Sessions.default().remove("trip")
        assert Sessions.default().pictures.all() == []
        chat.engine = FakeEngine(["Red."])  # type: ignore[assignment]
        type_into(screen, chat, f"What is @red.png?{ENTER}{CTRL_D}")
    assert [f"picture:{one.digest}/red.png" for one in Sessions.default().pictures.all()] == [RED_SOURCE]


def test_a_private_chat_keeps_nothing(screen: Screen, model: Model) -> None:
    with Sight(model) as sight:
        type_into(screen, chat_of(FakeEngine(["Red."]), sight=sight), f"What is @red.png?{ENTER}{CTRL_D}")
    assert not Sessions.default().folder.exists()


def test_an_export_has_the_name_or_the_picture_itself(screen: Screen, sight: Sight, tmp_path: Path) -> None:
    chat = chat_of(FakeEngine(["Red."]), sight=sight)
    keys = f"What is @red.png?{ENTER}/export {tmp_path}/a.md{ENTER}/export {tmp_path}/a.json{ENTER}{CTRL_D}"
    type_into(screen, chat, keys)
    assert (
        (tmp_path / "a.md")
        .read_text()
        .startswith("# What is @red.png?\n\n## You\n\nWhat is\n\n![red.png](a-1.png)\n\n?\n")
    )
    message = parse_messages((tmp_path / "a.json").read_text())[0]
    url = "data:image/png;base64," + base64.b64encode(RED).decode()
    assert message.content == (TextPart("What is"), ImagePart(url), TextPart("?"))
    assert sight.picture(url).key == sight.picture(RED_SOURCE).key
    assert json.loads((tmp_path / "a.json").read_text())[0]["content"][1]["type"] == "image_url"


def test_the_cost_of_what_is_typed_counts_pictures(sight: Sight) -> None:
    chat = chat_of(sight=sight)
    engine = FakeEngine()
    assert measure('see @red.png, @"my grey" now', engine, Attaching(chat)) == Cost(3 + 6 + 3, 0, 2)  # type: ignore[arg-type]
    problem = measure("see @broken.jpg", engine, Attaching(chat)).problem  # type: ignore[arg-type]
    assert problem.startswith("broken.jpg cannot be read as a picture")


def test_a_broken_picture_is_tried_once_while_its_name_is_typed(sight: Sight, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    look = sight.add

    def counting(what: str | Path, name: str) -> object:
        looked.append(name)
        return look(what, name)

    monkeypatch.setattr(sight, "add", counting)
    attach = Attaching(chat_of(sight=sight))
    for text in ("@broken.jpg", "@broken.jpg ", "@broken.jpg a"):
        with pytest.raises(DataError, match=r"broken\.jpg cannot be read"):
            attach(text)
    assert looked == ["broken.jpg"]
    attach.begin()
    with pytest.raises(DataError, match=r"broken\.jpg cannot be read"):
        attach("@broken.jpg")
    assert len(looked) == 2
    Path("broken.jpg").write_bytes(RED)
    assert attach("@broken.jpg").pictures[0].tokens == 3


def test_what_is_read_ahead_begins_what_is_sent(sight: Sight) -> None:
    """A picture is read as soon as it is named: it is what takes long."""
    typed = 'Look at @red.png and @"my grey" then say'
    attach = Attaching(chat_of(sight=sight))
    conversation = Conversation("v7-tekken")
    sent = [Control("<s>"), Control("[INST]"), Text("Look at"), Piece(RED_SOURCE), Text("and"), Piece(GREY_SOURCE)]
    longest = 0
    for end in range(len(typed) + 1):
        begun = beginning(conversation, finished_content(attach(typed[:end]).content))
        whole = [piece for piece in begun if not isinstance(piece, Text)]
        if Piece(RED_SOURCE) in begun and begun != sent[: len(begun)]:
            assert begun[:5] == [*sent[:4], begun[4]]
            assert isinstance(begun[4], Text)
            assert typed.partition("@red.png ")[2].startswith(begun[4].text) or begun[:6] == sent
        assert len(whole) >= longest
        longest = len(whole)
    assert longest == 4
    assert beginning(conversation, finished_content(attach("Look at @red.png").content)) == sent[:4]


def test_the_engine_reads_the_picture_while_the_rest_is_typed(sight: Sight) -> None:
    engine = FakeEngine(["Red."])
    chat = chat_of(engine, sight=sight)

    def is_read() -> bool:
        return any(Piece(RED_SOURCE) in pieces for pieces in engine.read_ahead)

    with hand() as pipe:
        assert (
            step_by_step(LineEditor(chat), pipe, ("What is @red.png", lambda: True), (f" here?{ENTER}", is_read))
            == "What is @red.png here?"
        )
    assert is_read()


class Slow(FakeEngine):
    """Encodes for a while."""

    def generate(self, *_: object, **__: object) -> Iterator[object]:  # type: ignore[override]
        yield Prefill(3, 9, 0, RED_SOURCE)
        yield Chunk("Red.")
        yield from super().generate([])


def test_the_status_says_that_a_picture_is_read(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    status = StatusLine(screen)  # type: ignore[arg-type]
    monkeypatch.setattr(status, "show", shown.append)
    with redirect_stdout(screen):
        stream_answer(Slow([]), [], None, None, screen, status)  # type: ignore[arg-type]
    assert shown == ["reading the picture"]


@pytest.mark.parametrize("other", ["my grey", "red.png"])
def test_the_status_counts_the_pictures_that_have_to_be_read(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    shown: list[str] = []
    status = StatusLine(screen)  # type: ignore[arg-type]
    monkeypatch.setattr(status, "show", shown.append)
    engine = FakeEngine()
    events = [
        *(Prefill(n, 9, 0, name) for n, name in enumerate(("red.png", other))),
        Chunk("Red."),
        Done("eos", "", (), STATS),
    ]
    monkeypatch.setattr(engine, "generate", lambda *_: iter(events))
    pieces = [Piece(name) for name in ("a", RED_SOURCE, "a", source(other, GREY), RED_SOURCE)]
    with redirect_stdout(screen):
        stream_answer(engine, pieces, Sampling(), None, screen, status)  # type: ignore[arg-type]
    assert shown == ["reading picture 1 of 2", "reading picture 2 of 2"]


def test_tokens_of_a_picture_are_counted_on_a_terminal(screen: Screen) -> None:
    row = "[IMG]" * 55
    tokens = "[BOS][INST]" + "[IMG_BREAK]".join([row] * 41) + "[IMG_END]"
    spans = [(tokens, True), ("[IMG] what?", False), ("[IMG][IMG_END][/INST]", True)]
    print_rendering(spans, screen)  # type: ignore[arg-type]
    assert "".join(screen.text()) == (
        "[BOS][INST](41 × 55 [IMG], [IMG_BREAK] between rows, [IMG_END])[IMG] what?(1 × 1 [IMG], [IMG_END])[/INST]"
    )


def test_a_picture_whose_name_is_deleted_is_not_waited_for(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sight(model) as sight, hand() as pipe, monkeypatch.context() as patch:
        patch.setattr("minichat.pictures.album.Reader", Reader)
        patch.setattr("minichat.pictures.reader._MAIN", "import time; time.sleep(60)")
        chat = chat_of(FakeEngine(), sight=sight)

        def is_reading() -> bool:
            return sight._album is not None and sight._album._reader._process is not None

        begin = time.monotonic()
        steps = (("see @red.png", lambda: True), ("\x15no picture", is_reading), (ENTER, lambda: True))
        assert step_by_step(LineEditor(chat), pipe, *steps) == "no picture"
        assert time.monotonic() - begin < 20
        patch.undo()
        assert Attaching(chat)("see @red.png").pictures[0].tokens == 3


def test_a_picture_that_was_given_up_is_not_taken_for_a_broken_one(
    sight: Sight, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach, add = Attaching(chat_of(sight=sight)), sight.add

    def stopped(*_: object) -> object:
        attach.give_up()
        raise DataError("it was stopped")

    monkeypatch.setattr(sight, "add", stopped)
    with pytest.raises(DataError, match="stopped"):
        attach("@red.png")
    monkeypatch.setattr(sight, "add", add)
    assert attach("@red.png").pictures[0].tokens == 3


def test_other_models_see_in_their_way(screen: Screen, model: Model) -> None:
    """After /model, pictures are read for the new one."""
    with Sight(Model("blind", model.path)) as sight:
        attach = Attaching(chat_of(sight=sight))
        with pytest.raises(DataError, match="blind cannot see pictures"):
            attach("@red.png")
        sight.model = model
        attach = Attaching(chat_of(sight=sight))
        assert attach("@red.png").pictures[0].tokens == 3


def test_a_picture_takes_no_time_to_begin_with(sight: Sight) -> None:
    """A chat without pictures reads none: no process is started for it."""
    chat = chat_of(sight=sight)
    begin = time.monotonic()
    assert Attaching(chat)("no file, me@home.org").content == "no file, me@home.org"
    assert time.monotonic() - begin < 1
    assert sight._album is None


def test_ctrl_c_ends_the_reading_of_a_picture_that_was_sent(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter waits for what is being counted: that must not take as long as a picture likes to."""
    monkeypatch.setattr("minichat.pictures.album.Reader", Reader)
    monkeypatch.setattr("minichat.pictures.reader._MAIN", "import time; time.sleep(60)")
    with Sight(model) as sight, hand() as pipe:
        editor = LineEditor(chat_of(FakeEngine(), sight=sight))

        def press() -> None:
            while sight._album is None or sight._album._reader._process is None:
                time.sleep(0.01)
            pipe.send_text(ENTER)
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=press)
        thread.start()
        begin = time.monotonic()
        pipe.send_text("@red.png")
        with pytest.raises(KeyboardInterrupt), interrupt_waits(sight.stop):
            assert editor.read() == "@red.png"
        thread.join()
        assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        (
            "pic.bmp",
            b"BM\x9a\xff\x00",
            "@pic.bmp is of the kind BMP: minichat reads texts, and pictures that are JPEG,",
        ),
        ("empty.PNG", b"", "@empty.PNG is empty: minichat reads JPEG, PNG, WebP and GIF"),
        ("gone.jpg", None, "@gone.jpg: there is no such picture"),
        ("folder.png", None, "@folder.png: it is no regular file, and no picture"),
        ("https://example.org/a.webp", None, "@https://example.org/a.webp: no picture is fetched from the network"),
    ],
)
def test_a_picture_that_cannot_be_seen_is_told_and_not_sent(
    sight: Sight, name: str, content: bytes | None, why: str
) -> None:
    """The bottom line has it while it is typed."""
    Path("folder.png").mkdir()
    if content is not None:
        Path(name).write_bytes(content)
    chat = chat_of(sight=sight)
    with pytest.raises(DataError) as raised:
        attach_in(chat, f"What is (@{name})?")
    assert str(raised.value).startswith(why)
    assert measure(f"What is @{name}?", FakeEngine(), Attaching(chat)).problem.startswith(why)  # type: ignore[arg-type]


def test_other_words_that_name_no_file_are_sent(sight: Sight) -> None:
    chat = chat_of(sight=sight)
    for text in ("see @gone.txt", "@https://example.org/page", "me@home.gif"):
        assert attach_in(chat, text).content == text


def test_a_file_that_changed_since_it_was_sent_is_told_when_the_message_is_edited(screen: Screen, sight: Sight) -> None:
    chat = chat_of(FakeEngine(["Red."], ["Grey."]), sight=sight)
    type_into(screen, chat, f"What is @red.png? See @notes.txt.{ENTER}/edit{ENTER}{CTRL_C}{CTRL_D}")
    assert "changed" not in " ".join(screen.text())
    Path("red.png").write_bytes(GREY)
    Path("notes.txt").write_text("other\n")
    type_into(screen, chat, f"/edit{ENTER}{CTRL_C}{CTRL_D}")
    assert "(notes.txt, red.png have changed: they are read anew)" in screen.text()


def test_a_model_of_text_alone_does_not_take_over_pictures_and_says_what_helps(
    screen: Screen, sight: Sight, model: Model
) -> None:
    blind = Opened(Model("blind", model.path), lambda _: pytest.fail("it need not be loaded"))
    chat = chat_of(FakeEngine(["Red."], ["Grey."]), sight=sight, open_model=lambda _: blind)
    switch = f"/model blind{ENTER}"
    type_into(screen, chat, f"Hi @red.png{ENTER}{switch}And @red.png{ENTER}{switch}{CTRL_D}")
    said = " ".join(" ".join(screen.text()).split())
    assert "blind reads text alone, and turn 1 has a picture: /drop 1 leaves it out, /clear begins anew" in said
    assert "and 2 turns have pictures: /drop N leaves one out, /clear begins anew; then /model blind" in said
