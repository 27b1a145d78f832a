"""Pictures beside the sessions: they go with the last one that names them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from picture_files import noise, saved
from PIL import Image

from minichat.conversation import Conversation
from minichat.folders import read_plain
from minichat.housekeeping import du, leftovers, prune
from minichat.pictures.album import Album
from minichat.sessions import Sessions
from minichat.space import show_du
from minichat.store import Store
from minichat.template.messages import ImagePart, Message, TextPart

CAT, DOG, OWL = (saved(Image.fromarray(noise(28, 28, seed=seed)), "PNG") for seed in (1, 2, 3))


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(tmp_path / "sessions")


def kept(sessions: Sessions, name: str, *pictures: bytes) -> list[str]:
    """A session with pictures; their hashes."""
    with Album(kept=sessions.pictures) as album:
        sources = [album.add(content, "x.png").source for content in pictures]
        for source in sources:
            album.keep(source)
    question = Message("user", (*map(ImagePart, sources), TextPart("What is this?")))
    session = sessions.new(name)
    session.save(Conversation("v7-tekken", messages=[question, Message("assistant", "A")]), "demo")
    session.close()
    return [source[8:72] for source in sources]


def names(sessions: Sessions) -> set[str]:
    return {picture.path.name for picture in sessions.pictures.all()}


def test_a_session_takes_its_pictures_along(sessions: Sessions) -> None:
    cat, dog = kept(sessions, "pets", CAT, DOG)
    assert kept(sessions, "dogs", DOG) == [dog]
    assert names(sessions) == sessions.pictures_named() == {cat, dog}
    sessions.remove("pets")
    assert names(sessions) == {dog}
    sessions.remove("dogs")
    assert names(sessions) == set()


def test_a_picture_that_was_kept_for_a_session_that_is_not_written_yet_stays(sessions: Sessions) -> None:
    cat, dog = kept(sessions, "pets", CAT, DOG)
    then = time.time() - 60
    for path in (sessions.folder / "pets.jsonl", *map(sessions.pictures.path_of, (cat, dog))):
        os.utime(path, (then, then))
    sessions.pictures.keep(cat, CAT)  # by another chat
    sessions.remove("pets")
    assert names(sessions) == {cat}


def test_while_a_session_cannot_be_read_its_pictures_stay(
    sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cat,), _ = kept(sessions, "pets", CAT), kept(sessions, "cats", CAT)
    os.utime(sessions.pictures.path_of(cat), (0, 0))

    def read(path: Path, most: int) -> bytes:
        if path.name == "cats.jsonl":
            raise PermissionError
        return read_plain(path, most)

    monkeypatch.setattr("minichat.sessions.read_plain", read)
    sessions.remove("pets")
    assert prune(Store(tmp_path / "models"), sessions) == []
    assert names(sessions) == {cat}


def test_prune_removes_what_no_session_names(
    sessions: Sessions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "models")
    cat, owl = kept(sessions, "pets", CAT)[0], kept(sessions, "owls", OWL)[0]
    (sessions.folder / "owls.jsonl").unlink()
    part = sessions.pictures.folder / f"{owl}abc.part"
    part.write_bytes(b"x")
    (sessions.pictures.folder / "notes.txt").write_bytes(b"mine")
    assert [(left.kind, left.name, left.in_use) for left in leftovers(store, sessions)] == [
        ("without a session", owl, True),
        ("half-written", part.name, True),
    ]
    assert prune(store, sessions) == []  # a chat may be about to name it
    os.utime(sessions.pictures.path_of(owl), (0, 0))
    sessions.pictures.keep(owl, OWL)
    assert prune(store, sessions) == []  # another one, now
    for path in (part, sessions.pictures.path_of(owl), sessions.pictures.path_of(cat)):
        os.utime(path, (time.time() - 7200,) * 2)
    usage = du(store, sessions)
    assert (usage.leftovers_bytes, usage.n_pictures, usage.pictures_bytes) == (len(OWL) + 1, 1, len(CAT))
    show_du(usage, as_json=False)
    told = capsys.readouterr().out
    assert "1 picture of sessions" in told
    assert f"in {store.root} and beside the sessions; `minichat prune` frees" in told
    assert {left.name for left in prune(store, sessions)} == {owl, part.name}
    assert names(sessions) == {cat}
    assert (sessions.pictures.folder / "notes.txt").exists()
