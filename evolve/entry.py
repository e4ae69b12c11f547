"""Where the program starts: before anything is imported, so that Ctrl-C ends it in a word from the first moment on."""

import sys


def main() -> None:
    """Runs the command line."""
    try:
        from evolve import cli

        cli.main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(1)
