// Values of the storage type in the compute type, and a multiply-add that keeps subnormal floats under -ftz=true.
#pragma once
#include "common.cuh"
#include "half.cuh"

__device__ __forceinline__ Compute load(const Storage* at)
{
#if STORAGE_IS_HALF
    return to_float(*at);
#else
    return *at;
#endif
}

__device__ __forceinline__ void store(Storage* at, Compute value)
{
#if STORAGE_IS_HALF
    *at = from_float(value);
#else
    *at = value;
#endif
}

// CuPy compiles with -ftz=true, under which a plain product or sum of floats would flush subnormals.
__device__ __forceinline__ float multiply_add(float a, float b, float c) { return __fmaf_ieee_rn(a, b, c); }
__device__ __forceinline__ double multiply_add(double a, double b, double c) { return fma(a, b, c); }
