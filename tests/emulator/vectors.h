// CUDA's short vector types, with CUDA's alignments.
#pragma once

#define KST_VECTORS(T, name, align2, align4)                                                                           \
    struct __attribute__((aligned(align2))) name##2 { T x, y; };                                                       \
    struct __attribute__((aligned(align4))) name##4 { T x, y, z, w; };                                                 \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                                         \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

KST_VECTORS(signed char, char, 2, 4)
KST_VECTORS(unsigned char, uchar, 2, 4)
KST_VECTORS(short, short, 4, 8)
KST_VECTORS(unsigned short, ushort, 4, 8)
KST_VECTORS(int, int, 8, 16)
KST_VECTORS(unsigned int, uint, 8, 16)
KST_VECTORS(long long, longlong, 16, 16)
KST_VECTORS(unsigned long long, ulonglong, 16, 16)
KST_VECTORS(float, float, 8, 16)
KST_VECTORS(double, double, 16, 16)

#undef KST_VECTORS

struct int3 {
    int x, y, z;
};
struct float3 {
    float x, y, z;
};
struct double3 {
    double x, y, z;
};
inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
inline uint3 make_uint3(unsigned int x, unsigned int y, unsigned int z) { return {x, y, z}; }
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline double3 make_double3(double x, double y, double z) { return {x, y, z}; }
