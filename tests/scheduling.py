"""How pytest-xdist divides the tests among its workers: by files, but for those of many tests that share nothing."""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

# Their tests compile kernels of their own. Of others, workers would each compute what a module's fixture makes once,
# and compile what another compiles.
DIVIDED = {
    *("test_banks", "test_builds", "test_emulator", "test_emulator_faults", "test_gpu_calls", "test_interleaved"),
    *("test_large", "test_machine_code", "test_macs", "test_main_loop", "test_methods", "test_nvrtc", "test_tiles"),
}


class Scheduling(LoadScopeScheduling):
    """Sends whole files first, and then, as workers have room, one test after the other."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        return nodeid if PurePosixPath(file).stem in DIVIDED else file
