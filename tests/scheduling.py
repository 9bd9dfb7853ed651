"""How pytest-xdist divides the tests among its workers: by files, but for those of many tests that share nothing."""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# Their tests compile kernels of their own. Of others, workers would each compute what a module's fixture makes once,
# and compile what another compiles.
DIVIDED = {
    *("test_banks", "test_builds", "test_emulator", "test_emulator_faults", "test_gpu_calls", "test_interleaved"),
    *("test_large", "test_machine_code", "test_macs", "test_main_loop", "test_methods", "test_nvrtc", "test_tiles"),
}


# These files test kernels alone, or need neither engine.
WITHOUT_NUMBA = DIVIDED - {"test_gpu_calls", "test_methods", "test_tiles"} | {
    *("test_engine", "test_geometry", "test_gpu_sums", "test_nvrtc", "test_options", "test_params", "test_pool"),
    *("test_precision", "test_runs", "test_runtime", "test_scheduling", "test_sixteen", "test_source", "test_testing"),
    *("test_testing_check", "test_time_limit", "test_tune"),
}


class Scheduling(LoadScopeScheduling):
    """Sends whole files first, and then, as workers have room, one test after the other.

    The first worker begins with what Numba compiles, and others with the rest: workers that need a function at one time
    would compile it each, and what one has compiled others find on disk.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        return nodeid if PurePosixPath(file).stem in DIVIDED else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        compiles = node is self.nodes[0]
        wanted = (scope for scope in self.workqueue if _needs_numba(scope) == compiles)
        if (scope := next(wanted, None)) is not None:
            self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)


def _needs_numba(scope: str) -> bool:
    return PurePosixPath(scope.partition("::")[0]).stem not in WITHOUT_NUMBA
