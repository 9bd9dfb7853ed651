"""What choices of kernels and tiles may know of a device: a frozen record, so that they are tested without one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """Limits of one CUDA device, in the units of the CUDA runtime.

    Attributes
    ----------
    name : str
        The device's name as its driver gives it.
    capability : tuple of int
        Compute capability, ``(9, 0)`` for sm_90.
    multiprocessors : int
        Number of streaming multiprocessors.
    l2_bytes : int
        Size of the L2 cache.
    shared_bytes : int
        Static shared memory that one block may have.
    shared_bytes_optin : int
        Shared memory that one block may have after opting in, dynamic memory included.
    max_threads : int
        Threads of one block.
    max_block, max_grid : tuple of int
        Largest block and grid along x, y and z.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    l2_bytes: int
    shared_bytes: int = 48 * 1024
    shared_bytes_optin: int = 48 * 1024
    max_threads: int = 1024
    max_block: tuple[int, int, int] = (1024, 1024, 64)
    max_grid: tuple[int, int, int] = (2**31 - 1, 65535, 65535)


# What counts of work assume that depends on a device: an H200.
REFERENCE = Device("NVIDIA H200", (9, 0), 132, 50 * 2**20, shared_bytes_optin=227 * 1024)
