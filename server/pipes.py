"""What goes to the workers and comes from them: whole messages, nobody waited for."""

import contextlib
import selectors

import msgspec

from server.crew import Worker
from server.messages import FromWorker, ToWorker, decode_from_worker, encode
from server.scheduler import OutOfStep


class Pipes:
    """The server's ends of all workers' pipes. Owned by the supervisor.

    Says in the `selector` that it borrows when a pipe is to be watched for room as well.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._to_send: list[Worker] = []

    def post(self, worker: Worker, message: ToWorker) -> None:
        """Put `message` with what goes to `worker` at the next `send`, in one write."""
        if not worker.outbox:
            self._to_send.append(worker)
        worker.outbox.append(message)

    def send(self) -> None:
        """Send what was posted, as far as there is room; the rest when there is."""
        for worker in self._to_send:
            messages = [encode(message) for message in worker.outbox]
            worker.outbox.clear()
            try:
                worker.channel.send(messages)
            except OSError:
                continue  # it has died; its end of file tells soon
            if worker.channel.unsent:
                self._watch(worker)
        self._to_send.clear()

    def receive(self, worker: Worker) -> list[bytes]:
        """What has come from the worker whose pipe is ready; EOFError where it is at its end."""
        try:
            if worker.watched_for_room:
                with contextlib.suppress(OSError):  # what it has sent before is still to be read
                    worker.channel.flush()
                self._watch(worker)
            return worker.channel.receive()
        except OSError as error:
            raise EOFError from error

    def _watch(self, worker: Worker) -> None:
        """Wait for room in the pipe as long as something is left to send."""
        full = bool(worker.channel.unsent)
        if worker.watched_for_room != full:
            worker.watched_for_room = full
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if full else 0)
            self._selector.modify(worker.channel, events, worker)


def decoded(raw: bytes) -> FromWorker:
    """The message in a frame; OutOfStep where it is none."""
    try:
        message: FromWorker = decode_from_worker(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise OutOfStep(str(error)) from error
    return message
