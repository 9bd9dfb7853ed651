"""Bugs that the emulator must report by name: the body of a kernel for each, and what its error says."""

from __future__ import annotations

from typing import NamedTuple

ALL = ("plain", "asan", "tsan")
ASAN = ("asan",)
PLAIN = ("plain",)
# The builds in which only guard bytes stand around an array.
GUARDED = ("plain", "tsan")


class Bug(NamedTuple):
    """`body` stands on line 6 of a kernel of 32 threads over 32 elements; `message` is a pattern."""

    name: str
    builds: tuple[str, ...]
    body: str
    message: str


def kernel(body: str) -> str:
    """Return a kernel around a body, which may use x, y, the shared s.a and s.b, and t, the number of the thread."""
    return f"""struct Shared {{ float a[32], b[36]; }};
__device__ int deep(int n) {{ volatile int more[64]; more[0] = n; return n < 0 ? 0 : deep(n + 1) + more[0]; }}
extern "C" __global__ void k([[maybe_unused]] float* y, [[maybe_unused]] const float* x) {{
  [[maybe_unused]] KST_SHARED(Shared, s);
  [[maybe_unused]] const int t = threadIdx.x;
{body}
}}
"""


_IN = r"of size 4 in kernel k at k.cu:6; "
_MISSING = (
    r"missing lane: lane {} of block \(0,0,0\) does not take part in {} at k.cu:{}, which lane . waits in; it is {}"
)

BUGS = (
    Bug(
        "barrier after an exit",
        ALL,
        "if (t == 3) return; __syncthreads();",
        r"divergent barrier in block \(0,0,0\): 31 waiting in __syncthreads at k.cu:6: .*; 1 exited: \(3,0,0\)",
    ),
    Bug(
        "barriers at two sites",
        ALL,
        "if (t < 8) {\n__syncthreads(); } else {\n__syncthreads(); }",
        r"divergent barrier in block \(0,0,0\): 8 waiting in __syncthreads at k.cu:7: .*; 24 waiting in .* at k.cu:8: ",
    ),
    Bug(
        "lane exited",
        ALL,
        "if (t != 5) y[t] = __shfl_xor_sync(~0u, x[t], 1);",
        _MISSING.format(5, "__shfl_xor_sync", 6, "exited"),
    ),
    Bug(
        "lane at a barrier",
        ALL,
        "if (t == 5) __syncthreads(); __syncwarp();",
        _MISSING.format(5, "__syncwarp", 6, "waiting in __syncthreads at k.cu:6"),
    ),
    Bug(
        "lane at another site",
        ALL,
        "if (t == 5) {\ny[t] = __shfl_xor_sync(~0u, x[t], 1); } else {\ny[t] = __shfl_xor_sync(~0u, x[t], 1); }",
        _MISSING.format(5, "__shfl_xor_sync", 8, "waiting in __shfl_xor_sync at k.cu:7"),
    ),
    Bug(
        "lane with another mask",
        PLAIN,
        "__syncwarp(t < 2 ? 7u : ~0u);",
        _MISSING.format(2, "__syncwarp", 6, "there with mask 0xffffffff, not 0x00000007"),
    ),
    Bug(
        "mask without the caller",
        PLAIN,
        "__syncwarp(1u);",
        "mask 0x00000001 of __syncwarp at k.cu:6 does not name the calling lane 1",
    ),
    Bug(
        "value of an absent lane",
        PLAIN,
        "y[t] = t < 16 ? __shfl_sync(0xffffu, x[t], 20) : 0.0f;",
        "uninitialised shared memory",
    ),
    Bug(
        "wrong width",
        PLAIN,
        "y[t] = __shfl_sync(~0u, x[t], 0, 12);",
        "__shfl_sync at k.cu:6: width 12 is not a power of two",
    ),
    Bug(
        "read past the end",
        ASAN,
        "y[t] = x[t + 1];",
        f"overflow READ {_IN}0 bytes past the end of argument 1 .128 bytes",
    ),
    Bug("read before the start", ASAN, "y[t] = x[t - 1];", f"overflow READ {_IN}4 bytes before argument 1"),
    Bug("read far past the end", ASAN, "y[t] = x[t + 400];", f"overflow READ {_IN}"),
    Bug("write past the end", ASAN, "y[t + 1] = x[t];", f"overflow WRITE {_IN}0 bytes past the end of argument 0"),
    Bug(
        "load past the end", ASAN, "y[t] = __ldg(x + t + 1);", f"overflow READ {_IN}0 bytes past the end of argument 1"
    ),
    Bug(
        "write past the end",
        GUARDED,
        "y[t + 1] = x[t];",
        "out-of-bounds write 0 bytes past the end of argument 0 .128 bytes",
    ),
    Bug("write before the start", GUARDED, "y[t - 1] = x[t];", "out-of-bounds write 4 bytes before argument 0"),
    Bug(
        "read past the end",
        GUARDED,
        "y[t] = 2.0f * x[t + 1];",
        r"out-of-bounds memory reached argument 0 .* element \(31,\)",
    ),
    Bug(
        "shared, write past the end",
        ASAN,
        "float* p = s.a; p[t + 37] = 1.0f;",
        rf"overflow WRITE {_IN}0 bytes past the end of shared memory \(272 bytes\)",
    ),
    Bug(
        "shared, read past the end",
        ASAN,
        "float* p = s.a; y[t] = p[t + 37];",
        f"overflow READ {_IN}0 bytes past the end of shared",
    ),
    Bug(
        "shared, write past the end",
        GUARDED,
        "float* p = s.a; p[t + 37] = 1.0f;",
        "out-of-bounds write 0 bytes past the end of the shared",
    ),
    Bug(
        "shared, past an array inside",
        ASAN,
        "s.a[t + 1] = x[t];",
        r"runtime error: index 32 out of bounds for type 'float \[32\]' in kernel k at k.cu:6",
    ),
    Bug("shared, past the last array", ASAN, "s.b[t + 5] = x[t];", r"index 36 out of bounds for type 'float \[36\]'"),
    Bug(
        "shared, never written",
        ALL,
        "if (t > 0) s.a[t] = 1.0f; __syncthreads(); y[t] = 2.0f * s.a[31 - t];",
        r"uninitialised shared memory reached argument 0 of kernel k, element \(31,\) \(1 in all\)",
    ),
    Bug(
        "two shared structs",
        PLAIN,
        "KST_SHARED(float4, u); u.x = 0;",
        "one KST_SHARED struct: u takes 16 bytes, another 272",
    ),
    Bug(
        "signed overflow of an index",
        ASAN,
        "y[t] = x[((t + 1) * 0x7000000) & 31];",
        r"runtime error: signed integer overflow: 19 \* 117440512 cannot be represented in type .* at k.cu:6",
    ),
    Bug(
        "misaligned 16-byte access",
        ASAN,
        "*reinterpret_cast<float4*>(y + 1) = make_float4(1, 2, 3, 4);",
        "runtime error: store to misaligned address .* 'struct float4', which requires 16 byte alignment .* at k.cu:6",
    ),
    Bug(
        "misaligned 16-byte access to shared memory",
        ASAN,
        "*reinterpret_cast<float4*>(s.a) = make_float4(1, 2, 3, 4);",
        "runtime error: store to misaligned address",
    ),
    Bug(
        "misaligned asynchronous copy",
        PLAIN,
        "kst::cp_async(&s.a[t], &x[t], 16);",
        "cp.async of 16 bytes: misaligned target",
    ),
    Bug(
        "conversion out of range",
        ASAN,
        "y[t] = int(3e9f * x[t]);",
        "3e.09 is outside the range of representable values of type 'int'",
    ),
    Bug(
        "failed assertion",
        PLAIN,
        "assert(t < 7);",
        r"assertion failed: t < 7 at k.cu:6 .* in block \(0,0,0\), thread \(7,0,0\)",
    ),
    Bug("false assumption", PLAIN, "__builtin_assume(t < 7);", r"false assumption: t < 7 at k.cu:6"),
    Bug("trap", PLAIN, "if (t == 7) __trap();", r"__trap\(\) .kernel k.; in block \(0,0,0\), thread \(7,0,0\)"),
    Bug("division by zero", PLAIN, "y[t] = 3 / t;", "kernel k was ended by SIGFPE"),
    Bug("division by zero", ASAN, "y[t] = 3 / t;", "runtime error: division by zero in kernel k at k.cu:6"),
    Bug("endless recursion", PLAIN, "y[t] = deep(t);", "kernel k was ended by SIGSEGV"),
    Bug("endless recursion", ASAN, "y[t] = deep(t);", "stack-overflow in kernel k at k.cu:2"),
)
