// CUDA's built-in functions of one thread, declared by hand: <cmath> alone would double the time that a kernel takes to
// compile.
#pragma once

using size_t = kst::Size;

extern "C" {
int printf(const char* format, ...);
float sqrtf(float), fabsf(float), floorf(float), ceilf(float), roundf(float), rintf(float), truncf(float);
double sqrt(double), fabs(double), floor(double), ceil(double), round(double), rint(double), trunc(double);
float expf(float), exp2f(float), logf(float), log2f(float), tanhf(float);
double exp(double), exp2(double), log(double), log2(double), tanh(double);
float fminf(float, float), fmaxf(float, float), copysignf(float, float), powf(float, float), ldexpf(float, int);
double fmin(double, double), fmax(double, double), copysign(double, double), pow(double, double), ldexp(double, int);
int abs(int);
long long llabs(long long);
}

// One round-to-nearest operation each: the emulator is compiled with -ffp-contract=off.
inline float fmaf(float x, float y, float z) { return kst::multiply_add(x, y, z); }
inline double fma(double x, double y, double z) { return kst::multiply_add(x, y, z); }
inline float __fmaf_ieee_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dsub_rn(double x, double y) { return x - y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __ddiv_rn(double x, double y) { return x / y; }

inline bool isnan(float x) { return __builtin_isnan(x); }
inline bool isnan(double x) { return __builtin_isnan(x); }
inline bool isinf(float x) { return __builtin_isinf(x); }
inline bool isinf(double x) { return __builtin_isinf(x); }
inline bool isfinite(float x) { return __builtin_isfinite(x); }
inline bool isfinite(double x) { return __builtin_isfinite(x); }

#define KST_MIN_MAX(T)                                                                                                 \
    constexpr T min(T a, T b) { return b < a ? b : a; }                                                                \
    constexpr T max(T a, T b) { return a < b ? b : a; }
KST_MIN_MAX(int)
KST_MIN_MAX(unsigned int)
KST_MIN_MAX(long)
KST_MIN_MAX(unsigned long)
KST_MIN_MAX(long long)
KST_MIN_MAX(unsigned long long)
#undef KST_MIN_MAX
// As on the device, a NaN loses against a number.
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

namespace kst
{
template <class To, class From>
inline To bits(From from)
{
    static_assert(sizeof(To) == sizeof(From));
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
}  // namespace kst

inline int __float_as_int(float x) { return kst::bits<int>(x); }
inline unsigned int __float_as_uint(float x) { return kst::bits<unsigned int>(x); }
inline float __int_as_float(int x) { return kst::bits<float>(x); }
inline float __uint_as_float(unsigned int x) { return kst::bits<float>(x); }
inline long long __double_as_longlong(double x) { return kst::bits<long long>(x); }
inline double __longlong_as_double(long long x) { return kst::bits<double>(x); }

inline int __popc(unsigned int x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned int>(x)) : 32; }
inline unsigned int __umulhi(unsigned int x, unsigned int y)
{
    return static_cast<unsigned int>(static_cast<unsigned long long>(x) * y >> 32);
}
inline int __mulhi(int x, int y) { return static_cast<int>(static_cast<long long>(x) * y >> 32); }

template <class T>
inline T __ldg(const T* p)
{
    return *p;
}
template <class T>
inline T __ldcg(const T* p)
{
    return *p;
}
template <class T>
inline T __ldcs(const T* p)
{
    return *p;
}
template <class T>
inline void __stcg(T* p, T value)
{
    *p = value;
}
template <class T>
inline void __stcs(T* p, T value)
{
    *p = value;
}

// Relaxed, as on the device: an atomic alone publishes nothing, __threadfence() on both sides does.
#define KST_ATOMICS(T)                                                                                                 \
    inline T atomicAdd(T* p, T value) { return __atomic_fetch_add(p, value, __ATOMIC_RELAXED); }                       \
    inline T atomicExch(T* p, T value) { return __atomic_exchange_n(p, value, __ATOMIC_RELAXED); }                     \
    inline T atomicCAS(T* p, T compare, T value)                                                                       \
    {                                                                                                                  \
        __atomic_compare_exchange_n(p, &compare, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);                    \
        return compare;                                                                                                \
    }
KST_ATOMICS(int)
KST_ATOMICS(unsigned int)
KST_ATOMICS(unsigned long long)
#undef KST_ATOMICS

inline void __threadfence() { kst::fence(); }
inline void __threadfence_block() { kst::fence(); }
[[noreturn]] inline void __trap() { kst::fail("__trap()"); }
