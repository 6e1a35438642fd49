"""A soak: the real server under load while its processes are killed, and every job checked.

    python -m tools.soak [--minutes M] [--kills N] [--seed S]

Clients post jobs over HTTP without a pause. Meanwhile workers are killed (SIGKILL, SIGSEGV)
and stopped (SIGSTOP), and so are the fork server, gunicorn's worker, its master and the whole
group; SIGTERM comes too. A server that is gone is started again on the same folders. For the
last third only workers and fork servers die, so that one server process can be asked what it
has lost of its own. At the end every job in the ledger must have ended once, with the answer
that the statistic gives without any server.

`--seed` fixes which kinds of kills come in which order and with which pauses. `--kills N`
lasts until N of each kind have been done, instead of `--minutes`. The exit code is 1 where
anything is not as it must be, 130 after Ctrl-C.
"""
