// What surrounds cuBLAS and cuDNN: columns in strips of bounded memory, the per-channel transposed convolution that
// bilinear upsampling is, the turn between float NCHW and half NHWC, and the gradient of biases.

#define EACH(i, n) for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (n); \
                        i += (long long)blockDim.x * gridDim.x)

#define THREADS 256

#ifdef __CUDA_ARCH__
__device__ inline unsigned short half_bits(float x) {
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

// sums[0] becomes the sum of all, in a fixed order.
__device__ inline void add_up(float* sums) {
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
}

// Passed by pointer: the runtime keeps one small array per geometry on the device.
struct Conv { int c, h, w, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw; };

// cols (c * kh * kw, count): the columns of output pixels first .. first + count - 1 of one image.
extern "C" __global__ void im2col(const float* x, float* cols, long long first, long long count, const Conv* geometry) {
    const Conv g = *geometry;
    EACH(i, (long long)g.c * g.kh * g.kw * count) {
        long long pixel = first + i % count, row = i / count;
        int kw = row % g.kw, kh = row / g.kw % g.kh, c = row / g.kw / g.kh;
        int r = pixel / g.ow * g.sh - g.ph + kh * g.dh, q = pixel % g.ow * g.sw - g.pw + kw * g.dw;
        cols[i] = r >= 0 && r < g.h && q >= 0 && q < g.w ? x[((long long)c * g.h + r) * g.w + q] : 0.f;
    }
}

// x (c, h, w) += what the strip of columns holds for it; strips follow one another, so the order is fixed.
extern "C" __global__ void col2im(const float* cols, float* x, long long first, long long count, const Conv* geometry) {
    const Conv g = *geometry;
    EACH(i, (long long)g.c * g.h * g.w) {
        int q = i % g.w, r = i / g.w % g.h, c = i / g.w / g.h;
        float sum = 0.f;
        for (int kh = 0; kh < g.kh; ++kh) {
            int top = r + g.ph - kh * g.dh;
            if (top < 0 || top % g.sh || top / g.sh >= g.oh) continue;
            for (int kw = 0; kw < g.kw; ++kw) {
                int left = q + g.pw - kw * g.dw;
                if (left < 0 || left % g.sw || left / g.sw >= g.ow) continue;
                long long pixel = (long long)(top / g.sh) * g.ow + left / g.sw;
                if (pixel < first || pixel >= first + count) continue;
                sum += cols[(((long long)c * g.kh + kh) * g.kw + kw) * count + pixel - first];
            }
        }
        x[i] += sum;
    }
}

// flag becomes 1 if w (channels, channels, taps) has a number that is not zero beside w[i, i].
extern "C" __global__ void off_diagonal(const float* w, int* flag, long long n, int channels, int taps) {
    EACH(i, n) {
        if (w[i] != 0.f && i / taps / channels != i / taps % channels) *flag = 1;
    }
}

// y (n, c, h, w) of x (n, c, oh, ow), kernels (c, c, kh, kw): each output pixel gathers the taps that reach it, from
// its own channel, or from all of them if *dense.
extern "C" __global__ void upsample_channels(const float* x, const float* kernels, const int* dense, const float* bias,
                                             float* y, long long n, const Conv* geometry) {
    const Conv g = *geometry;
    const bool all = *dense;
    EACH(i, n) {
        int q = i % g.w, r = i / g.w % g.h, c = i / g.w / g.h % g.c;
        long long image = i / g.w / g.h / g.c * g.c, taps = (long long)g.kh * g.kw;
        float sum = bias ? bias[c] : 0.f;
        for (int from = all ? 0 : c, last = all ? g.c : c + 1; from < last; ++from) {
            const float* plane = x + (image + from) * g.oh * g.ow;
            const float* kernel = kernels + ((long long)from * g.c + c) * taps;
            // the taps in phase with this pixel: every (stride)th one, for dilation 1
            for (int kh = (r + g.ph) % g.sh; kh < g.kh; kh += g.sh) {
                int oh = (r + g.ph - kh) / g.sh;
                if (r + g.ph < kh || oh >= g.oh) continue;
                for (int kw = (q + g.pw) % g.sw; kw < g.kw; kw += g.sw) {
                    int ow = (q + g.pw - kw) / g.sw;
                    if (q + g.pw < kw || ow >= g.ow) continue;
                    sum += plane[oh * g.ow + ow] * kernel[kh * g.kw + kw];
                }
            }
        }
        y[i] = sum;
    }
}

// The way back: dx (n, c, oh, ow) of dy (n, c, h, w).  A block for each pixel of dx, whose threads share its taps.
extern "C" __global__ void upsample_channels_backward(const float* dy, const float* kernels, const int* dense,
                                                      float* dx, long long n, const Conv* geometry) {
    __shared__ float sums[THREADS];
    const Conv g = *geometry;
    const bool all = *dense;
    for (long long i = blockIdx.x; i < n; i += gridDim.x) {
        int ow = i % g.ow, oh = i / g.ow % g.oh, c = i / g.ow / g.oh % g.c, taps = g.kh * g.kw;
        long long image = i / g.ow / g.oh / g.c * g.c;
        float sum = 0.f;
        for (int to = all ? 0 : c, last = all ? g.c : c + 1; to < last; ++to) {
            const float* plane = dy + (image + to) * g.h * g.w;
            const float* kernel = kernels + ((long long)c * g.c + to) * taps;
            for (int tap = threadIdx.x; tap < taps; tap += THREADS) {
                int r = oh * g.sh - g.ph + tap / g.kw, q = ow * g.sw - g.pw + tap % g.kw;
                if (r >= 0 && r < g.h && q >= 0 && q < g.w) sum += plane[r * g.w + q] * kernel[tap];
            }
        }
        sums[threadIdx.x] = sum;
        add_up(sums);
        if (threadIdx.x == 0) dx[i] = sums[0];
        __syncthreads();
    }
}

// The largest |x| of all, as the bits of a float (of numbers without a sign these have the order of integers).
extern "C" __global__ void largest(const float* x, int* bits, long long n) {
    __shared__ int tops[THREADS];
    int top = 0;
    EACH(i, n) top = max(top, __float_as_int(fabsf(x[i])));
    tops[threadIdx.x] = top;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) tops[threadIdx.x] = max(tops[threadIdx.x], tops[threadIdx.x + half]);
        __syncthreads();
    }
    if (threadIdx.x == 0) atomicMax(bits, tops[0]);
}

// The power of two that brings the largest number near 1; 1 where none is given.
__device__ inline float scale_for(const int* bits) {
    float top = bits ? __int_as_float(*bits) : 0.f;
    return top > 0.f && top < 1e38f ? exp2f(-ceilf(log2f(fmaxf(top, 1e-37f)))) : 1.f;
}

// (images, rows, columns) turned to (images, columns, rows), tile by tile: reading and writing along memory.
// read: the number at `at`; write: what becomes of it, v, at its new place.
#define TURN(read, write)                                                                                       \
    __shared__ float tile[32][33];                                                                              \
    int across = (columns + 31) / 32, down = (rows + 31) / 32, lane = threadIdx.x % 32, first = threadIdx.x / 32; \
    for (long long t = blockIdx.x; t < (long long)images * across * down; t += gridDim.x) {                     \
        long long image = t / across / down * rows * columns;                                                   \
        int left = t % across * 32, top = t / across % down * 32;                                               \
        for (int i = first; i < 32; i += THREADS / 32)                                                          \
            if (top + i < rows && left + lane < columns) {                                                      \
                long long at = image + (long long)(top + i) * columns + left + lane;                            \
                tile[i][lane] = read;                                                                           \
            }                                                                                                   \
        __syncthreads();                                                                                        \
        for (int i = first; i < 32; i += THREADS / 32)                                                          \
            if (left + i < columns && top + lane < rows) {                                                      \
                long long at = image + (long long)(left + i) * rows + top + lane;                               \
                float v = tile[lane][i];                                                                        \
                write;                                                                                          \
            }                                                                                                   \
        __syncthreads();                                                                                        \
    }

// float (images, channels, pixels) to half (images, pixels, channels), times factor and what scale_for says.
extern "C" __global__ void to_half(const float* x, unsigned short* y, const int* bits, float factor, int images,
                                   int rows, int columns) {
    float scale = scale_for(bits) * factor;
    TURN(x[at], y[at] = half_bits(v * scale))
}

// half (images, pixels, channels) to float (images, channels, pixels), the scale taken out again.
extern "C" __global__ void from_half(const unsigned short* x, float* y, const int* bits, float factor, int images,
                                     int rows, int columns) {
    float scale = scale_for(bits) * factor;
    TURN(float_of(x[at]), y[at] = v / scale)
}

// y += from_half of a product of two scaled arrays: the gradients of weights.
extern "C" __global__ void add_from_half(const unsigned short* x, float* y, const int* bits, const int* other_bits,
                                         float factor, int images, int rows, int columns) {
    float scale = scale_for(bits), other = scale_for(other_bits) * factor;
    TURN(float_of(x[at]), y[at] += v / scale / other)
}

// The sum of each channel of dy (n, channels, inner), in strips: partial (channels, strips).
extern "C" __global__ void channel_sums(const float* dy, float* partial, int channels, int strips, long long n,
                                        long long inner) {
    __shared__ float sums[THREADS];
    for (int s = blockIdx.x; s < channels * strips; s += gridDim.x) {
        int c = s / strips;
        float sum = 0.f;
        for (long long i = (long long)(s % strips) * THREADS + threadIdx.x; i < n * inner; i += (long long)strips * THREADS)
            sum += dy[(i / inner * channels + c) * inner + i % inner];
        sums[threadIdx.x] = sum;
        add_up(sums);
        if (threadIdx.x == 0) partial[s] = sums[0];
        __syncthreads();
    }
}

// y (n,) += the sums of x's rows (n, width).
extern "C" __global__ void add_row_sums(const float* x, float* y, long long n, int width) {
    EACH(i, n) {
        float sum = 0.f;
        for (int j = 0; j < width; ++j) sum += x[i * width + j];
        y[i] += sum;
    }
}
