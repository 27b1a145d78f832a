"""The pictures of a conversation, or of a program's run: each read once, found again by what messages call it.

    with Album(Limits()) as album:
        picture = album.add("photo.jpg")               # -> Picture; what is wrong with it is a DataError now
        message = Message("user", (ImagePart(picture.source), TextPart("What is this?")))
        engine.pictures = album.picture                # how the engine's client finds it again

`picture.source` is `picture:<sha256 of the file's bytes>/photo.jpg`: the picture as it was then, whatever becomes of
the file. A message may also name a path or a data URL (`minichat.pictures.sources`); what `picture` has once found
under such a name it gives again.

The bytes and the pixels are in a temporary folder, which goes with the album; `keep` puts the bytes where the album of
another run finds them. Safe for several threads.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from minichat.pictures import sources
from minichat.pictures.keeping import KeptPictures
from minichat.pictures.reader import Reader
from minichat.pictures.reading import FOLDER_PREFIX
from minichat.pictures.size import Limits, grid
from quant.errors import DataError, StorageError


@dataclass(frozen=True)
class Picture:
    """A picture that was read.

    source: what stands in messages for it.
    key: the SHA-256 of its scaled pixels' file; a model sees the same where it is the same.
    name: what a person calls it; from outside, but on one line.
    width, height: its own pixels, upright.
    columns, rows: its tokens [IMG].
    pixels: a PPM (P6) of the scaled picture, columns and rows times the patch's pixels. thumbnail: a PPM of at most
        320 x 240 pixels, for terminals.
    format: JPEG, PNG, WEBP or GIF. bytes: of its file. digest: the SHA-256 of these.
    """

    source: str
    key: str
    name: str
    width: int
    height: int
    columns: int
    rows: int
    pixels: Path
    thumbnail: Path
    format: str
    bytes: int
    digest: str

    @property
    def tokens(self) -> int:
        """What it costs in a prompt."""
        return self.rows * (self.columns + 1)


class Album:
    """A context manager; closes itself at the program's end, too.

    limits: how large the model sees pictures; may be set anew, for pictures that are asked for from then on.
    folder: where relative paths begin; None for the current one.
    kept: where `keep` puts pictures, and where those of earlier runs are; None where nothing is kept.
    """

    def __init__(
        self, limits: Limits | None = None, folder: Path | None = None, kept: KeptPictures | None = None
    ) -> None:
        self.limits = limits or Limits()
        self._folder, self._kept = folder, kept
        self._reader = Reader()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._digests: dict[str, str] = {}  # of sources that are no `picture:…`
        self._read: dict[tuple[str, Limits], Picture] = {}
        self._numbers = itertools.count()  # of files of pixels
        self._lock = threading.RLock()

    def add(self, what: str | os.PathLike[str] | bytes, name: str | None = None) -> Picture:
        """Reads a picture anew: a path, a URL (data: or file:), or a file's bytes. name: what a person calls it.

        Raises DataError for one that cannot be read: none, broken, too big, of another kind. EngineError and
        StorageError where the machine is at fault.
        """
        source = what if isinstance(what, bytes) else os.fspath(what)
        with self._lock:
            if isinstance(source, str) and sources.kept(source) is not None:
                return self.picture(source)
            named = sources.name_of(name or (source if isinstance(source, str) else "picture"))
            if isinstance(source, bytes):
                called = named if name else "what was given as bytes"
                sources.checked_kind(sources.check_length(source, called), called)
                content = source
            else:
                content = sources.bytes_of(source, self._folder or Path())
            digest = self._put(content)
            return self._seen(digest, named, f"picture:{digest}/{named}")

    def picture(self, source: str) -> Picture:
        """The picture that a message names. What was found once is not looked for again. Raises as `add` does."""
        with self._lock:
            if (found := sources.kept(source)) is not None:
                return self._seen(found[0], sources.name_of(source), source)
            if source not in self._digests:
                self._digests[source] = self._put(sources.bytes_of(source, self._folder or Path()))
            return self._seen(self._digests[source], sources.name_of(source), source)

    def content(self, source: str) -> bytes:
        """The bytes of the picture's own file, for whoever writes it elsewhere. Raises as `picture` does."""
        with self._lock:
            found = sources.kept(source)
            digest = found[0] if found else self._digests.get(source)
            if digest is None:
                return sources.bytes_of(source, self._folder or Path())
            return self._content(digest, sources.name_of(source))

    def keep(self, source: str) -> None:
        """Keeps a picture that was added, for the sessions of later runs. Raises as `picture` does, and StorageError.

        Does nothing for other sources, and where nothing is kept.
        """
        found = sources.kept(source)
        if found is not None and self._kept is not None:
            with self._lock:
                self._kept.keep(found[0], self._content(*found))

    def forget(self, source: str) -> None:
        """Removes what was read of a picture from the temporary folder; for a run over very many."""
        with self._lock:
            found = sources.kept(source)
            digest = found[0] if found else self._digests.pop(source, None)
            for key in [key for key in self._read if key[0] == digest]:
                picture = self._read.pop(key)
                picture.pixels.unlink(missing_ok=True)
                picture.thumbnail.unlink(missing_ok=True)
            if digest is not None and self._temporary is not None:
                (Path(self._temporary.name) / digest).unlink(missing_ok=True)

    def stop(self) -> None:
        """Ends what another thread is reading, which gets a DataError; it is read anew when it is asked for again."""
        self._reader.stop()

    def close(self) -> None:
        """Ends the process that reads, whatever it is at, and removes the temporary folder."""
        self.stop()  # else the lock is not to be had before another thread's picture is read
        with self._lock:
            self._reader.close()
            self._read.clear()
            self._digests.clear()
            if self._temporary is not None:
                self._temporary.cleanup()
                self._temporary = None

    def __enter__(self) -> Album:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, content: bytes) -> str:
        """Writes a picture's bytes into the temporary folder; their hash."""
        digest = hashlib.sha256(content).hexdigest()
        path = self._temporary_folder() / digest
        if not path.exists():
            part = path.with_suffix(".part")
            try:
                part.write_bytes(content)
                part.replace(path)  # whole or not at all: an interrupted write would count as the picture ever after
            except OSError as error:
                part.unlink(missing_ok=True)
                raise StorageError(
                    f"a picture cannot be written to {path.parent}: {error.strerror or error}"
                ) from error
        return digest

    def _seen(self, digest: str, name: str, source: str) -> Picture:
        """The picture of this hash as the model sees it, read if it was not."""
        known = self._read.get((digest, self.limits)) or self._same_size(digest)
        if known is None or not known.pixels.is_file():  # systems clear their temporary folders of what is old
            known = self._look(digest, name)
        self._read[digest, self.limits] = known
        return replace(known, name=name, source=source)

    def _same_size(self, digest: str) -> Picture | None:
        """The picture of this hash as it was read under other limits, if these make no difference to it."""
        for (read, limits), picture in self._read.items():
            if read == digest and limits.patch == self.limits.patch:
                patches = grid(picture.width, picture.height, self.limits)
                if (patches.columns, patches.rows) == (picture.columns, picture.rows):
                    return picture
        return None

    def _look(self, digest: str, name: str) -> Picture:
        content = self._content(digest, name)
        kind = sources.checked_kind(content, name)
        stem = self._temporary_folder() / f"{digest}-{next(self._numbers)}"
        pixels, thumbnail = stem.with_suffix(".ppm"), stem.with_suffix(".small.ppm")
        try:
            found = self._reader.read(self._path(digest, name), kind, pixels, thumbnail, self.limits)
        except DataError as error:
            raise DataError(f"{name} cannot be read as a picture: {error}") from error
        size = (found.width, found.height, found.columns, found.rows)
        return Picture("", found.key, name, *size, pixels, thumbnail, kind, len(content), digest)

    def _content(self, digest: str, name: str) -> bytes:
        content = sources.read_file(self._path(digest, name), name)
        if hashlib.sha256(content).hexdigest() != digest:
            raise DataError(f"what is kept of {name} is damaged: attach it again")
        return content

    def _path(self, digest: str, name: str) -> Path:
        """Where the bytes of this hash are."""
        mine = Path(self._temporary.name) / digest if self._temporary else None
        for path in (mine, self._kept.path_of(digest) if self._kept else None):
            if path is not None and path.is_file():
                return path
        raise DataError(f"{name} is not kept any more: attach it again")

    def _temporary_folder(self) -> Path:
        if self._temporary is not None and not Path(self._temporary.name).is_dir():
            self._temporary.cleanup()
            self._temporary = None
        if self._temporary is None:
            try:
                self._temporary = tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, ignore_cleanup_errors=True)
            except OSError as error:
                raise StorageError(
                    f"no temporary folder can be made for pictures: {error.strerror or error}"
                ) from error
        return Path(self._temporary.name)
