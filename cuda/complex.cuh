// A complex number as one element, laid out as in NumPy and CuPy; aligned, so that it is one access to memory.
#pragma once

template <class Real>
struct alignas(2 * sizeof(Real)) Complex {
    Real re, im;
};

// Real numbers of an element.
template <class Real>
__device__ __forceinline__ constexpr int parts_of(Real)
{
    return 1;
}
template <class Real>
__device__ __forceinline__ constexpr int parts_of(Complex<Real>)
{
    return 2;
}
