"""A pool of threads that wait for work in compiled code, where a call reaches them in a microsecond.

Threads of Python are woken by the operating system and then wait for the interpreter's lock, which takes longer than
the products of a small layer. Here each helper has a word in memory, its slot, which it watches for a while after its
last work before it sleeps. A slot is 0, the address of a record, or with its lowest bit set that of a record at work.
"""

# Numba finds out the types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from .atomics import call, fetch_add, load, pause, replace, store, yield_processor
from .cache import entry
from .task import FUNCTION, PENDING

# Columns of a helper's line in the mail, in bytes.
_SLOT, _AWAKE = 0, 8
# Words of a record that the pool knows, in bytes: whom the caller waits for, and the address of the function.
_PENDING, _FUNCTION = 8 * PENDING, 8 * FUNCTION
# How often a helper looks before it sleeps, some tenths of a millisecond, and how often until it lets others run.
_LOOKS, _PATIENCE = 8192, 64


@entry("void(int64[:, ::1], int64)")
def serve(mail, row):
    """Do what arrives in a slot, until nothing has for a while."""
    line = mail.ctypes.data + row * mail.strides[0]
    store(line + _AWAKE, 1)
    looks = 0
    while True:
        record = load(line + _SLOT)
        if record != 0 and replace(line + _SLOT, record, record | 1):
            call(load(record + _FUNCTION), record, row + 1)
            # The caller may free the record from here on. The slot alone is touched after this.
            fetch_add(record + _PENDING, -1)
            store(line + _SLOT, 0)
            looks = 0
            continue
        looks += 1
        if looks < _LOOKS:
            pause()
            if looks % _PATIENCE == 0:
                yield_processor()
            continue
        store(line + _AWAKE, 0)
        # Who wrote before that may have taken this helper to be awake.
        if load(line + _SLOT) == 0:
            return
        store(line + _AWAKE, 1)
        looks = 0


@entry("void(int64[:, ::1], int64, int64[::1])")
def lead(mail, helpers, record):
    """Do the work of a record together with those of the first `helpers` that have time, until all of it is done."""
    address = record.ctypes.data
    for row in range(helpers):
        fetch_add(address + _PENDING, 1)
        if not replace(mail.ctypes.data + row * mail.strides[0] + _SLOT, 0, address):
            fetch_add(address + _PENDING, -1)
    call(load(address + _FUNCTION), address, 0)
    for row in range(helpers):
        # One that has not begun by now would find no task left.
        if replace(mail.ctypes.data + row * mail.strides[0] + _SLOT, address, 0):
            fetch_add(address + _PENDING, -1)
    looks = 0
    while load(address + _PENDING) != 0:
        pause()
        looks += 1
        if looks % _PATIENCE == 0:
            yield_processor()
