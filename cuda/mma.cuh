// Tensor cores and copies in the background, by inline PTX of sm_80 and newer; beside each wrapper its plain meaning,
// for the emulator.
#pragma once
#include "numeric.cuh"

// Copy 4 or 16 bytes to shared memory, or as many zeros if they are not `real`: nothing is read of `from` then.
template <int bytes>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool real)
{
    static_assert(bytes == 4 || bytes == 16, "what elements and rows are copied by");
#ifdef KST_EMULATOR
    kst::cp_async(to, from, bytes, real ? bytes : 0);
#else
    const unsigned target = (unsigned)__cvta_generic_to_shared(to);
    // Only copies of 16 bytes may pass by the first level of the cache; taps that share pixels profit from it there.
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(target), "l"(from), "n"(bytes),
                 "r"(real ? bytes : 0)
                 : "memory");
#endif
}

__device__ __forceinline__ void commit_copies()
{
#ifdef KST_EMULATOR
    kst::cp_async_commit();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Wait until at most the last `pending` groups of the thread's own copies are on their way.
template <int pending>
__device__ __forceinline__ void wait_copies()
{
#ifdef KST_EMULATOR
    kst::cp_async_wait(pending);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

// Four matrices of 8 rows of 16 bytes. Lane 8*i + r points to row r of matrix i; lane l gets of each matrix the l%4-th
// word of row l/4 or, transposed, of column l/4 its 16-bit elements 2*(l%4) and 2*(l%4) + 1.
template <bool transposed>
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const void* row)
{
#ifdef KST_EMULATOR
    if ((unsigned long long)row % 16)
        kst::fail("ldmatrix: a row is not aligned to 16 bytes");
    const unsigned short* rows[32];
    kst::gather(0xffffffffu, static_cast<const unsigned short*>(row), rows);
    const unsigned line = kst::lane() / 4, pair = kst::lane() % 4 * 2;
    for (unsigned i = 0; i < 4; i++) {
        const unsigned low = transposed ? rows[8 * i + pair][line] : rows[8 * i + line][pair];
        const unsigned high = transposed ? rows[8 * i + pair + 1][line] : rows[8 * i + line][pair + 1];
        to[i] = low | high << 16;
    }
#else
    const unsigned address = (unsigned)__cvta_generic_to_shared(row);
    if (transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(address));
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(address));
#endif
}

// What a lane holds of the operands of one instruction, 16 rows by 8 columns, and MMA_DEPTH deep.
struct Operands {
    unsigned a[4], b[2];
};

#if STORAGE_IS_HALF || STORAGE_IS_BFLOAT
#define MMA_DEPTH 16
#else
#define MMA_DEPTH 8
#endif

#ifdef KST_EMULATOR
// Element `k` of what a lane holds of a row or a column: 16-bit elements are pairs of a word, floats a word each.
inline double operand(const unsigned* words, unsigned stride, unsigned k)
{
#if STORAGE_IS_HALF || STORAGE_IS_BFLOAT
    return to_float((unsigned short)(words[k / 8 * stride] >> k % 2 * 16));
#else
    return __uint_as_float(words[k / 4 * stride] & 0xffffe000u);
#endif
}

// Tensor cores sum an instruction's products with the sum so far, and round that toward zero. Devices also drop what
// lies far below the largest of these terms, each kind in its own way, which is not modelled.
inline float toward_zero(double sum)
{
    const float nearest = (float)sum;
    return fabs((double)nearest) > fabs(sum) ? __uint_as_float(__float_as_uint(nearest) - 1) : nearest;
}
#endif

// Add the product of both operands to the sums: c0 and c1 are of row l/4, c2 and c3 of row l/4 + 8, of columns 2*(l%4)
// and 2*(l%4) + 1.
__device__ __forceinline__ void multiply_matrices(float& c0, float& c1, float& c2, float& c3, const Operands& own)
{
#ifdef KST_EMULATOR
    Operands all[32];
    kst::gather(0xffffffffu, own, all);
    const unsigned row = kst::lane() / 4, column = kst::lane() % 4 * 2;
    constexpr unsigned half = MMA_DEPTH / 2, word = MMA_DEPTH == 16 ? 2 : 1;
    float* const sums[4] = {&c0, &c1, &c2, &c3};
    for (unsigned i = 0; i < 4; i++) {
        double sum = *sums[i];
        for (unsigned k = 0; k < MMA_DEPTH; k++) {
            const unsigned lane = k % half / word;
            const double a = operand(all[row * 4 + lane].a + i / 2, 2, k);
            sum = fma(a, operand(all[(column + i % 2) * 4 + lane].b, 1, k), sum);
        }
        *sums[i] = toward_zero(sum);
    }
#else
// Volatile, as all lanes take it together: nothing may move it past a branch to where its result is read.
#define MMA(shape_and_types)                                                                                           \
    asm volatile("mma.sync.aligned." shape_and_types " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "                 \
                 "{%0, %1, %2, %3};"                                                                                   \
                 : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)                                                              \
                 : "r"(own.a[0]), "r"(own.a[1]), "r"(own.a[2]), "r"(own.a[3]), "r"(own.b[0]), "r"(own.b[1]))
#if STORAGE_IS_HALF
    MMA("m16n8k16.row.col.f32.f16.f16.f32");
#elif STORAGE_IS_BFLOAT
    MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
#else
    MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
#endif
#undef MMA
#endif
}

// The float of 11 significant bits nearest to a value, as the bits of a float.
__device__ __forceinline__ unsigned to_tf32(float value)
{
#ifdef KST_EMULATOR
    const unsigned bits = __float_as_uint(value);
    return (isfinite(value) ? bits + 0x1000u : bits) & 0xffffe000u;
#else
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits & 0xffffe000u;  // PTX leaves the lower bits open
#endif
}
