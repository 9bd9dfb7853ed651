"""Entry point of ``python -m experiments``."""

from __future__ import annotations

import sys

from experiments.errors import guarded


def main() -> int:
    """Run the command line. Imported late, so that a missing package or Ctrl-C during the import is one line too."""
    from experiments.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(guarded(main))
