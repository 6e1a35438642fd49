"""Messages arrive whole, in order and once, however the bytes come; broken streams are told."""

import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.channel import MAX_FRAME, Channel, frame

BIG = bytes(range(256)) * 20_000
"""Five million bytes: more than the buffers of any socket pair."""


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(20)
        other.settimeout(20)
        yield one, other


@pytest.fixture
def ends(sockets: tuple[socket.socket, socket.socket]) -> tuple[Channel, Channel]:
    return Channel(sockets[0]), Channel(sockets[1])


@given(
    messages=st.lists(st.binary(max_size=200), max_size=12),
    cuts=st.lists(st.integers(0, 2600), max_size=30),
)
def test_messages_arrive_whole_wherever_the_stream_is_cut(
    messages: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(map(frame, messages))
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(theirs)
        received: list[bytes] = []
        for start, end in pairwise(places):
            ours.sendall(stream[start:end])
            before = len(received)
            received += channel.receive()
            assert received == messages[: len(received)]
            whole = sum(1 for n in range(len(messages)) if frames_end(messages, n) <= end)
            assert len(received) == whole, f"{len(received) - before} too early or too late"
    assert received == messages


def frames_end(messages: list[bytes], number: int) -> int:
    return sum(len(frame(message)) for message in messages[: number + 1])


def test_a_frame_is_a_length_and_the_bytes() -> None:
    assert frame(b"abc") == b"\x00\x00\x00\x03abc"
    assert frame(b"") == b"\x00\x00\x00\x00"


def test_several_messages_in_one_read_come_in_order(ends: tuple[Channel, Channel]) -> None:
    ends[0].send([b"one", b"", b"three"])
    ends[0].send(iter([b"four"]))
    assert ends[1].receive() == [b"one", b"", b"three", b"four"]


def test_both_ends_may_send(ends: tuple[Channel, Channel]) -> None:
    ends[0].send([b"question"])
    ends[1].send([b"answer"])
    assert ends[1].receive() == [b"question"]
    assert ends[0].receive() == [b"answer"]


def test_a_non_blocking_end_keeps_what_the_socket_does_not_take(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    for sock in sockets:
        sock.setblocking(False)
    ours, theirs = Channel(sockets[0]), Channel(sockets[1])
    ours.send([BIG, b"small"])
    ours.send([BIG])
    assert 0 < ours.unsent < 2 * len(BIG) + 100
    received: list[bytes] = []
    while len(received) < 3:
        left = ours.unsent
        arrived = theirs.receive()
        received += arrived
        ours.flush()
        assert arrived or ours.unsent < left or not left, "nobody makes any progress"
    assert received == [BIG, b"small", BIG]
    assert ours.unsent == 0


def test_a_selector_tells_when_there_is_room_to_flush(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    sockets[0].setblocking(False)
    channel = Channel(sockets[0])
    channel.send([BIG])
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_WRITE)
        assert selector.select(0) == []
        while sockets[1].recv(1 << 20, socket.MSG_DONTWAIT) and not (ready := selector.select(0)):
            pass
        assert ready
    left = channel.unsent
    channel.flush()
    assert channel.unsent < left


def test_a_blocking_send_waits_until_all_is_gone(ends: tuple[Channel, Channel]) -> None:
    with ThreadPoolExecutor() as threads:
        sending = threads.submit(ends[0].send, [BIG, b"end"])
        received: list[bytes] = []
        while len(received) < 2:
            received += ends[1].receive()
        sending.result(timeout=20)
    assert received == [BIG, b"end"]
    assert ends[0].unsent == 0


@pytest.mark.parametrize("receive", [Channel.receive, Channel.receive_now])
def test_a_non_blocking_end_does_not_wait_for_bytes(
    sockets: tuple[socket.socket, socket.socket], receive: Callable[[Channel], list[bytes]]
) -> None:
    sockets[1].setblocking(False)
    assert receive(Channel(sockets[1])) == []


def test_receive_now_does_not_wait_on_a_blocking_end(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    for sock in sockets:
        sock.setblocking(True)
    theirs = Channel(sockets[1])
    assert theirs.receive_now() == []
    sockets[0].sendall(frame(b"now")[:5])
    assert theirs.receive_now() == []
    sockets[0].sendall(frame(b"now")[5:])
    assert theirs.receive_now() == [b"now"]


def test_what_is_whole_comes_before_the_end_of_file(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    sockets[0].sendall(frame(b"last") + frame(b"cut off")[:6])
    sockets[0].close()
    channel = Channel(sockets[1])
    assert channel.receive() == [b"last"]
    for _ in range(2):
        with pytest.raises(EOFError):
            channel.receive()


def test_an_end_that_closes_without_reading_is_an_end_of_file(
    ends: tuple[Channel, Channel],
) -> None:
    ends[0].send([b"never read"])
    ends[1].close()
    with pytest.raises(EOFError):
        ends[0].receive()


def test_sending_to_a_closed_end_is_an_os_error(ends: tuple[Channel, Channel]) -> None:
    ends[1].close()
    with pytest.raises(OSError, match="pipe"):
        ends[0].send([b"too late"])


def test_a_length_that_cannot_be_is_the_end_of_the_stream(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    sockets[0].sendall(struct.pack("!I", MAX_FRAME + 1) + b"x")
    with pytest.raises(EOFError, match=str(MAX_FRAME + 1)):
        Channel(sockets[1]).receive()


def test_the_longest_length_that_can_be_is_waited_for(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    sockets[0].sendall(struct.pack("!I", MAX_FRAME) + b"x")
    assert Channel(sockets[1]).receive() == []


def test_a_message_that_is_too_long_is_refused_before_anything_is_sent(
    ends: tuple[Channel, Channel],
) -> None:
    with pytest.raises(ValueError, match=str(MAX_FRAME)):
        ends[0].send([b"first", bytes(MAX_FRAME + 1)])
    assert ends[0].unsent == 0
    ends[0].send([b"next"])
    assert ends[1].receive() == [b"next"]


def test_closing_twice_does_nothing(ends: tuple[Channel, Channel]) -> None:
    ends[0].close()
    ends[0].close()
    assert ends[0].fileno() == -1


def test_a_waiting_receive_ends_when_the_other_end_closes(
    ends: tuple[Channel, Channel],
) -> None:
    begun = threading.Event()

    def receive() -> list[bytes]:
        begun.set()
        return ends[1].receive()

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(receive)
        assert begun.wait(20)
        ends[0].close()
        with pytest.raises(EOFError):
            waiting.result(timeout=20)
