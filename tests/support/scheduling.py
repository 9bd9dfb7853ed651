"""How pytest-xdist divides the tests among its workers: by files, but for those of many tests that share nothing."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController


def _files(room: str, *names: str) -> set[str]:
    return {f"tests/{room}/test_{name}.py" for name in names}


# Their tests compile kernels of their own. If other files were divided, workers would each compute what a module's
# fixture makes once, and compile what another compiles.
DIVIDED = {
    "tests/api/test_methods.py",
    *_files("emulator", "faults", "healthy_kernels"),
    *_files("gpu", "banks", "builds", "calls", "interleaved", "large", "macs", "tiles"),
    *_files("ptx", "machine_code", "main_loop", "nvrtc"),
}


# These files test kernels alone, or need neither engine.
WITHOUT_NUMBA = DIVIDED - {"tests/api/test_methods.py", *_files("gpu", "calls", "tiles")} | {
    "tests/cpu/test_pool.py",
    "tests/emulator/test_sixteen.py",
    *_files("api", "geometry", "options", "testing", "testing_check"),
    *_files("gpu", "engine", "params", "precision", "runs", "runtime", "source", "sums", "tune"),
    *_files("support", "scheduling", "time_limit"),
}


class Scheduling(LoadScopeScheduling):
    """Sends whole files first, and then, as workers have room, one test after the other.

    The first worker begins with what Numba compiles, and others with the rest: workers that need a function at one time
    would compile it each, and what one has compiled others find on disk.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        return nodeid if file in DIVIDED else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        compiles = node is self.nodes[0]
        wanted = (scope for scope in self.workqueue if _needs_numba(scope) == compiles)
        if (scope := next(wanted, None)) is not None:
            self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)


def _needs_numba(scope: str) -> bool:
    return scope.partition("::")[0] not in WITHOUT_NUMBA
