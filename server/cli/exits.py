"""How the program's exit tells a script what has happened."""

from enum import IntEnum

from server.client_errors import ClientError, JobCancelled, JobFailed, TimedOut, Unreachable


class Exit(IntEnum):
    """The exit codes; those of a signal are as in a shell."""

    DONE = 0
    FAILED = 1
    WRONG = 2
    UNREACHABLE = 3
    TIMED_OUT = 4
    CANCELLED = 5
    INTERRUPTED = 130


MEANINGS = {
    Exit.DONE: "done",
    Exit.FAILED: "the job failed, or a check of the doctor did",
    Exit.WRONG: "wrong usage, or a request that the server refused",
    Exit.UNREACHABLE: "no server answers",
    Exit.TIMED_OUT: "the job did not end in the time that was given",
    Exit.CANCELLED: "somebody cancelled the job",
    Exit.INTERRUPTED: "interrupted with Ctrl-C, which cancels the job that is waited for",
}
"""What the help and the documents say of each."""


def exit_of(error: ClientError) -> Exit:
    """The exit code that tells of this error."""
    match error:
        case Unreachable():
            return Exit.UNREACHABLE
        case JobFailed():
            return Exit.FAILED
        case JobCancelled():
            return Exit.CANCELLED
        case TimedOut():
            return Exit.TIMED_OUT
    return Exit.WRONG
