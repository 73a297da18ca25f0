// What surrounds cuBLAS and cuDNN: columns in strips of bounded memory, the per-channel transposed
// convolution that bilinear upsampling is, and the turn between float NCHW and half NHWC.

#define EACH(i, n) for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (n); \
                        i += (long long)blockDim.x * gridDim.x)

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

// y (n, c, h, w) of x (n, c, oh, ow), kernels (c, kh, kw): each output pixel gathers the taps that reach it.
extern "C" __global__ void upsample_channels(const float* x, const float* kernels, const float* bias, float* y,
                                             long long n, const Conv* geometry) {
    const Conv g = *geometry;
    EACH(i, n) {
        int q = i % g.w, r = i / g.w % g.h, c = i / g.w / g.h % g.c;
        const float* plane = x + i / g.w / g.h * g.oh * g.ow;
        const float* kernel = kernels + (long long)c * g.kh * g.kw;
        float sum = bias ? bias[c] : 0.f;
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
        y[i] = sum;
    }
}
