"""Whole messages over a stream socket, without ever waiting in the middle of one.

A frame is a length (four bytes, big endian) and that many bytes. `multiprocessing`'s
connections read the length and then block until the rest is there: a worker stopped in
mid-message would stop its reader too. Here what has arrived is kept until it is whole.
"""

import socket
from collections.abc import Iterable
from struct import Struct

MAX_FRAME = 64 * 1024 * 1024
"""The longest message, in bytes."""

_LENGTH = Struct("!I")
_CHUNK = 64 * 1024


def frame(message: bytes) -> bytes:
    """`message` as it goes over the wire; ValueError where it is longer than MAX_FRAME."""
    if len(message) > MAX_FRAME:
        raise ValueError(f"a message of {len(message)} bytes is longer than {MAX_FRAME}")
    return _LENGTH.pack(len(message)) + message


class Channel:
    """One end of a duplex pipe of messages. Owns its socket; not safe for several threads.

    On a blocking socket `receive` waits for bytes and `send` until all are gone; on a
    non-blocking one neither waits, and `send` keeps the rest for `flush`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._chunk = memoryview(bytearray(_CHUNK))  # where each read goes first
        self._arrived = bytearray()
        self._unsent = bytearray()

    def fileno(self) -> int:
        """The socket's descriptor, for a selector."""
        return self._socket.fileno()

    @property
    def unsent(self) -> int:
        """How many bytes wait for `flush`."""
        return len(self._unsent)

    @property
    def cut_off(self) -> bool:
        """Whether the first part of a message has come, and not its rest."""
        return bool(self._arrived)

    def send(self, messages: Iterable[bytes]) -> None:
        """Send the messages in order; OSError where the other end is gone."""
        content = b"".join(map(frame, messages))
        if not self._unsent:  # nearly always, and nearly always it goes as a whole
            content = content[self._sent(content) :]
        if content:
            self._unsent += content
            self.flush()

    def _sent(self, content: bytes) -> int:
        """How much of this the other end takes at once."""
        try:
            return self._socket.send(content)
        except BlockingIOError:
            return 0

    def flush(self) -> None:
        """Send what is left of earlier messages, as far as it goes."""
        try:
            while self._unsent:
                sent = self._socket.send(self._unsent)
                del self._unsent[:sent]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
            raise

    def receive(self, flags: int = 0) -> list[bytes]:
        """The messages that are whole after one more read, perhaps none.

        Raises EOFError where the other end is closed; half a message is then lost.
        """
        try:
            size = self._socket.recv_into(self._chunk, 0, flags)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            size = 0
        if not size:
            raise EOFError
        if not self._arrived:  # nearly always, and nearly always whole messages come
            messages, end = _whole(self._chunk[:size])
            self._arrived += self._chunk[end:size]
            return messages
        self._arrived += self._chunk[:size]
        messages, end = _whole(self._arrived)
        del self._arrived[:end]
        return messages

    def receive_now(self) -> list[bytes]:
        """As `receive`, but without waiting, also on a blocking socket."""
        return self.receive(socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Close the socket; calling it again does nothing."""
        self._socket.close()


def _whole(arrived: memoryview | bytearray) -> tuple[list[bytes], int]:
    """The messages that are here as a whole, and where the last of them ends."""
    messages = []
    start, size = 0, len(arrived)
    while size - start >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(arrived, start)
        end = start + _LENGTH.size + length
        if length > MAX_FRAME:
            raise EOFError(f"a frame of {length} bytes: the other end is out of step")
        if size < end:
            break
        messages.append(bytes(arrived[start + _LENGTH.size : end]))
        start = end
    return messages, start
