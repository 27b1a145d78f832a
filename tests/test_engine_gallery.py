"""What stands for pictures in the KV cache; each is encoded once, whoever stops meanwhile. The eye is a fake."""

from __future__ import annotations

import ctypes
import doctest
import threading
import time
from collections.abc import Callable, Sequence
from hashlib import sha256

import pytest

from minichat.engine import ahead, llama
from minichat.engine import gallery as module
from minichat.engine.gallery import Gallery, ids_of, run_at
from minichat.engine.seeing import Features
from minichat.template.pieces import Control, Image, Piece, Text
from quant.errors import DataError, EngineError

WIDTH = 4
END = 13


def image(name: str, columns: int = 2, rows: int = 2) -> Image:
    return Image(name, columns, rows, f"/tmp/{name}", sha256(name.encode()).hexdigest())


def encode(pieces: Sequence[Piece]) -> list[int]:
    """One id for each letter, [IMG] 10, [IMG_BREAK] 12."""
    ids: list[int] = []
    for piece in pieces:
        if isinstance(piece, Image):
            row = [*[10] * piece.columns, 12]
            ids += [*(row * piece.rows)[:-1], END]
        elif isinstance(piece, Text):
            ids += [100 + ord(letter) for letter in piece.text]
        else:
            ids.append(3)
    return ids


class FakeEye:
    """Encodes when it is told to; each picture's rows hold its number."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.given_up: list[str] = []
        self.error: Exception | None = None

    def encode(self, picture: Image, goes_on: Callable[[], bool]) -> Features | None:
        if self.error is not None:
            raise self.error
        self.seen.append(picture.source)
        while not self.gate.wait(0.005):
            if not goes_on():
                self.given_up.append(picture.source)
                return None
        count = picture.tokens - 1
        rows = (ctypes.c_float * (count * WIDTH))(*[float(len(self.seen))] * (count * WIDTH))
        return Features(rows, count, WIDTH)


@pytest.fixture
def eye() -> FakeEye:
    return FakeEye()


def hung(eye: FakeEye, free: int | None = 1 << 30, check: Callable[[Image], None] = lambda _: None) -> Gallery:
    return Gallery(lambda: eye, lambda: free, check)  # type: ignore[arg-type,return-value]


def never() -> bool:
    return False


def test_a_picture_is_ids_of_its_own_between_those_of_the_text(eye: FakeEye) -> None:
    cat = image("cat")
    ids = hung(eye).encode_prompt([Control("[INST]"), cat, Text("ab")], encode)
    assert ids == [3, *ids_of(cat.key, 5), END, 197, 198]
    assert all(-(1 << 31) <= token < 0 for token in ids[1:6])
    assert run_at(ids, 4) == 1
    assert run_at(ids, 6) == 1  # behind its last row
    assert eye.seen == []  # nothing is encoded before it is needed


def test_alike_pictures_are_alike_and_others_differ_at_once() -> None:
    one, other = ids_of(image("a").key, 30), ids_of(image("b").key, 30)
    assert one == ids_of(image("a").key, 30)
    assert not set(one) & set(other)
    assert len(set(one)) == 8  # 248 bits of the key
    assert ids_of(image("a").key, 3) == one[:3]


def test_without_pictures_the_text_is_encoded_in_one(eye: FakeEye) -> None:
    calls: list[list[Piece]] = []

    def noted(pieces: Sequence[Piece]) -> list[int]:
        calls.append(list(pieces))
        return encode(pieces)

    assert hung(eye).encode_prompt([Control("[INST]"), Text("a"), Text("b")], noted) == [3, 197, 198]
    assert calls == [[Control("[INST]"), Text("a"), Text("b")]]


def test_a_batch_has_rows_of_one_picture_and_says_what_is_to_be_encoded(eye: FakeEye) -> None:
    cat, dog = image("cat"), image("dog")
    gallery = hung(eye)
    prompt = gallery.encode_prompt([cat, dog, Text("a")], encode)  # 5 rows, END, 5 rows, END, a
    assert gallery.next_batch(prompt, 0, 100) == (6, cat)
    assert gallery.look(cat, never)
    assert gallery.next_batch(prompt, 0, 3) == (3, None)
    assert gallery.next_batch(prompt, 3, 100) == (6, None)
    assert gallery.next_batch(prompt, 6, 100) == (len(prompt), dog)
    assert gallery.next_batch(prompt, 8, 9) == (9, dog)  # in the middle of it
    assert gallery.next_batch(prompt, 11, 100) == (len(prompt), None)
    with pytest.raises(EngineError, match="has not been encoded"):
        gallery.features(prompt[6])


def test_what_was_encoded_is_kept_also_for_another_order(eye: FakeEye) -> None:
    cat, dog = image("cat"), image("dog")
    gallery = hung(eye)
    for picture in (cat, dog):
        gallery.encode_prompt([cat, dog], encode)
        assert gallery.look(picture, never)
        assert gallery.encoded == 1
        assert gallery.encode_s > 0
    prompt = gallery.encode_prompt([dog, Text("a"), cat], encode)
    assert gallery.next_batch(prompt, 0, 100) == (7, None)
    assert gallery.next_batch(prompt, 7, 100) == (len(prompt), None)
    assert (gallery.encoded, gallery.encode_s) == (0, 0.0)
    assert gallery.features(prompt[0]).rows[0] == 2.0
    assert gallery.features(prompt[7]).at(3)[0] == 1.0
    assert eye.seen == ["cat", "dog"]


def test_what_is_kept_is_bounded_and_what_was_used_last_stays(eye: FakeEye) -> None:
    pictures = [image(name) for name in "abcd"]
    size = 5 * WIDTH * 4
    gallery = hung(eye, free=int(2 * size / module.SHARE))  # and what is kept counts as free
    prompt = gallery.encode_prompt(pictures, encode)
    for picture in pictures[:2]:
        gallery.look(picture, never)
    gallery.features(prompt[0])  # a is used
    gallery.look(pictures[2], never)
    assert gallery.next_batch(prompt, 0, 1) == (1, None)
    assert gallery.next_batch(prompt, 6, 7) == (7, pictures[1])
    tiny = hung(eye, free=0)
    tiny.encode_prompt(pictures, encode)
    assert tiny.look(pictures[3], never)  # the one that is needed is kept however little there is
    assert tiny.features(ids_of(pictures[3].key, 1)[0])


def test_a_stop_does_not_wait_and_the_next_request_finds_it_under_way(eye: FakeEye) -> None:
    cat = image("cat")
    gallery = hung(eye)
    eye.gate.clear()
    gallery.encode_prompt([cat], encode)
    begin = time.monotonic()
    assert not gallery.look(cat, lambda: True)
    assert time.monotonic() - begin < 5
    gallery.encode_prompt([cat, Text("a")], encode)
    threading.Timer(0.05, eye.gate.set).start()
    assert gallery.look(cat, never)
    assert eye.seen == ["cat"]
    assert eye.given_up == []


def test_what_nobody_wants_any_more_ends(eye: FakeEye, monkeypatch: pytest.MonkeyPatch) -> None:
    cat, dog = image("cat"), image("dog")
    gallery = hung(eye)
    eye.gate.clear()
    gallery.encode_prompt([cat], encode)
    assert not gallery.look(cat, lambda: bool(eye.seen))
    gallery.encode_prompt([Text("a")], encode)  # a prompt without it
    wait_for(lambda: eye.given_up == ["cat"])
    gallery.encode_prompt([cat], encode)
    assert not gallery.look(cat, lambda: len(eye.seen) == 2)
    gallery.encode_prompt([cat, dog], encode)
    threading.Timer(0.05, eye.gate.set).start()
    assert gallery.look(dog, never)  # which waits for the other's end
    assert gallery.look(cat, never)
    monkeypatch.setattr(module, "_LET_GO_S", 0.01)
    eye.gate.clear()
    gallery.encode_prompt([image("cow")], encode)
    assert not gallery.look(image("cow"), lambda: eye.seen[-1] == "cow")
    wait_for(lambda: eye.given_up[-1] == "cow")  # nobody asks at all


def test_one_that_was_let_go_a_moment_too_early_is_begun_again(eye: FakeEye) -> None:
    cat = image("cat")
    gallery = hung(eye)
    eye.gate.clear()
    gallery.encode_prompt([cat], encode)
    assert not gallery.look(cat, lambda: bool(eye.seen))
    gallery.encode_prompt([Text("a")], encode)
    wait_for(lambda: eye.given_up == ["cat"])
    eye.gate.set()
    gallery.encode_prompt([cat], encode)
    assert gallery.look(cat, never)
    assert eye.seen == ["cat", "cat"]


def test_an_error_is_raised_where_it_is_waited_for_and_is_not_for_ever(eye: FakeEye) -> None:
    cat = image("cat")
    gallery = hung(eye)
    eye.error = DataError("the picture is damaged")
    gallery.encode_prompt([cat], encode)
    with pytest.raises(DataError, match="damaged"):
        gallery.look(cat, never)
    eye.error = None
    assert gallery.look(cat, never)


def test_there_is_no_looking_where_there_is_no_room(eye: FakeEye) -> None:
    def check(picture: Image) -> None:
        raise DataError(f"no room for {picture.source}")

    gallery = hung(eye, check=check)
    gallery.encode_prompt([image("cat")], encode)
    with pytest.raises(DataError, match="no room for cat"):
        gallery.look(image("cat"), never)
    assert eye.seen == []


def test_examples() -> None:
    for examples in (module, ahead, llama):
        assert doctest.testmod(examples).failed == 0


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)
