"""The command line `sportiv`: people's way to the server. Each command is a module of its own.

Nothing heavy is imported before a command needs it, so that help and completion are quick.
"""

import sys


def main() -> None:
    """What the installed program `sportiv` runs; leaves with one of the codes in `exits`."""
    from server.cli.program import run

    sys.exit(run(sys.argv[1:]))
