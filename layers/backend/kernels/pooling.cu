// Pooling in Caffe's geometry (ceil or floor, windows clipped to the image), one thread per value.
// Backward gathers: each input pixel looks up the windows that cover it, so that no atomics are needed
// and every run adds in the same order.

#define EACH(i, n) for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (n); \
                        i += (long long)blockDim.x * gridDim.x)
#define LOWEST -3.402823466e+38f

// Passed by pointer: the runtime keeps one small array per geometry on the device.
struct Pool { int h, w, oh, ow, kh, kw, sh, sw, ph, pw; };

// The first and one past the last window that covers pixel i of an axis.
__device__ inline int first_window(int i, int pad, int kernel, int stride) {
    int reach = i + pad - kernel + 1;
    return reach <= 0 ? 0 : (reach + stride - 1) / stride;
}
__device__ inline int past_window(int i, int pad, int stride, int out) {
    int last = (i + pad) / stride + 1;
    return last < out ? last : out;
}

extern "C" __global__ void max_pool_forward(const float* x, float* y, int* index, long long n, const Pool* geometry) {
    const Pool g = *geometry;
    EACH(i, n) {
        int ow = i % g.ow, oh = i / g.ow % g.oh;
        const float* plane = x + i / g.ow / g.oh * g.h * g.w;
        int top = oh * g.sh - g.ph, left = ow * g.sw - g.pw;
        int bottom = min(top + g.kh, g.h), right = min(left + g.kw, g.w);
        top = max(top, 0), left = max(left, 0);
        float best = LOWEST;
        int place = -1;
        for (int r = top; r < bottom; ++r)
            for (int c = left; c < right; ++c)
                if (plane[r * g.w + c] > best) best = plane[r * g.w + c], place = r * g.w + c;
        y[i] = top < bottom && left < right ? best : 0.f;
        index[i] = place;
    }
}

extern "C" __global__ void max_pool_backward(const float* dy, const int* index, float* dx, long long n, const Pool* geometry) {
    const Pool g = *geometry;
    EACH(i, n) {
        int c = i % g.w, r = i / g.w % g.h;
        long long plane = i / g.w / g.h * g.oh * g.ow;
        int below = past_window(r, g.ph, g.sh, g.oh), right = past_window(c, g.pw, g.sw, g.ow);
        float sum = 0.f;
        for (int oh = first_window(r, g.ph, g.kh, g.sh); oh < below; ++oh)
            for (int ow = first_window(c, g.pw, g.kw, g.sw); ow < right; ++ow)
                if (index[plane + oh * g.ow + ow] == r * g.w + c) sum += dy[plane + oh * g.ow + ow];
        dx[i] = sum;
    }
}

// AVE divides by the window clipped to image + pad: pad cells count.
__device__ inline float area(int oh, int ow, const Pool& g) {
    int top = oh * g.sh - g.ph, left = ow * g.sw - g.pw;
    int cells = max(min(top + g.kh, g.h + g.ph) - top, 0) * max(min(left + g.kw, g.w + g.pw) - left, 0);
    return max(cells, 1);
}

extern "C" __global__ void ave_pool_forward(const float* x, float* y, long long n, const Pool* geometry) {
    const Pool g = *geometry;
    EACH(i, n) {
        int ow = i % g.ow, oh = i / g.ow % g.oh;
        const float* plane = x + i / g.ow / g.oh * g.h * g.w;
        int top = oh * g.sh - g.ph, left = ow * g.sw - g.pw;
        int bottom = min(top + g.kh, g.h), right = min(left + g.kw, g.w);
        float sum = 0.f;
        for (int r = max(top, 0); r < bottom; ++r)
            for (int c = max(left, 0); c < right; ++c) sum += plane[r * g.w + c];
        y[i] = sum / area(oh, ow, g);
    }
}

extern "C" __global__ void ave_pool_backward(const float* dy, float* dx, long long n, const Pool* geometry) {
    const Pool g = *geometry;
    EACH(i, n) {
        int c = i % g.w, r = i / g.w % g.h;
        const float* plane = dy + i / g.w / g.h * g.oh * g.ow;
        int below = past_window(r, g.ph, g.sh, g.oh), right = past_window(c, g.pw, g.sw, g.ow);
        float sum = 0.f;
        for (int oh = first_window(r, g.ph, g.kh, g.sh); oh < below; ++oh)
            for (int ow = first_window(c, g.pw, g.kw, g.sw); ow < right; ++ow)
                sum += plane[oh * g.ow + ow] / area(oh, ow, g);
        dx[i] = sum;
    }
}

// draw: one uniform number per window when training, else null (the values' mean weighted by themselves).
extern "C" __global__ void stochastic_pool_forward(const float* x, const float* draw, float* y, int* index,
                                                   long long n, const Pool* geometry) {
    const Pool g = *geometry;
    EACH(i, n) {
        int ow = i % g.ow, oh = i / g.ow % g.oh;
        const float* plane = x + i / g.ow / g.oh * g.h * g.w;
        int top = oh * g.sh - g.ph, left = ow * g.sw - g.pw;
        int bottom = min(top + g.kh, g.h), right = min(left + g.kw, g.w);
        top = max(top, 0), left = max(left, 0);
        float sum = 0.f, squares = 0.f;
        for (int r = top; r < bottom; ++r)
            for (int c = left; c < right; ++c) {
                float v = plane[r * g.w + c];
                sum += v, squares += v * v;
            }
        if (!draw) {
            y[i] = sum > 0.f ? squares / sum : 0.f;
            continue;
        }
        float ladder = 0.f, threshold = draw[i] * sum;
        int place = -1;
        for (int r = top; r < bottom; ++r)
            for (int c = left; c < right && (place < 0 || ladder < threshold); ++c)
                ladder += plane[r * g.w + c], place = r * g.w + c;
        index[i] = place;
        y[i] = place < 0 ? 0.f : plane[place];
    }
}
