// Pooling in Caffe's geometry (ceil or floor, windows clipped to the image), one thread per value, over
// channels-last tensors (N, h, w, c), or arrays (N, C, h, w) read as (N * C, h, w, 1).  Kernels on fp16 end in _fp16.
// Backward gathers: each input pixel looks up the windows that cover it, so that no atomics are needed and every run
// adds in the same order.

#define LOWEST -3.402823466e+38f

// Passed by pointer: the runtime keeps one small array per geometry on the device.
struct Pool { int h, w, oh, ow, kh, kw, sh, sw, ph, pw, c; };

// The pixels of a window that lie in the image, and how many there are with the pad's: pad cells count in a mean.
struct Window { int top, left, bottom, right, area; };
__device__ inline Window window(int oh, int ow, const Pool& g) {
    int top = oh * g.sh - g.ph, left = ow * g.sw - g.pw;
    int area = max(min(top + g.kh, g.h + g.ph) - top, 0) * max(min(left + g.kw, g.w + g.pw) - left, 0);
    return {max(top, 0), max(left, 0), min(top + g.kh, g.h), min(left + g.kw, g.w), max(area, 1)};
}

// The first and one past the last window that covers pixel i of an axis.
__device__ inline int first_window(int i, int pad, int kernel, int stride) {
    int reach = i + pad - kernel + 1;
    return reach <= 0 ? 0 : (reach + stride - 1) / stride;
}
__device__ inline int past_window(int i, int pad, int stride, int out) {
    int last = (i + pad) / stride + 1;
    return last < out ? last : out;
}

// The windows that cover a pixel.
#define COVERING(at, oh, ow)                                                                                        \
    for (int oh = first_window(at.row, g.ph, g.kh, g.sh), below = past_window(at.row, g.ph, g.sh, g.oh); oh < below; \
         ++oh)                                                                                                      \
        for (int ow = first_window(at.column, g.pw, g.kw, g.sw), right = past_window(at.column, g.pw, g.sw, g.ow);  \
             ow < right; ++ow)

// A thread takes W channels of a pixel.  index: the winner's position r * w + c, -1 where there is none; or null.
template <class T, int W> __device__ inline void max_pool_of(const T* x, T* y, int* index, long long n, const Pool& g) {
    EACH(i, n / W) {
        Coords at = coords_of(i, g.oh, g.ow, g.c / W);
        Window in = window(at.row, at.column, g);
        const Vector<T, W>* plane = (const Vector<T, W>*)(x + at.image * g.h * g.w * g.c) + at.channel;
        Vector<float, W> best;
        Vector<int, W> position;
        for (int j = 0; j < W; ++j) best.at[j] = LOWEST, position.at[j] = -1;
        for (int r = in.top; r < in.bottom; ++r)
            for (int c = in.left; c < in.right; ++c) {
                Vector<T, W> v = plane[(long long)(r * g.w + c) * (g.c / W)];
                for (int j = 0; j < W; ++j)
                    if (to_float(v.at[j]) > best.at[j]) best.at[j] = to_float(v.at[j]), position.at[j] = r * g.w + c;
            }
        Vector<T, W> result;
        bool holds_pixels = in.top < in.bottom && in.left < in.right;
        for (int j = 0; j < W; ++j) store(result.at + j, holds_pixels ? best.at[j] : 0.f);
        ((Vector<T, W>*)y)[i] = result;
        if (index) ((Vector<int, W>*)index)[i] = position;
    }
}

// As many channels a thread as the channels and 16 bytes allow.
#define VECTORIZED(kernel, T, ...)                                    \
    if (sizeof(T) == 2 && g.c % 8 == 0) kernel<T, 8>(__VA_ARGS__); \
    else if (g.c % 4 == 0) kernel<T, 4>(__VA_ARGS__);           \
    else kernel<T, 1>(__VA_ARGS__);

template <class T> __device__ inline void max_pool(const T* x, T* y, int* index, long long n, const Pool g) {
    VECTORIZED(max_pool_of, T, x, y, index, n, g)
}

extern "C" __global__ void max_pool_forward(const float* x, float* y, int* index, long long n, const Pool* g) {
    max_pool(x, y, index, n, *g);
}

extern "C" __global__ void max_pool_forward_fp16(const unsigned short* x, unsigned short* y, int* index, long long n,
                                                 const Pool* g) {
    max_pool(x, y, index, n, *g);
}

template <class T, int W> __device__ inline void max_pool_back_of(const T* dy, const int* index, T* dx, long long n,
                                                                  const Pool& g) {
    EACH(i, n / W) {
        Coords at = coords_of(i, g.h, g.w, g.c / W);
        long long plane = at.image * g.oh * g.ow * (g.c / W) + at.channel;
        Vector<float, W> sum = {};
        COVERING(at, oh, ow) {
            long long from = plane + (long long)(oh * g.ow + ow) * (g.c / W);
            Vector<T, W> v = ((const Vector<T, W>*)dy)[from];
            Vector<int, W> position = ((const Vector<int, W>*)index)[from];
            for (int j = 0; j < W; ++j)
                if (position.at[j] == at.row * g.w + at.column) sum.at[j] += to_float(v.at[j]);
        }
        Vector<T, W> result;
        for (int j = 0; j < W; ++j) store(result.at + j, sum.at[j]);
        ((Vector<T, W>*)dx)[i] = result;
    }
}

template <class T> __device__ inline void max_pool_back(const T* dy, const int* index, T* dx, long long n, const Pool g) {
    VECTORIZED(max_pool_back_of, T, dy, index, dx, n, g)
}

extern "C" __global__ void max_pool_backward(const float* dy, const int* index, float* dx, long long n, const Pool* g) {
    max_pool_back(dy, index, dx, n, *g);
}

extern "C" __global__ void max_pool_backward_fp16(const unsigned short* dy, const int* index, unsigned short* dx,
                                                  long long n, const Pool* g) {
    max_pool_back(dy, index, dx, n, *g);
}

template <class T> __device__ inline void ave_pool(const T* x, T* y, long long n, const Pool g) {
    EACH(i, n) {
        Coords at = coords_of(i, g.oh, g.ow, g.c);
        Window in = window(at.row, at.column, g);
        const T* plane = x + at.image * g.h * g.w * g.c + at.channel;
        float sum = 0.f;
        for (int r = in.top; r < in.bottom; ++r)
            for (int c = in.left; c < in.right; ++c) sum += to_float(plane[(long long)(r * g.w + c) * g.c]);
        store(y + i, sum / in.area);
    }
}

extern "C" __global__ void ave_pool_forward(const float* x, float* y, long long n, const Pool* g) {
    ave_pool(x, y, n, *g);
}

extern "C" __global__ void ave_pool_forward_fp16(const unsigned short* x, unsigned short* y, long long n, const Pool* g) {
    ave_pool(x, y, n, *g);
}

template <class T> __device__ inline void ave_pool_back(const T* dy, T* dx, long long n, const Pool g) {
    EACH(i, n) {
        Coords at = coords_of(i, g.h, g.w, g.c);
        const T* plane = dy + at.image * g.oh * g.ow * g.c + at.channel;
        float sum = 0.f;
        COVERING(at, oh, ow) sum += to_float(plane[(long long)(oh * g.ow + ow) * g.c]) / window(oh, ow, g).area;
        store(dx + i, sum);
    }
}

extern "C" __global__ void ave_pool_backward(const float* dy, float* dx, long long n, const Pool* g) {
    ave_pool_back(dy, dx, n, *g);
}

// draw: one uniform number per window when training, else null (the values' mean weighted by themselves).
extern "C" __global__ void stochastic_pool_forward(const float* x, const float* draw, float* y, int* index,
                                                   long long n, const Pool* geometry) {
    const Pool g = *geometry;
    EACH(i, n) {
        Coords at = coords_of(i, g.oh, g.ow, g.c);
        Window in = window(at.row, at.column, g);
        const float* plane = x + at.image * g.h * g.w;
        float sum = 0.f, squares = 0.f;
        for (int r = in.top; r < in.bottom; ++r)
            for (int c = in.left; c < in.right; ++c) {
                float v = plane[r * g.w + c];
                sum += v, squares += v * v;
            }
        if (!draw) {
            y[i] = sum > 0.f ? squares / sum : 0.f;
            continue;
        }
        float cumulative = 0.f, threshold = draw[i] * sum;
        int position = -1;
        for (int r = in.top; r < in.bottom; ++r)
            for (int c = in.left; c < in.right && (position < 0 || cumulative < threshold); ++c)
                cumulative += plane[r * g.w + c], position = r * g.w + c;
        index[i] = position;
        y[i] = position < 0 ? 0.f : plane[position];
    }
}
