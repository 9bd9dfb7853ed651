// A complex number as one element, laid out as in NumPy and CuPy; aligned, so that it is one access to memory.
#pragma once

template <class Real>
struct alignas(2 * sizeof(Real)) Complex {
    Real re, im;
};
