import threading
import time

import pytest

from convert.background import Background


def test_items_are_worked_on_in_order_and_all_of_them() -> None:
    done: list[int] = []
    with Background(done.append, 2, "test") as background:
        for n in range(1000):
            background.put(n)
    assert done == list(range(1000))


def test_no_more_than_asked_for_wait() -> None:
    go, begun = threading.Event(), threading.Event()

    def work(_: int) -> None:
        begun.set()
        go.wait(30)

    with Background(work, 3, "test") as background:
        background.put(0)
        assert begun.wait(30)
        for n in range(3):
            background.put(n)
        late = threading.Thread(target=background.put, args=(9,))
        late.start()
        time.sleep(0.05)
        assert late.is_alive()
        go.set()
        late.join(30)
        assert not late.is_alive()


def test_an_error_reaches_who_puts_and_nobody_waits_for_ever() -> None:
    def work(item: int) -> None:
        if item == 3:
            raise OSError("full")

    with pytest.raises(OSError, match="full"), Background(work, 1, "test") as background:
        for n in range(100_000):
            background.put(n)


def test_an_error_with_the_last_item_is_raised_at_the_end() -> None:
    def work(_: int) -> None:
        time.sleep(0.05)
        raise OSError("full")

    with pytest.raises(OSError, match="full"), Background(work, 1, "test") as background:
        background.put(1)


def test_after_an_exception_what_waits_is_dropped() -> None:
    done: list[int] = []
    go = threading.Event()

    def work(item: int) -> None:
        go.wait(30)
        done.append(item)

    def interrupted() -> None:
        with Background(work, 4, "test") as background:
            for n in range(5):
                background.put(n)
            threading.Timer(0.05, go.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done in ([], [0])
    assert not [thread for thread in threading.enumerate() if thread.name == "test"]


def test_settling_waits_for_all_and_raises_what_went_wrong() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        time.sleep(0.01)
        if item == 7:
            raise OSError("full")
        done.append(item)

    with pytest.raises(OSError, match="full"), Background(work, 8, "test") as background:
        background.settle()
        for n in range(5):
            background.put(n)
        background.settle()
        assert done == [0, 1, 2, 3, 4]
        for n in range(5, 9):
            background.put(n)
        background.settle()
        pytest.fail("the error was kept")
