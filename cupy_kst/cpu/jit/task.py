"""The first words of every record, by number: those that the pool and all functions know."""

from __future__ import annotations

# The first three are the pool's: see `threads.together`. The next are the address of the scratch memory, and its bytes
# for each thread.
SCRATCH, SCRATCH_BYTES = 3, 4
# Functions that look set this word where sums are not finite.
OVERFLOWED = 5
# The first word that is the function's own.
ARGUMENTS = 6
