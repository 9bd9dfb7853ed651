"""One line for every failure a user can cause: the error type, and the guard that turns errors into exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

# What the extra `experiments` of pyproject.toml installs, by the names they are imported as.
EXTRA_MODULES = frozenset({"PIL", "click", "matplotlib", "rich", "sklearn", "threadpoolctl"})

EXIT_CHECK, EXIT_ERROR, EXIT_INTERRUPT = 1, 2, 130


class ExperimentError(Exception):
    """A failure that one sentence explains; the command line prints that sentence and nothing else."""

    def __init__(self, message: str, exit_code: int = EXIT_ERROR) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def reason(error: OSError) -> str:
    """Return why a file operation failed, without the path and number that Python adds."""
    return (error.strerror or str(error)).lower()


def guarded(main: Callable[[], int]) -> int:
    """Run `main` and return its exit code, or that of the one-line error it ended with."""
    try:
        return main()
    except ExperimentError as error:
        return _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module in EXTRA_MODULES:
            return _fail(f"{module} is not installed; install it with: pip install -e '.[experiments]'", EXIT_ERROR)
        raise
    except KeyboardInterrupt as interrupt:
        return _fail(str(interrupt) or "interrupted", EXIT_INTERRUPT, prefix="")
    except BrokenPipeError:
        # The reader of a pipe has gone, as `head` does; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_CHECK


def complain(message: str, prefix: str = "error: ") -> None:
    """Print `message` on standard error as one line."""
    print(prefix + " ".join(message.split()), file=sys.stderr)


def _fail(message: str, exit_code: int, prefix: str = "error: ") -> int:
    complain(message, prefix)
    return exit_code
