// Values of the storage type in the compute type, and multiply-adds and sums that keep subnormal floats under
// -ftz=true.
#pragma once
#include "common.cuh"
#include "sixteen.cuh"

__device__ __forceinline__ Compute load(const Storage* at)
{
#if STORAGE_IS_HALF || STORAGE_IS_BFLOAT
    return to_float(*at);
#else
    return *at;
#endif
}

__device__ __forceinline__ void store(Storage* at, Compute value)
{
#if STORAGE_IS_HALF || STORAGE_IS_BFLOAT
    *at = from_float(value);
#else
    *at = value;
#endif
}

// CuPy compiles with -ftz=true, under which a plain product or sum of floats would flush subnormals.
__device__ __forceinline__ float multiply_add(float a, float b, float c) { return __fmaf_ieee_rn(a, b, c); }
__device__ __forceinline__ double multiply_add(double a, double b, double c) { return fma(a, b, c); }

// Under -ftz=true a minus becomes an addition that flushes subnormals, for sm_100 even a flipped sign bit does; this
// becomes a sign of the multiply-add's operand.
__device__ __forceinline__ float negated(float value)
{
#ifdef KST_EMULATOR
    return -value;
#else
    float result;
    asm("neg.f32 %0, %1;" : "=f"(result) : "f"(value));
    return result;
#endif
}
__device__ __forceinline__ double negated(double value) { return -value; }

// Four fused operations: each part is a sum of two products, of which neither is rounded by itself.
template <class Real>
__device__ __forceinline__ Complex<Real> multiply_add(Complex<Real> a, Complex<Real> b, Complex<Real> c)
{
    c.re = multiply_add(a.re, b.re, c.re);
    c.im = multiply_add(a.re, b.im, c.im);
    c.re = multiply_add(negated(a.im), b.im, c.re);
    c.im = multiply_add(a.im, b.re, c.im);
    return c;
}

// On the device a multiply-add by one; the emulator counts multiply-adds, and this is none of a method's products.
template <class Real>
__device__ __forceinline__ Real add(Real a, Real b)
{
#ifdef KST_EMULATOR
    return a + b;
#else
    return multiply_add(a, Real(1), b);
#endif
}
template <class Real>
__device__ __forceinline__ Complex<Real> add(Complex<Real> a, Complex<Real> b)
{
    return {add(a.re, b.re), add(a.im, b.im)};
}
