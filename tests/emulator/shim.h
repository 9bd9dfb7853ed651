// Force-included before a kernel's text so that g++ compiles CUDA C++: CUDA's words, and the entry by which the host
// calls it.
#pragma once
#include "abi.h"
#include "vectors.h"
#include "builtins.h"
#include "warp.h"
#include "async.h"

#define KST_EMULATOR 1

// Only the kernel that is run is compiled, and no other one of its text.
#define __global__ inline
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))

// A plain __shared__ variable would be one object for all blocks, with no redzone behind it.
#define __shared__ _Pragma("GCC error \"shared memory is declared by KST_SHARED(Type, name)\"")

#define KST_SHARED(Type, name) Type& name = *static_cast<Type*>(kst::shared(sizeof(Type), alignof(Type), #name))

#define assert(condition)                                                                                              \
    ((condition) ? void() : kst::fail("assertion failed: %s at %s:%d", #condition, __FILE__, __LINE__))
// On the device a false assumption is undefined behaviour; here it is a failure.
#define __builtin_assume(condition)                                                                                    \
    ((condition) ? void() : kst::fail("false assumption: %s at %s:%d", #condition, __FILE__, __LINE__))

namespace kst
{

template <class T>
struct Describe {
    static constexpr Kind kind = __is_class(T) || __is_union(T) ? Kind::record : Kind::integer;
};
template <>
struct Describe<float> {
    static constexpr Kind kind = Kind::floating;
};
template <>
struct Describe<double> {
    static constexpr Kind kind = Kind::floating;
};
template <class T>
struct Describe<T*> {
    static constexpr Kind kind = Kind::pointer;
};
template <class T>
struct Describe<const T*> {
    static constexpr Kind kind = Kind::const_pointer;
};
template <class T>
struct Describe<const T> : Describe<T> {};

template <class T>
struct Plain {
    using type = T;
};
template <class T>
struct Plain<T* __restrict__> {
    using type = T*;
};

template <int... i>
struct Indices {};

template <auto function>
struct Entry;
template <class... P, void (*function)(P...)>
struct Entry<function> {
    static constexpr Parameter parameters[sizeof...(P) + 1] = {
        {Describe<typename Plain<P>::type>::kind, sizeof(P)}..., {}};
    template <int... i>
    static void apply(void* const* arguments, Indices<i...>)
    {
        function(*static_cast<P*>(arguments[i])...);
    }
    static void call([[maybe_unused]] void* const* arguments)
    {
        apply(arguments, Indices<__integer_pack(int(sizeof...(P)))...>());
    }
    static constexpr Kernel kernel{sizeof...(P), parameters, call};
};

}  // namespace kst

#define KST_KERNEL(name) extern "C" const kst::Kernel kst_kernel = kst::Entry<name>::kernel;
