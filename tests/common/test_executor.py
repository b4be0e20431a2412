"""The executor of this process: one call per image, in order, and nothing read far ahead."""

from collections.abc import Iterator

import pytest

from stages.common import executor
from stages.common.errors import ImageError, UsageError
from stages.common.executor import Executor


def length(data: bytes) -> int:
    if not data:
        raise ImageError("the file is empty")
    return len(data)


class Together(Executor):
    """Makes the calls of several images at once, as a worker does, and counts them."""

    images_per_call = 3

    def __init__(self) -> None:
        self.calls: list[int] = []

    def call(self, function, *args):  # type: ignore[no-untyped-def]
        self.calls.append(len(args[1]))
        return super().call(function, *args)


SUBJECTS = [("a", (b"1",)), ("b", None), ("c", (b"",)), ("d", (b"333",)), ("e", (b"55555",))]


@pytest.mark.parametrize("make", [Executor, Together])
def test_each_image_has_its_own_result_in_order(make: type[Executor]) -> None:
    answers = [(subject, str(answer)) for subject, answer in make().each(length, SUBJECTS)]
    assert answers == [("a", "1"), ("b", "None"), ("c", "the file is empty"), ("d", "3"), ("e", "5")]


def test_a_call_holds_few_images_and_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    together = Together()
    list(together.each(length, SUBJECTS))
    assert together.calls == [3, 1]
    monkeypatch.setattr(executor, "_BYTES_PER_CALL", 3)
    together = Together()
    list(together.each(length, SUBJECTS))
    assert together.calls == [3, 1]
    together = Together()
    list(together.each(length, SUBJECTS[3:]))
    assert together.calls == [1, 1]


def test_one_image_is_read_at_a_time() -> None:
    read = 0

    def subjects() -> Iterator[tuple[int, tuple[bytes]]]:
        nonlocal read
        for number in range(10):
            read += 1
            yield number, (b"x",)

    answers = Executor().each(length, subjects())
    next(answers)
    assert read == 1


def test_other_errors_reach_the_caller() -> None:
    with pytest.raises(TypeError):
        list(Executor().each(length, [("a", (None,))]))


def test_an_address_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    monkeypatch.setenv(executor.VARIABLE, "http://127.0.0.1:8786")
    with (
        pytest.raises(UsageError, match=r"CONVOY_DASK is 'http://\S+'; allowed: tcp://HOST:PORT"),
        executor.opened(dict),
    ):
        pass
