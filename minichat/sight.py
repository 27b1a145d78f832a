"""What a model sees with: its projector, and the pictures that it is shown at the size that this takes.

    with Sight(model, max_tokens) as sight:
        engine = Engine(model.path, with_projector(load, model))
        engine.pictures = sight.for_engine(model, engine)
        conversation.ask("What is this?", [sight.add("photo.jpg").source])

Nothing is read or imported before the first picture: a chat about texts alone costs nothing. A model of text alone
refuses it in one line, before anything is loaded if somebody asks `check_sees` first.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from quant.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from minichat.engine.client import Engine
    from minichat.engine.types import LoadOptions
    from minichat.models import Model
    from minichat.pictures.album import Album, Picture
    from minichat.pictures.size import Limits


class Sight:
    """The pictures that a model is shown, at its size; a context manager. Safe for several threads.

    max_tokens: of one picture, at most; None: all that the model takes. It may be set anew, for pictures that are asked
    for from then on. folder: where relative paths in messages begin, None for the current one. keeps: whether pictures
    of sessions are found where minichat keeps them.
    """

    def __init__(
        self, model: Model, max_tokens: int | None = None, folder: Path | None = None, *, keeps: bool = True
    ) -> None:
        self.model, self.max_tokens = model, max_tokens
        self._folder, self._keeps = folder, keeps
        self._album: Album | None = None
        self._lock = threading.RLock()

    def add(self, what: str | os.PathLike[str] | bytes, name: str | None = None) -> Picture:
        """Reads a picture, as `Album.add`; DataError also for a model of text alone."""
        with self._lock:
            return self._at_size(self.model).add(what, name)

    def picture(self, source: str) -> Picture:
        """The picture that a message names, as `Album.picture`."""
        return self._picture(self.model, source)

    def for_engine(self, model: Model, engine: Engine | None = None) -> Callable[[str], Picture]:
        """What an engine with this model is to ask for pictures, `Engine.pictures`: no larger than it has room for."""

        def picture(source: str) -> Picture:
            room = engine.wait_loaded().picture_tokens if engine is not None else 0
            return self._picture(model, source, room)

        return picture

    def forget(self, source: str) -> None:
        """Lets go of a picture; for a run over very many. The process that reads them stays."""
        self.album().forget(source)

    def album(self) -> Album:
        """All that was read so far."""
        with self._lock:
            if self._album is None:
                from minichat.pictures.album import Album
                from minichat.pictures.keeping import KeptPictures
                from minichat.sessions import Sessions

                kept = KeptPictures.among(Sessions.default().folder) if self._keeps else None
                self._album = Album(None, self._folder, kept)
            return self._album

    def stop(self) -> None:
        """As `Album.stop`."""
        if (album := self._album) is not None:
            album.stop()

    def close(self) -> None:
        """Lets go of all that was read. What is asked for then is read anew."""
        with self._lock:
            album, self._album = self._album, None
        if album is not None:
            album.close()

    def __enter__(self) -> Sight:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _picture(self, model: Model, source: str, room: int = 0) -> Picture:
        with self._lock:
            return self._at_size(model, room).picture(source)

    def _at_size(self, model: Model, room: int = 0) -> Album:
        """room: the tokens of a picture that memory has room for; 0 if that is not known."""
        limits, album = limits_for(model, min(filter(None, (self.max_tokens, room)), default=None)), self.album()
        album.limits = limits
        return album


def describe(picture: Picture) -> str:
    """A picture on one line: its name, its own size, and what it costs."""
    return f"{picture.name}: {picture.width:,} × {picture.height:,} pixels, {picture.tokens:,} tokens"


def seeing(engine: Engine, sight: Sight, model: Model) -> Engine:
    """`engine`, which has this model loaded, with a way to the pictures."""
    engine.pictures = sight.for_engine(model, engine)
    return engine


def with_projector(load: LoadOptions, model: Model) -> LoadOptions:
    """How to load this model, if it is one that sees. DataError where what it sees with is missing."""
    if model.lacks is not None:
        raise DataError(model.lacks)
    return replace(load, projector=os.fspath(model.projector)) if model.projector is not None else load


def check_sees(model: Model) -> Path:
    """The model's projector. DataError for a model of text alone, with what would make it see."""
    if model.lacks is not None:
        raise DataError(model.lacks)
    if model.projector is None:
        raise DataError(f"{model.name} cannot see pictures: it reads text alone ({_way_to_see(model)})")
    return model.projector


def _way_to_see(model: Model) -> str:
    from minichat.demos import VISION, demos, is_demo
    from minichat.projectors import wrong_beside

    if model.manifest is None and (problem := wrong_beside(model.path)) is not None:
        return f"{problem}; --mmproj FILE names another"
    family = model.name.partition(":")[0]
    if is_demo(family) and family != VISION and VISION in demos():
        return f"{VISION} sees"
    if (again := _pulled_as(model)) is not None:
        return f"`minichat pull {again}` fetches what it needs to see, if there is any; or --mmproj FILE"
    return "--mmproj FILE gives it what it needs to see"


def _pulled_as(model: Model) -> str | None:
    """What to pull again for a model that was fetched, perhaps without its projector; None for any other."""
    made = model.manifest
    return f"{made.repo}:{made.target}" if made is not None and made.repo and made.source.startswith("hf:") else None


def limits_for(model: Model, max_tokens: int | None = None) -> Limits:
    """How large a model is shown pictures. Raises as `check_sees`, and GgufError for a projector that is damaged."""
    from minichat.engine.types import stamp_of
    from minichat.pictures.size import Limits
    from minichat.projectors import for_pictures

    path = check_sees(model)
    with for_pictures(model.name):
        longest, patch = _size(path, stamp_of(path))
    return Limits(longest, patch, max_tokens)


@lru_cache(maxsize=8)
def _size(projector: Path, stamp: str) -> tuple[int, int]:  # noqa: ARG001 - of the file as it is now
    """The longest side, and the side of the square that is one token, in pixels."""
    from minichat.projectors import read_projector

    told = read_projector(projector)
    return told.longest_side, told.patch * told.merge


def with_mmproj(model: Model, file: str | os.PathLike[str] | None) -> Model:
    """The model with the projector of --mmproj; as it is for None, and for text alone with "none".

    Raises GgufError for a file that is none, DataError for one of another model, and for one that is not there,
    UsageError for no name.
    """
    if file is None:
        return model
    if file == "none":
        return replace(model, projector=None, lacks=None)
    from minichat.models import expanded
    from minichat.projectors import check_fits, leading_keys, read_projector

    if not os.fspath(file):
        raise UsageError("--mmproj: the name of the file is empty")
    path = expanded(os.fspath(file))
    if not path.exists():
        raise DataError(f"--mmproj {file}: no such file")
    told = read_projector(path)
    try:
        metadata = leading_keys(model.path)
    except OSError as error:
        raise DataError(f"{model.path} cannot be read: {error.strerror or error}") from error
    check_fits(told, f"--mmproj {file}", metadata, model.name)
    return replace(model, projector=path.absolute(), lacks=None)
