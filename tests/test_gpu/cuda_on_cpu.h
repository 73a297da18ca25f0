// Enough of CUDA C++ to run the project's kernels on a CPU, one thread of a block after another.
//
// run_flat: kernels without barriers, as plain loops.  run_with_barriers: every thread of a block is a
// coroutine that stops at __syncthreads until all have come; a barrier that some threads never reach
// aborts.  Blocks run one after another, so a static variable is a block's shared memory.
//
// Coroutines switch by __builtin_setjmp and __builtin_longjmp, and live on for the next block: swapcontext would ask
// the kernel for the signal mask at each of the thousands of switches in a block.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline

// What <algorithm> and <functional> would give costs half a second in each of some forty programs.
template <class T> static inline T max(T a, T b) { return a < b ? b : a; }
template <class T> static inline T min(T a, T b) { return b < a ? b : a; }

struct Index3 { unsigned x, y, z; };
static Index3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_cpu {

#define UNSANITIZED __attribute__((noinline, no_sanitize("address")))

enum State { ready, at_barrier, finished };
struct Thread {
    ucontext_t first;  // where it begins
    void* place[5];    // where it waits
    bool begun;
    State state;
};
static const unsigned MAX_THREADS = 1024, STACK = 128 << 10;
static Thread threads[MAX_THREADS];
static void* scheduler[5];
static Thread* current;
static void (*body)(void* kernel);
static void* kernel_of_body;

UNSANITIZED static void resume(void** place) { __builtin_longjmp(place, 1); }

UNSANITIZED static void wait_here() {
    if (!__builtin_setjmp(current->place)) resume(scheduler);
}

static void enter() {
    for (;;) {
        body(kernel_of_body);
        current->state = finished;
        wait_here();
    }
}

UNSANITIZED static void run(Thread& thread) {
    if (__builtin_setjmp(scheduler)) return;
    if (thread.begun) resume(thread.place);
    thread.begun = true;
    getcontext(&thread.first);
    thread.first.uc_stack.ss_sp = static_cast<char*>(std::malloc(STACK));
    thread.first.uc_stack.ss_size = STACK;
    thread.first.uc_link = nullptr;
    makecontext(&thread.first, enter, 0);
    setcontext(&thread.first);
}

template <class Kernel> static void run_flat(unsigned blocks, unsigned size, Kernel kernel) {
    gridDim = {blocks, 1, 1}, blockDim = {size, 1, 1};
    for (unsigned b = 0; b < blocks; ++b)
        for (unsigned t = 0; t < size; ++t) {
            blockIdx = {b, 0, 0}, threadIdx = {t, 0, 0};
            kernel();
        }
}

template <class Kernel> static void run_with_barriers(unsigned blocks, unsigned size, Kernel kernel) {
    gridDim = {blocks, 1, 1}, blockDim = {size, 1, 1};
    body = [](void* kernel) { (*static_cast<Kernel*>(kernel))(); };
    kernel_of_body = &kernel;
    if (size > MAX_THREADS) std::abort();
    for (unsigned b = 0; b < blocks; ++b) {
        blockIdx = {b, 0, 0};
        for (unsigned t = 0; t < size; ++t) threads[t].state = ready;
        for (;;) {
            size_t waiting = 0;
            for (unsigned t = 0; t < size; ++t) {
                current = &threads[t];
                threadIdx = {t, 0, 0};
                if (current->state == ready) run(*current);
                waiting += current->state == at_barrier;
            }
            if (waiting == 0) break;
            if (waiting != size) {
                std::fprintf(stderr, "a barrier that only %zu of %u threads reach\n", waiting, size);
                std::abort();
            }
            for (unsigned t = 0; t < size; ++t) threads[t].state = ready;
        }
    }
}

}  // namespace cuda_on_cpu

static inline void __syncthreads() {
    using namespace cuda_on_cpu;
    current->state = at_barrier;
    wait_here();
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
static inline unsigned short fp16_bits(float x) {
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
    uint32_t bits = (h & 0x7fff) << 13;
    float magnitude;
    if (bits >= 0x0f800000) bits += 0x70000000;  // infinity and NaN
    std::memcpy(&magnitude, &bits, 4);
    if (bits < 0x0f800000) magnitude *= 0x1p112f;  // the difference of the exponents' biases; also right below the normal
    return h & 0x8000 ? -magnitude : magnitude;
}
