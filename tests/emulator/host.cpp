// Serves launches of one kernel: tells on standard output what it takes, then answers requests from standard input.
#include "calls.h"
#include "reports.h"

namespace kst
{

// The wire format; tests/emulator/runtime.py and arguments.py write the same.
enum class Turn : unsigned { forward, reversed, shuffled };
struct Request {
    dim3 grid, block;
    Turn turn;
    unsigned count;
    unsigned long long seed, shared_limit, dynamic;
    unsigned long long first, blocks;  // of all blocks of the grid those that run
};
enum class Form : unsigned { value, array, alias, mapped };
struct Argument {
    Form form;
    unsigned back;  // of an array: whether its bytes are sent back; if not, they must not change
    unsigned long long bytes;
    unsigned long long
        offset;               // from a multiple of 256; of an alias: the other's number; of a mapped array: in its file
    unsigned long long sent;  // bytes that follow: the value's or the array's, or the name of a mapped array's file
};

static int answers = 1;

static bool receive(void* to, size_t bytes)
{
    char* at = static_cast<char*>(to);
    while (bytes) {
        const ssize_t got = read(0, at, bytes);
        if (got <= 0)
            return false;
        at += got, bytes -= static_cast<size_t>(got);
    }
    return true;
}

static void answer(const void* from, size_t bytes)
{
    const char* at = static_cast<const char*>(from);
    while (bytes) {
        const ssize_t sent = write(answers, at, bytes);
        if (sent <= 0)
            _exit(1);
        at += sent, bytes -= static_cast<size_t>(sent);
    }
}

static Word next_random(Word& state)
{
    Word z = state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static std::vector<unsigned> sequence(size_t count, Turn turn, Word& random)
{
    std::vector<unsigned> all(count);
    std::iota(all.begin(), all.end(), 0u);
    if (turn == Turn::reversed)
        std::reverse(all.begin(), all.end());
    if (turn == Turn::shuffled)
        for (size_t i = count; i > 1; i--)
            std::swap(all[i - 1], all[next_random(random) % i]);
    return all;
}

static uint3 index_in(size_t linear, const dim3& extent)
{
    const size_t x = linear % extent.x, y = linear / extent.x % extent.y, z = linear / extent.x / extent.y;
    return {static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z)};
}

static void man(Team& t, size_t count)
{
    while (t.threads.size() < count) {
        t.threads.push_back(std::make_unique<Thread>());
        t.threads.back()->number = static_cast<unsigned>(t.threads.size() - 1);
        prepare(*t.threads.back(), entry, t.threads.back()->number);
    }
    t.warps.resize((t.threads.size() + 31) / 32);
    for (size_t i = 0; i < count; i++)
        t.threads[i]->index = index_in(i, blockDim);
}

static void run(const Request& request)
{
#if defined KST_TSAN
    static Team teams[2];
#else
    static Team teams[1];
#endif
    blockDim = request.block;
    gridDim = request.grid;
    const size_t count = size_t{blockDim.x} * blockDim.y * blockDim.z;
    Word random = request.seed;
    for (size_t i = 0; i < std::size(teams) && i < request.blocks; i++)
        man(teams[i], count);
    launched.release();
    size_t done = 0;
    std::vector<unsigned> warps, lanes;
    for (unsigned number : sequence(request.blocks, request.turn, random)) {
        team = &teams[done++ % std::size(teams)];
        if (done == 1 || request.turn == Turn::shuffled) {
            warps = sequence((count + 31) / 32, request.turn, random);
            lanes = sequence(32, request.turn, random);
        }
        blockIdx = index_in(request.first + number, gridDim);
        run_block(count, warps, lanes);
    }
    for (Team& t : teams)
        for (Order& order : t.finished)
            order.acquire();
}

static bool serve()
{
    Request request;
    if (!receive(&request, sizeof request))
        return false;
    std::vector<Argument> sent(request.count);
    if (!receive(sent.data(), request.count * sizeof(Argument)))
        return false;
    std::vector<void*> pointers(request.count), values(request.count);
    arrays.assign(request.count, {});
    std::vector<std::vector<char>> originals(request.count);
    for (unsigned i = 0; i < request.count; i++) {
        const Argument& a = sent[i];
        if (a.form == Form::alias) {
            pointers[i] = arrays[a.offset].data;
        } else if (a.form == Form::mapped) {
            std::string path(a.sent, 0);
            if (!receive(path.data(), a.sent))
                return false;
            arrays[i] = map_file(path.c_str(), a.bytes, a.offset, a.back);
            pointers[i] = arrays[i].data;
        } else {
            arrays[i] = allocate(a.bytes, 256, a.form == Form::array ? a.offset : 0);
            if (!receive(arrays[i].data, a.bytes))
                return false;
            if (a.form == Form::array && !a.back)
                originals[i].assign(arrays[i].data, arrays[i].data + a.bytes);
            pointers[i] = arrays[i].data;
        }
        values[i] = a.form == Form::value ? pointers[i] : &pointers[i];
    }
    shared_limit = request.shared_limit;
    shared_limit_name = request.dynamic ? "dynamic shared memory asked for" : "static shared memory of the device";
    arguments = values.data();
    products = {};
    run(request);
    for (unsigned i = 0; i < request.count; i++) {
        if (sent[i].form != Form::array)
            continue;
        check_guards(arrays[i], "argument " + std::to_string(i));
        for (size_t j = 0; j < originals[i].size(); j++)
            if (originals[i][j] != arrays[i].data[j])
                fail("write to argument %u, which is read-only, at byte %zu", i, j);
    }
    answer(&products, sizeof products);
    for (unsigned i = 0; i < request.count; i++) {
        if (sent[i].form == Form::array && sent[i].back)
            answer(arrays[i].data, sent[i].bytes);
        if (sent[i].form != Form::alias)
            release(arrays[i]);
    }
    arrays.clear();
    return true;
}

}  // namespace kst

int main()
{
    using namespace kst;
    // What a kernel prints must not mix with the answers.
    answers = dup(1);
    dup2(2, 1);
    setvbuf(stdout, nullptr, _IOLBF, 0);
    scheduler.started = true;
#if defined KST_TSAN
    scheduler.identity.tsan = __tsan_get_current_fiber();
#endif
    answer(&kst_kernel.count, sizeof kst_kernel.count);
    answer(kst_kernel.parameters, kst_kernel.count * sizeof(Parameter));
    while (serve()) {
    }
    _exit(0);
}
