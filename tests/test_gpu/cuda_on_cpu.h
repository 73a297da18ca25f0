// Enough of CUDA C++ to run the project's kernels on a CPU, one thread of a block after another.
//
// run_flat: kernels without barriers, as plain loops.  run_with_barriers: every thread of a block is a
// coroutine that stops at __syncthreads until all have come; a barrier that some threads never reach
// aborts.  Blocks run one after another, so a static variable is a block's shared memory.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline
using std::max;
using std::min;

struct Index3 { unsigned x, y, z; };
static Index3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_cpu {

enum State { ready, at_barrier, finished };
struct Thread {
    ucontext_t context;
    State state;
    unsigned index;
    std::vector<char> stack = std::vector<char>(128 << 10);
};
static std::vector<Thread> threads;
static ucontext_t scheduler;
static Thread* current;
static std::function<void()> body;

static void enter() {
    body();
    current->state = finished;
    swapcontext(&current->context, &scheduler);
}

static void run_flat(unsigned blocks, unsigned size, std::function<void()> kernel) {
    gridDim = {blocks, 1, 1}, blockDim = {size, 1, 1};
    for (unsigned b = 0; b < blocks; ++b)
        for (unsigned t = 0; t < size; ++t) {
            blockIdx = {b, 0, 0}, threadIdx = {t, 0, 0};
            kernel();
        }
}

static void run_with_barriers(unsigned blocks, unsigned size, std::function<void()> kernel) {
    gridDim = {blocks, 1, 1}, blockDim = {size, 1, 1};
    body = kernel;
    threads.resize(size);
    for (unsigned b = 0; b < blocks; ++b) {
        blockIdx = {b, 0, 0};
        for (unsigned t = 0; t < size; ++t) {
            Thread& thread = threads[t];
            thread.state = ready, thread.index = t;
            getcontext(&thread.context);
            thread.context.uc_stack.ss_sp = thread.stack.data();
            thread.context.uc_stack.ss_size = thread.stack.size();
            thread.context.uc_link = nullptr;
            makecontext(&thread.context, enter, 0);
        }
        for (;;) {
            for (Thread& thread : threads) {
                current = &thread;
                threadIdx = {thread.index, 0, 0};
                if (thread.state == ready) swapcontext(&scheduler, &thread.context);
            }
            size_t waiting = std::count_if(threads.begin(), threads.end(),
                                           [](const Thread& t) { return t.state == at_barrier; });
            if (waiting == 0) break;
            if (waiting != threads.size()) {
                std::fprintf(stderr, "a barrier that only %zu of %zu threads reach\n", waiting, threads.size());
                std::abort();
            }
            for (Thread& thread : threads) thread.state = ready;
        }
    }
}

}  // namespace cuda_on_cpu

static inline void __syncthreads() {
    using namespace cuda_on_cpu;
    current->state = at_barrier;
    swapcontext(&current->context, &scheduler);
}

static inline int __float_as_int(float x) {
    int bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
static inline float __int_as_float(int bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
static inline int atomicMax(int* place, int value) {
    int old = *place;
    *place = max(old, value);
    return old;
}

// The bits of the half-precision number nearest to x (ties to even), and back.
static inline unsigned short half_bits(float x) {
    uint32_t bits, sign, shifted;
    std::memcpy(&bits, &x, 4);
    sign = bits >> 16 & 0x8000, bits &= 0x7fffffff;
    if (bits > 0x7f800000) return sign | 0x7e00;       // NaN
    if (bits >= 0x477ff000) return sign | 0x7c00;      // rounds to infinity
    if (bits < 0x38800000) {                           // below half's normal numbers: count in steps of 2^-24
        float magnitude = std::fabs(x) * 16777216.f;
        return sign | (unsigned short)std::nearbyint(magnitude);
    }
    shifted = bits - 0x38000000;
    return sign | (shifted + 0xfff + (shifted >> 13 & 1)) >> 13;
}
static inline float float_of(unsigned short h) {
    float magnitude = (h & 0x7c00) == 0x7c00 ? ((h & 0x3ff) ? NAN : INFINITY)
                    : (h & 0x7c00) ? std::ldexp(1.f + (h & 0x3ff) / 1024.f, (h >> 10 & 31) - 15)
                                   : std::ldexp((float)(h & 0x3ff), -24);
    return h & 0x8000 ? -magnitude : magnitude;
}
