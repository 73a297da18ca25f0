// What surrounds cuBLAS and cuDNN: columns in strips of bounded memory, the per-channel transposed convolution that
// bilinear upsampling is, and the gradient of biases.

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

// im2col of channels-last tensors: y (N, oh * ow, c, kh * kw) of x (N, h, w, c), under each output pixel the elements
// in its window, in the order of weights (K, c, kh, kw).
template <class T> __device__ inline void unfold_of(const T* x, T* y, long long n, const Conv g) {
    EACH(i, n) {
        Coords at = coords_of(i, g.oh * g.ow, g.c, g.kh * g.kw);
        int r = at.row / g.ow * g.sh - g.ph + at.channel / g.kw * g.dh;
        int q = at.row % g.ow * g.sw - g.pw + at.channel % g.kw * g.dw;
        y[i] = r >= 0 && r < g.h && q >= 0 && q < g.w ? x[((at.image * g.h + r) * g.w + q) * g.c + at.column] : T(0);
    }
}

extern "C" __global__ void unfold(const float* x, float* y, long long n, const Conv* g) { unfold_of(x, y, n, *g); }

extern "C" __global__ void unfold_fp16(const unsigned short* x, unsigned short* y, long long n, const Conv* g) {
    unfold_of(x, y, n, *g);
}

// The index of the output pixel whose tap k reaches pixel i of an axis; -1 where there is none.
__device__ inline int reached(int i, int pad, int k, int dilation, int stride, int out) {
    int from = i + pad - k * dilation;
    return from < 0 || from % stride || from / stride >= out ? -1 : from / stride;
}

// The adjoint: x (N, h, w, c) of y (N, oh * ow, c, kh * kw), each pixel the sum over all windows that cover it.
template <class T> __device__ inline void fold_of(const T* y, T* x, long long n, const Conv g) {
    EACH(i, n) {
        Coords at = coords_of(i, g.h, g.w, g.c);
        float sum = 0.f;
        for (int kh = 0; kh < g.kh; ++kh) {
            int oh = reached(at.row, g.ph, kh, g.dh, g.sh, g.oh);
            for (int kw = 0; oh >= 0 && kw < g.kw; ++kw) {
                int ow = reached(at.column, g.pw, kw, g.dw, g.sw, g.ow);
                if (ow < 0) continue;
                long long pixel = (at.image * g.oh + oh) * g.ow + ow;
                sum += to_float(y[((pixel * g.c + at.channel) * g.kh + kh) * g.kw + kw]);
            }
        }
        store(x + i, sum);
    }
}

extern "C" __global__ void fold(const float* y, float* x, long long n, const Conv* g) { fold_of(y, x, n, *g); }

extern "C" __global__ void fold_fp16(const unsigned short* y, unsigned short* x, long long n, const Conv* g) {
    fold_of(y, x, n, *g);
}

// x (c, h, w) += what the strip of columns holds for it; strips follow one another, so the order is fixed.
extern "C" __global__ void col2im(const float* cols, float* x, long long first, long long count, const Conv* geometry) {
    const Conv g = *geometry;
    EACH(i, (long long)g.c * g.h * g.w) {
        int q = i % g.w, r = i / g.w % g.h, c = i / g.w / g.h;
        float sum = 0.f;
        for (int kh = 0; kh < g.kh; ++kh) {
            int oh = reached(r, g.ph, kh, g.dh, g.sh, g.oh);
            for (int kw = 0; oh >= 0 && kw < g.kw; ++kw) {
                int ow = reached(q, g.pw, kw, g.dw, g.sw, g.ow);
                long long pixel = (long long)oh * g.ow + ow;
                if (ow < 0 || pixel < first || pixel >= first + count) continue;
                sum += cols[(((long long)c * g.kh + kh) * g.kw + kw) * count + pixel - first];
            }
        }
        x[i] += sum;
    }
}

// flag becomes 1 if w (channels, channels, taps) has an element off the diagonal w[i, i] that is not zero.
extern "C" __global__ void off_diagonal(const float* w, int* flag, long long n, int channels, int taps) {
    EACH(i, n) {
        if (w[i] != 0.f && i / taps / channels != i / taps % channels) *flag = 1;
    }
}

// y (n, c, h, w) of x (n, c, oh, ow), kernels (c, c, kh, kw): each output pixel gathers the taps that reach it, from
// its own channel, or from all of them if *dense.  A thread takes ROW_PIXELS of a row: finding out where it is takes
// longer than the sums.
#define ROW_PIXELS 4
extern "C" __global__ void upsample_channels(const float* x, const float* kernels, const int* dense, const float* bias,
                                             float* y, long long n, const Conv* geometry) {
    const Conv g = *geometry;
    const bool all = *dense;
    const int across = (g.w + ROW_PIXELS - 1) / ROW_PIXELS;
    EACH(i, n / g.w * across) {
        Coords at = coords_of(i, g.h, across, 1);
        int q = at.column * ROW_PIXELS, r = at.row, c = at.image % g.c;
        long long image = at.image - c, taps = (long long)g.kh * g.kw;
        int down = (r + g.ph) / g.sh, right = (q + g.pw) / g.sw;  // the last pixel of x that reaches here
        Vector<float, ROW_PIXELS> sum;
        for (int j = 0; j < ROW_PIXELS; ++j) sum.at[j] = bias ? bias[c] : 0.f;
        for (int from = all ? 0 : c, last = all ? g.c : c + 1; from < last; ++from) {
            const float* plane = x + (image + from) * g.oh * g.ow;
            const float* kernel = kernels + ((long long)from * g.c + c) * taps;
            // the taps of this pixel's phase: every (stride)th one, for dilation 1
            for (int oh = down, kh = r + g.ph - down * g.sh; kh < g.kh && oh >= 0; kh += g.sh, --oh) {
                if (oh >= g.oh) continue;
                const float *line = plane + oh * g.ow, *weights = kernel + kh * g.kw;
                int first = right, phase = q + g.pw - right * g.sw;
                for (int j = 0; j < ROW_PIXELS; ++j) {
                    for (int ow = first, kw = phase; kw < g.kw && ow >= 0; kw += g.sw, --ow)
                        if (ow < g.ow) sum.at[j] += line[ow] * weights[kw];
                    if (++phase == g.sw) phase = 0, ++first;
                }
            }
        }
        float* out = y + (at.image * g.h + r) * g.w + q;
        if (g.w % ROW_PIXELS == 0) *(Vector<float, ROW_PIXELS>*)out = sum;
        else for (int j = 0; j < ROW_PIXELS && q + j < g.w; ++j) out[j] = sum.at[j];
    }
}

// Backward: dx (n, c, oh, ow) of dy (n, c, h, w).  A block for every eight pixels of dx: 32 threads share one's taps.
extern "C" __global__ void upsample_channels_backward(const float* dy, const float* kernels, const int* dense,
                                                      float* dx, long long n, const Conv* geometry) {
    __shared__ float sums[THREADS];
    const Conv g = *geometry;
    const bool all = *dense;
    const int lane = threadIdx.x % 32;
    for (long long first = blockIdx.x * 8ll; first < n; first += gridDim.x * 8ll) {
        long long i = first + threadIdx.x / 32;
        Coords at = coords_of(i, g.oh, g.ow, 1);
        int ow = at.column, oh = at.row, c = at.image % g.c, taps = g.kh * g.kw;
        long long image = at.image - c;
        float sum = 0.f;
        for (int to = all ? 0 : c, last = i >= n ? 0 : all ? g.c : c + 1; to < last; ++to) {
            const float* plane = dy + (image + to) * g.h * g.w;
            const float* kernel = kernels + ((long long)c * g.c + to) * taps;
            for (int tap = lane; tap < taps; tap += 32) {
                int r = oh * g.sh - g.ph + tap / g.kw, q = ow * g.sw - g.pw + tap % g.kw;
                if (r >= 0 && r < g.h && q >= 0 && q < g.w) sum += plane[r * g.w + q] * kernel[tap];
            }
        }
        sums[threadIdx.x] = sum;
        __syncthreads();
        for (int half = 16; half > 0; half /= 2) {
            if (lane < half) sums[threadIdx.x] += sums[threadIdx.x + half];
            __syncthreads();
        }
        if (lane == 0 && i < n) dx[i] = sums[threadIdx.x];
        __syncthreads();
    }
}

// The sum of each channel of dy (n, channels, inner), in strips: partial (channels, strips).
extern "C" __global__ void channel_sums(const float* dy, float* partial, int channels, int strips, long long n,
                                        int inner) {
    __shared__ float sums[THREADS];
    for (int s = blockIdx.x; s < channels * strips; s += gridDim.x) {
        int c = s / strips;
        float sum = 0.f;
#pragma unroll 4  // so many loads are in flight at once
        for (long long i = s % strips * THREADS + threadIdx.x; i < n * inner; i += strips * THREADS) {
            Coords at = coords_of(i, 1, inner, 1);
            sum += dy[(at.image * channels + c) * inner + at.column];
        }
        sums[threadIdx.x] = sum;
        block_sum(sums);
        if (threadIdx.x == 0) partial[s] = sums[0];
        __syncthreads();
    }
}

// y (n,) += the sums of x's rows (n, width), divided by *scale if that is not null.  A block for each row.
extern "C" __global__ void add_row_sums(const float* x, float* y, const float* scale, long long n, int width) {
    __shared__ float sums[THREADS];
    for (long long row = blockIdx.x; row < n; row += gridDim.x) {
        float sum = 0.f;
        for (int j = threadIdx.x; j < width; j += THREADS) sum += x[row * width + j];
        sums[threadIdx.x] = sum;
        block_sum(sums);
        if (threadIdx.x == 0) y[row] += sums[0] / (scale ? *scale : 1.f);
        __syncthreads();
    }
}
