"""`python -m server.cli` is `sportiv`, also where that is not on the path."""

from server.cli import main

if __name__ == "__main__":
    main()
