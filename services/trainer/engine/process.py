"""A run's process where there is no fork server: `python -m ...engine.process FOLDER FD`."""

import sys


def main() -> None:
    """Execute the attempt of a folder; FD is the inherited end of the pipe to whom it obeys."""
    from multiprocessing.connection import Connection
    from pathlib import Path

    from services.trainer import run_process

    run_process.main(Path(sys.argv[1]), Connection(int(sys.argv[2])))


if __name__ == "__main__":
    main()
