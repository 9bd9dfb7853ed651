// The 16 bits of an element as a float and back, to nearest even: the only two functions that know what they mean.
#pragma once

#if STORAGE_IS_BFLOAT

// A bfloat16 is the upper half of a float. Integers serve every device and the emulator alike: the instruction that
// narrows came with sm_80.
__device__ __forceinline__ float to_float(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }

__device__ __forceinline__ unsigned short from_float(float value)
{
    const unsigned wide = __float_as_uint(value);
    if ((wide & 0x7fffffffu) > 0x7f800000u)  // a NaN stays one, with the top of its payload
        return (unsigned short)(wide >> 16 | 0x40u);
    return (unsigned short)((wide + 0x7fffu + (wide >> 16 & 1u)) >> 16);
}

#elif defined KST_EMULATOR

#include <cstring>

inline float to_float(unsigned short bits)
{
    const unsigned sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31u, fraction = bits & 0x3ffu;
    if (exponent == 0)
        return (sign ? -1.0f : 1.0f) * (float)fraction / (float)(1 << 24);
    const unsigned wide = sign | (exponent == 31 ? 255u : exponent + 112u) << 23 | fraction << 13;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

inline unsigned short from_float(float value)
{
    unsigned wide;
    memcpy(&wide, &value, sizeof wide);
    const unsigned sign = wide >> 16 & 0x8000u, magnitude = wide & 0x7fffffffu;
    if (magnitude > 0x7f800000u)  // a NaN stays one, with the top of its payload
        return (unsigned short)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x477ff000u)  // rounds to 65536 or more
        return (unsigned short)(sign | 0x7c00u);
    const unsigned exponent = magnitude >> 23;
    if (exponent < 102)  // less than half of the smallest subnormal
        return (unsigned short)sign;
    // The half's last place is 2**13 of the float's, and one more for every power of two below 2**-14.
    const unsigned shift = exponent < 113 ? 126 - exponent : 13;
    const unsigned whole = exponent < 113 ? (magnitude & 0x7fffffu) | 0x800000u : magnitude - (112u << 23);
    const unsigned kept = whole >> shift, rest = whole & ((1u << shift) - 1), middle = 1u << (shift - 1);
    return (unsigned short)(sign | (kept + (rest > middle || (rest == middle && (kept & 1)))));
}

#else

__device__ __forceinline__ float to_float(unsigned short bits)
{
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ __forceinline__ unsigned short from_float(float value)
{
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

#endif
