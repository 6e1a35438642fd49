"""What crosses a pipe arrives as it was sent; each side takes only what is meant for it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.messages import (
    Assign,
    Failure,
    Forget,
    FromWorker,
    Grown,
    LogLine,
    OutOfMemory,
    Ready,
    Result,
    Skipped,
    Stop,
    Task,
    TaskKind,
    ToWorker,
    Unfit,
    decode_from_worker,
    decode_to_worker,
    encode,
)

TASK = Task(
    7, 2, TaskKind.PARTIAL, "best5", msgspec.Raw(b'{"question":"Q"}'), msgspec.Raw(b"[1,2]"), "r-1"
)
TO_WORKER: list[ToWorker] = [Assign(3, TASK), Forget(3), Stop()]
FROM_WORKER: list[FromWorker] = [
    Ready(),
    Unfit("no memory"),
    Result(3, msgspec.Raw(b'{"a":1.0}')),
    Failure(3, "ValueError: no"),
    OutOfMemory(3),
    Skipped(3),
    Grown(2**29),
    LogLine(20, "ready"),
    LogLine(40, "failed", "line 1\nline 2"),
    LogLine(40, "failed", "line 1", 7, "r-1"),
]


def name_of(message: object) -> str:
    return type(message).__name__


@pytest.mark.parametrize("message", TO_WORKER, ids=name_of)
def test_what_the_server_sends_arrives_as_it_was(message: ToWorker) -> None:
    assert decode_to_worker(encode(message)) == message


@pytest.mark.parametrize("message", FROM_WORKER, ids=name_of)
def test_what_a_worker_sends_arrives_as_it_was(message: FromWorker) -> None:
    assert decode_from_worker(encode(message)) == message


@pytest.mark.parametrize("message", TO_WORKER, ids=name_of)
def test_the_server_does_not_take_its_own_messages(message: ToWorker) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_from_worker(encode(message))


@pytest.mark.parametrize("message", FROM_WORKER, ids=name_of)
def test_a_worker_does_not_take_the_messages_of_workers(message: FromWorker) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_to_worker(encode(message))


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"null",
        b"{}",
        b"[]",
        b'["result"]',
        b'["result",1]',
        b'["result","1",{}]',
        b'["result",1,{}',
        b'["skipped",1.5]',
        b'["nothing",1]',
        b"\xff\xfe",
    ],
)
def test_nonsense_is_a_decode_error(nonsense: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_from_worker(nonsense)


def test_an_unknown_kind_of_task_is_a_decode_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_to_worker(b'["assign",1,[7,0,"halfway","best5",{},null]]')


@pytest.mark.parametrize("kind", TaskKind)
def test_every_kind_of_task_can_be_assigned(kind: TaskKind) -> None:
    task = msgspec.structs.replace(TASK, kind=kind)
    received = decode_to_worker(encode(Assign(1, task)))
    assert isinstance(received, Assign)
    assert received.task.kind is kind


def test_a_message_is_an_array_that_begins_with_its_kind() -> None:
    assert msgspec.json.decode(encode(Assign(3, TASK))) == [
        "assign",
        3,
        [7, 2, "partial", "best5", {"question": "Q"}, [1, 2], "r-1"],
    ]


def test_the_digits_of_a_result_are_not_touched() -> None:
    data = b'{"mean": 33.0, "small":1e-300,  "many":0.1000000000000000055511151231257827}'
    received = decode_from_worker(encode(Result(1, msgspec.Raw(data))))
    assert isinstance(received, Result)
    assert bytes(received.data) == data


@given(st.text(), st.text())
def test_any_text_crosses_the_pipe(text: str, trace: str) -> None:
    line = LogLine(20, text, trace)
    assert decode_from_worker(encode(line)) == line


@pytest.mark.parametrize("message", [*TO_WORKER, *FROM_WORKER, TASK], ids=name_of)
def test_messages_are_frozen(message: msgspec.Struct) -> None:
    for name in message.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(message, name, None)
