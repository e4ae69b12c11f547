"""Where the program starts: before anything is imported, so that Ctrl-C ends it in a word from the first moment on."""

import sys


def main() -> None:
    """Runs the command line."""
    try:
        from evolve import cli

        cli.main()
    except KeyboardInterrupt:
        _end()
    except Exception as error:
        # pydantic makes an error of its own of a Ctrl-C that comes while it builds a model's validators.
        if type(error).__name__ != "SchemaError" or "KeyboardInterrupt" not in str(error):
            raise
        _end()


def _end() -> None:
    print("interrupted", file=sys.stderr)
    sys.exit(1)
