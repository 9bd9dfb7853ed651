// What a kernel's translation unit and the host that runs it agree on.
#pragma once

struct uint3 {
    unsigned int x, y, z;
};
struct dim3 {
    unsigned int x = 1, y = 1, z = 1;
};

// The host sets these at each switch of threads; to a kernel they are const, for no thread ever sees its own index
// change.
#if defined KST_HOST
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
#else
extern const uint3 threadIdx, blockIdx;
extern const dim3 blockDim, gridDim;
#endif

namespace kst
{

using Size = decltype(sizeof(0));
using Word = unsigned long long;

enum class Kind : unsigned { integer, floating, record, pointer, const_pointer };

struct Parameter {
    Kind kind;
    unsigned bytes;
};

struct Kernel {
    unsigned count;
    const Parameter* parameters;
    void (*call)(void* const* arguments);
};

// A call of a barrier or a collective: what is called, and where in the text.
struct Site {
    const char* what;
    const char* file;
    int line;
};

// What the lanes of a warp gave to the collective that the calling lane has just left.
struct Lanes {
    const Word* words[32];
    unsigned present;  // lanes that exist: fewer than 32 in the last warp of a block that 32 does not divide
};

// One asynchronous copy of `bytes`, of which the last `bytes - from_bytes` are filled with zeros.
struct Copy {
    void* to;
    const void* from;
    unsigned bytes, from_bytes;
};

constexpr unsigned max_payload_words = 16;

// Uninitialised shared memory, as every aligned 2, 4 or 8 bytes of it read: a quiet NaN in each floating-point format.
constexpr unsigned short shared_poison = 0x7ffd;

[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));
void barrier(Site site);
const Lanes& exchange(Site site, unsigned mask, const Word* words, unsigned count);
void fence();
void* shared(Size bytes, Size alignment, const char* name);
void copy_later(const Copy& copy);
void commit_copies();
// The next copy of a group older than the `pending` newest ones (of any group, and of none, if all), or false.
bool next_copy(unsigned pending, bool all, Copy& copy);
// x * y + z rounded once, which the host counts.
float multiply_add(float x, float y, float z);
double multiply_add(double x, double y, double z);

}  // namespace kst

extern "C" const kst::Kernel kst_kernel;
