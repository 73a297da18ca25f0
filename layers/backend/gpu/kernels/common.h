// What the kernels share: it stands before the text of each .cu file.

#define THREADS 256  // of a block

// A grid-stride loop: every i below n, shared among all threads of a launch.
#define EACH(i, n) for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (n); \
                        i += (long long)blockDim.x * gridDim.x)

#ifdef __CUDA_ARCH__
__device__ inline unsigned short fp16_bits(float x) {
    unsigned short h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
}
__device__ inline float float_of(unsigned short h) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
    return x;
}
#endif

// Elements are computed as floats, and stored as floats or as the bits of fp16.
__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(unsigned short x) { return float_of(x); }
__device__ inline void store(float* at, float x) { *at = x; }
__device__ inline void store(unsigned short* at, float x) { *at = fp16_bits(x); }

// W elements in a row, read and written by one instruction up to 16 bytes.
template <class T, int W> struct alignas(W * sizeof(T) < 16 ? W * sizeof(T) : 16) Vector { T at[W]; };
typedef Vector<unsigned short, 8> Fp16x8;

// y[i] = of(x[i], z[i]) of all fp16 elements i < n, eight at a time: one by one they would not keep the memory busy.
// z: null, which gives 0.  All begin at multiples of 16 bytes, as arrays of their own do.
template <class F> __device__ inline void map_fp16(const unsigned short* x, const unsigned short* z,
                                                     unsigned short* y, long long n, F of) {
    EACH(i, n / 8) {
        Fp16x8 from = ((const Fp16x8*)x)[i], beside = {}, to;
        if (z) beside = ((const Fp16x8*)z)[i];
        for (int j = 0; j < 8; ++j) store(to.at + j, of(to_float(from.at[j]), to_float(beside.at[j])));
        ((Fp16x8*)y)[i] = to;
    }
    EACH(i, n % 8) {
        long long at = n - 1 - i;
        store(y + at, of(to_float(x[at]), z ? to_float(z[at]) : 0.f));
    }
}

// Where element i of an (N, height, width, channels) array is.  (N, height, width) has one channel.
struct Coords { long long image; int row, column, channel; };
__device__ inline Coords coords_of(long long i, int height, int width, int channels) {
    if (i >= 1ll << 32) {
        long long pixel = i / channels, row = pixel / width;
        return {row / height, (int)(row % height), (int)(pixel % width), (int)(i % channels)};
    }
    unsigned small = i, pixel = small / channels, row = pixel / width;  // a division of 64 bits takes a GPU far longer
    return {row / height, (int)(row % height), (int)(pixel % width), (int)(small % channels)};
}

// sums[0] becomes the sum of all of a block, in a fixed order.
template <class T> __device__ inline void block_sum(T* sums) {
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
}

// *bits becomes the largest of itself and every thread's top, which are bits of floats without a sign: they have the
// order of integers.
__device__ inline void atomic_block_max(int top, int* bits) {
    __shared__ int tops[THREADS];
    tops[threadIdx.x] = top;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) tops[threadIdx.x] = max(tops[threadIdx.x], tops[threadIdx.x + half]);
        __syncthreads();
    }
    if (threadIdx.x == 0) atomicMax(bits, tops[0]);
}
