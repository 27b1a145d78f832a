"""What a person would have been shown of long work."""

from __future__ import annotations


class Work:
    """A `minichat.work.ShowWork` and its `Progress` in one, which remembers."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.updates: list[tuple[int, int]] = []
        self.notes: list[str] = []

    def __call__(self, title: str) -> Work:
        self.titles.append(title)
        return self

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def found(self, done_bytes: int, total_bytes: int, detail: str) -> None:
        self.update(done_bytes, total_bytes, detail)

    def update(self, done_bytes: int, total_bytes: int, detail: str) -> None:
        assert 0 <= done_bytes <= total_bytes, (done_bytes, total_bytes, detail)
        self.updates.append((done_bytes, total_bytes))

    def note(self, text: str) -> None:
        self.notes.append(text)
