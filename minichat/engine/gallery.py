"""The pictures of a model's prompts: what stands for them among the ids of a KV cache, and their embeddings.

    prompt    <s> [INST] [IMG] [IMG] [IMG_BREAK] [IMG] [IMG] [IMG_END] What …
    cached     1    3     -a    -b       -c       -d    -e      13     …        13: [IMG_END] is a token like others

A negative id stands for a row of embeddings; those of one picture come from its key, the hash of its pixels. So two
prompts are alike as far as their ids are, whatever looks for that: the same picture again is read from the cache,
another one in its place is not. Which picture an id belongs to tells the first of the negative ids before it, which row
tells how many of them there are.

A picture is encoded once, in a thread of its own: a request that stops does not wait for it, and the next one, which as
a rule is the same prompt with more typed behind it, finds it under way. One that nobody asks for again ends soon. What
has been encoded is kept, in a part of the memory that is free.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from minichat.engine.watchdog import watch
from minichat.template.pieces import Image, Piece
from quant.errors import EngineError

if TYPE_CHECKING:
    from minichat.engine.seeing import Eye, Features

SHARE = 0.125  # of the free memory, what is kept counted as free
_UNKNOWN_BYTES = 4 << 30  # free where nobody can tell
_LET_GO_S = 1.5  # for which a picture that was asked for is still encoded, should the next request want it too
_LOOK_S = 0.02
_LONGEST_S = 3600.0  # whatever the machine
_DIGITS, _LENGTH = 8, 8  # of a key, for an id; ids that differ


def ids_of(key: str, count: int) -> list[int]:
    """`count` negative ids for the picture with this key, the first eight of them different as a rule.

    >>> ids_of("00000000" + "0000000f" + 48 * "0", 3), ids_of("ffffffff" + 56 * "0", 1)
    ([-1, -16, -1], [-2147483648])
    """
    parts = (key[i * _DIGITS : (i + 1) * _DIGITS] for i in range(_LENGTH))
    ids = [-1 - (int(part, 16) & 0x7FFFFFFF) for part in parts]
    return (ids * (count // _LENGTH + 1))[:count]


def run_at(ids: Sequence[int], place: int) -> int:
    """Where the picture begins of which there is a row at `place`.

    >>> run_at([1, -5, -6, -7, 13], 3)
    1
    """
    while place and ids[place - 1] < 0:
        place -= 1
    return place


class Gallery:
    """Pictures of one model. open_eye: loads its projector, when the first one is to be encoded. free: bytes of memory.
    check: raises an error for a picture that there is no room for.

    encoded: pictures of the last prompt that had to be encoded; encode_s: the seconds that took; row_s: those for each
    row of the last picture that was.
    """

    def __init__(
        self, open_eye: Callable[[], Eye], free: Callable[[], int | None], check: Callable[[Image], None]
    ) -> None:
        self._open_eye, self._free, self._check = open_eye, free, check
        self._eye: Eye | None = None
        self._images: dict[int, Image] = {}  # of the last prompt, by its first id
        self._kept: OrderedDict[str, Features] = OrderedDict()  # by key; the one used last at the end
        self._job: _Job | None = None
        self.encoded, self.encode_s = 0, 0.0
        self.row_s = 0.0

    def encode_prompt(self, pieces: Iterable[Piece], encode: Callable[[Sequence[Piece]], list[int]]) -> list[int]:
        """The ids of a prompt as they stand in the cache, and its pictures are the ones that are known then.

        encode: the ids of other pieces, and the real ones of a picture.
        """
        ids: list[int] = []
        run: list[Piece] = []
        images: dict[int, Image] = {}
        for piece in pieces:
            if not isinstance(piece, Image):
                run.append(piece)
                continue
            real = encode([piece])
            own = ids_of(piece.key, len(real) - 1)
            images[own[0]] = piece
            ids += [*encode(run), *own, real[-1]]
            run = []
        self._images = images
        self.encoded, self.encode_s = 0, 0.0
        if self._job is not None and self._job.image.key not in {image.key for image in images.values()}:
            self._job.let_go(0.0)
        return [*ids, *encode(run)]

    def next_batch(self, prompt: Sequence[int], begin: int, end: int) -> tuple[int, Image | None]:
        """Where a batch ends that holds rows of one picture at most, `end` at the latest; and that picture, if it has
        to be encoded first."""
        image, is_first = None, True
        for place in range(begin, min(end, len(prompt))):
            if prompt[place] >= 0 or (place > begin and prompt[place - 1] < 0):
                continue
            if not is_first:
                return place, image
            found = self._images.get(prompt[run_at(prompt, place)])
            if found is None:
                raise EngineError("an id of the prompt stands for no picture")
            image, is_first = found if found.key not in self._kept else None, False
        return min(end, len(prompt)), image

    def look(self, image: Image, stopped: Callable[[], bool]) -> bool:
        """Encodes it; False if `stopped` said so before it was done. Raises what loading and encoding raise."""
        begin = time.perf_counter()
        with watch("encoding a picture", _LONGEST_S):
            while image.key not in self._kept:
                if not self._go_on_with(image, stopped):
                    return False
        took = time.perf_counter() - begin
        self.encode_s += took
        self.encoded += 1
        self.row_s = took / self._kept[image.key].count
        return True

    def _go_on_with(self, image: Image, stopped: Callable[[], bool]) -> bool:
        """Waits for the picture that is being encoded, or begins with this one; False if `stopped` said so."""
        if self._job is None:
            self._check(image)
            self._job = _Job(image, self._eye, self._open_eye)
        job, is_ours = self._job, self._job.image.key == image.key
        if is_ours:
            job.keep_on()
        else:
            job.let_go(0.0)
        if not job.wait(stopped):
            job.let_go(_LET_GO_S if is_ours else 0.0)
            return False
        self._job, self._eye = None, job.eye
        if job.features is not None:
            self._keep(job.image.key, job.features)
        elif is_ours and job.error is not None:
            raise job.error
        return True

    def features(self, first: int) -> Features:
        """What has been encoded of the picture whose first id this is."""
        image = self._images.get(first)
        found = self._kept.get(image.key) if image is not None else None
        if image is None or found is None:
            raise EngineError("a picture has not been encoded")
        self._kept.move_to_end(image.key)
        return found

    def _keep(self, key: str, features: Features) -> None:
        held = sum(kept.bytes for kept in self._kept.values())
        free = self._free()
        most = SHARE * ((_UNKNOWN_BYTES if free is None else free) + held)
        while self._kept and held + features.bytes > most:
            _, dropped = self._kept.popitem(last=False)
            held -= dropped.bytes
        self._kept[key] = features


class _Job:
    """One picture that is being encoded, in a thread. features: None if it was given up, or there is an error."""

    def __init__(self, image: Image, eye: Eye | None, open_eye: Callable[[], Eye]) -> None:
        self.image, self.eye, self._open_eye = image, eye, open_eye
        self.features: Features | None = None
        self.error: BaseException | None = None
        self._until: float | None = None  # when it ends unless somebody wants it; None: it is wanted
        self._done = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def keep_on(self) -> None:
        """Somebody wants it."""
        self._until = None

    def let_go(self, seconds: float) -> None:
        """Nobody waits for it any more. It ends after so many seconds, but for what cannot be interrupted."""
        self._until = time.monotonic() + seconds

    def wait(self, stopped: Callable[[], bool]) -> bool:
        """Whether it ended before `stopped` said to wait no longer."""
        while not self._done.wait(_LOOK_S):
            if stopped():
                return False
        return True

    def _goes_on(self) -> bool:
        until = self._until
        return until is None or time.monotonic() < until

    def _run(self) -> None:
        try:
            if self.eye is None:
                self.eye = self._open_eye()
            self.features = self.eye.encode(self.image, self._goes_on)
        except BaseException as error:  # carried over to the thread that waits
            self.error = error
        finally:
            self._done.set()
