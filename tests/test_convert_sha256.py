from __future__ import annotations

import ctypes.util
import hashlib
import random
import sys

import pytest

from convert import sha256
from convert.sha256 import PlainSha256, resumable_sha256

DATA = random.Random(0).randbytes(1 << 20)


def taken_up(data: bytes, places: list[int]) -> str:
    """The hash of data, with a new hash from each place on."""
    digest, begin = resumable_sha256(), 0
    for place in places:
        digest.update(data[begin:place])
        state = digest.state()
        assert state is not None
        assert len(state) == 32 + place % 64
        digest = resumable_sha256()
        digest.set_state(state, place)
        begin = place
    digest.update(data[begin:])
    return digest.hexdigest()


@pytest.mark.skipif(sys.platform == "win32", reason="Python's own OpenSSL is not found there")
def test_taken_up_anywhere_it_is_hashlibs() -> None:
    chance = random.Random(1)
    for size in (0, 1, 55, 56, 63, 64, 65, 1000, len(DATA)):
        expected = hashlib.sha256(DATA[:size]).hexdigest()
        assert taken_up(DATA[:size], []) == expected
        for _ in range(30):
            places = sorted(chance.randrange(size + 1) for _ in range(chance.randrange(1, 6)))
            assert taken_up(DATA[:size], places) == expected


def test_every_place_of_a_few_blocks() -> None:
    expected = hashlib.sha256(DATA[:300]).hexdigest()
    assert {taken_up(DATA[:300], [place]) for place in range(301)} == {expected}


def test_a_length_beyond_32_bits() -> None:
    """The state after 4 GB, as it would be: the length counts in bits, and does not fit into one word.

    Oracle: FIPS 180-4 written out here, from a state and a length.
    """
    n_bytes, state = (4 << 30) + 64 * 5, bytes(range(32))
    digest = resumable_sha256()
    digest.set_state(state, n_bytes)
    digest.update(b"tail")
    padding = b"tail\x80" + bytes(64 - 5 - 8) + (8 * (n_bytes + 4)).to_bytes(8, "big")
    assert digest.hexdigest() == compressed(state, padding).hex()


def compressed(state: bytes, block: bytes) -> bytes:
    """SHA-256's compression of one block (FIPS 180-4, 6.2.2)."""
    mask = 0xFFFFFFFF
    primes = [n for n in range(2, 312) if all(n % d for d in range(2, n))]
    constants = [int((p ** (1 / 3) % 1) * 2**32) for p in primes[:64]]

    def turned(x: int, n: int) -> int:
        return (x >> n | x << (32 - n)) & mask

    words = [int.from_bytes(block[n : n + 4], "big") for n in range(0, 64, 4)]
    for n in range(16, 64):
        low = turned(words[n - 15], 7) ^ turned(words[n - 15], 18) ^ words[n - 15] >> 3
        high = turned(words[n - 2], 17) ^ turned(words[n - 2], 19) ^ words[n - 2] >> 10
        words.append((words[n - 16] + low + words[n - 7] + high) & mask)
    before = [int.from_bytes(state[n : n + 4], "big") for n in range(0, 32, 4)]
    a, b, c, d, e, f, g, h = before
    for constant, word in zip(constants, words, strict=True):
        first = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + (e & f ^ ~e & g) + constant + word
        second = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (first + second) & mask, a, b, c, (d + first) & mask, e, f, g
    after = (a, b, c, d, e, f, g, h)
    return b"".join(((x + y) & mask).to_bytes(4, "big") for x, y in zip(before, after, strict=True))


def test_what_is_no_state_is_refused() -> None:
    digest = resumable_sha256()
    for state, n_bytes in ((b"", 0), (bytes(31), 0), (bytes(33), 0), (bytes(32), 1), (bytes(95), 64)):
        with pytest.raises(ValueError, match="no state"):
            digest.set_state(state, n_bytes)


def test_a_library_that_hashes_wrong_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose structure is another one, and one that answers nothing: hashlib stands in, and cannot be taken up."""
    real = sha256._library()
    if real is None:
        pytest.skip("this machine has no library of that kind")
    for layout in (sha256._Layout(0, 40, 104), sha256._Layout(8, 0, None), sha256._Layout(0, 32, None)):
        monkeypatch.setattr(sha256, "_OPENSSL", layout)
        monkeypatch.setattr(sha256, "_APPLE", (layout,))
        assert sha256._library.__wrapped__() is None
    monkeypatch.undo()
    found = sha256._library.__wrapped__()
    assert found is not None
    assert found.layout == real.layout
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    assert sha256._library.__wrapped__() is None
    monkeypatch.setattr(sha256, "_library", lambda: None)
    digest = resumable_sha256()
    assert isinstance(digest, PlainSha256)
    digest.update(DATA)
    assert digest.state() is None
    assert digest.hexdigest() == hashlib.sha256(DATA).hexdigest()
    with pytest.raises(ValueError, match="takes up no hash"):
        digest.set_state(bytes(32), 64)


def test_the_systems_library_is_found_where_pythons_own_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a Python that has OpenSSL built in."""
    if sys.platform == "darwin" or not ctypes.util.find_library("crypto"):
        pytest.skip("there is no libcrypto of the system")
    monkeypatch.setitem(sys.modules, "_hashlib", None)
    assert sha256._library.__wrapped__() is not None
