"""A process that answers each message with 1: how long the way there and back takes at least.

`python -m benchmarks.echo FD`, the descriptor of its end of a socket pair.
"""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

from server.interpreter import module_command, module_environment

LONGEST = 4096
ANSWER = b"1"


@contextmanager
def echoing() -> Iterator[socket.socket]:
    """The other end of the pair. Leaving it ends the process."""
    ours, theirs = socket.socketpair()
    command = module_command("benchmarks.echo", str(theirs.fileno()))
    environment = module_environment()
    with subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment):
        theirs.close()
        with closing(ours):
            yield ours


def main(fd: int) -> None:
    """Answer until the other end is closed."""
    with socket.socket(fileno=fd) as theirs:
        while theirs.recv(LONGEST):
            theirs.send(ANSWER)


if __name__ == "__main__":
    main(int(sys.argv[1]))
