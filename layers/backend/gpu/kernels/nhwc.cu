// Channels-last tensors, (N, h, w, c), of float32 or fp16: transposed from and to (N, c, h, w), scaled, and summed by
// channel.  Kernels on fp16 end in _fp16.
//
// The largest value of fp16 is 65504, the smallest 6e-8: tensors of fp16 may be multiplied by a power of two, *scale.

// The power of two that brings a largest value, given as bits, between 0.5 and 1; 1 for 0, infinity and NaN.
__device__ inline float scale_for(int bits) {
    int exponent = bits >> 23;
    return bits == 0 || exponent == 255 ? 1.f : __int_as_float(max(1, min(253 - exponent, 254)) << 23);
}

// *bits: the largest |x|, as the bits of a float.
extern "C" __global__ void largest(const float* x, int* bits, long long n) {
    int top = 0;
    EACH(i, n) top = max(top, __float_as_int(fabsf(x[i])));
    atomic_block_max(top, bits);
}

extern "C" __global__ void largest_fp16(const unsigned short* x, int* bits, long long n) {
    int top = 0;
    EACH(i, n / 8) {
        Fp16x8 some = ((const Fp16x8*)x)[i];
        for (int j = 0; j < 8; ++j) top = max(top, __float_as_int(fabsf(to_float(some.at[j]))));
    }
    EACH(i, n % 8) top = max(top, __float_as_int(fabsf(to_float(x[n - 1 - i]))));
    atomic_block_max(top, bits);
}

// write(i, x[i], old(i)) of all i < n; each thread has four loads in flight at once.
template <class T, class Old, class Write>
__device__ inline void map_four(long long n, const T* x, Old old, Write write) {
    const long long all = (long long)blockDim.x * gridDim.x;
    for (long long first = blockIdx.x * (long long)blockDim.x + threadIdx.x; first < n; first += 4 * all) {
        float v[4], before[4];
#pragma unroll
        for (int j = 0; j < 4; ++j)
            if (first + j * all < n) v[j] = to_float(x[first + j * all]), before[j] = old(first + j * all);
#pragma unroll
        for (int j = 0; j < 4; ++j)
            if (first + j * all < n) write(first + j * all, v[j], before[j]);
    }
}

// (n, rows, columns) transposed to (n, columns, rows), tile by tile, so that reads and writes are coalesced: 32x32
// elements, or all columns of 32 rows, or all rows of 32 columns, where these are few.
// write(at, v, old(at)): what becomes of an element v of x at its new index; what was there is read for a whole tile
// first.
// A single row or column stays in its order (weights of 1x1): tiles of it would be tiny.
template <class T, class Old, class Write>
__device__ inline void transpose_tiles(const T* x, int n, int rows, int columns, Old old, Write write) {
    const int FEW = 64, MAX_PER_THREAD = 9;  // a tile has 64 * 33 elements at most
    if (rows == 1 || columns == 1) return map_four((long long)n * rows * columns, x, old, write);
    __shared__ float tile[FEW * 33];
    const int width = columns <= FEW ? columns : 32, height = columns > FEW && rows <= FEW ? rows : 32;
    const int stride = width | 1;
    const int across = (columns + width - 1) / width, down = (rows + height - 1) / height;
    for (long long t = blockIdx.x; t < (long long)n * across * down; t += gridDim.x) {
        const long long matrix = t / across / down * rows * columns;
        const int left = t % across * width, top = t / across % down * height;
        const int wide = min(width, columns - left), high = min(height, rows - top), count = wide * high;
        float before[MAX_PER_THREAD];
#pragma unroll
        for (int r = 0; r < MAX_PER_THREAD; ++r) {
            int k = threadIdx.x + r * THREADS, i = k / wide, j = k % wide;
            if (k < count) tile[i * stride + j] = to_float(x[matrix + (long long)(top + i) * columns + left + j]);
        }
#pragma unroll
        for (int r = 0; r < MAX_PER_THREAD; ++r) {
            int k = threadIdx.x + r * THREADS, i = k % high, j = k / high;
            if (k < count) before[r] = old(matrix + (long long)(left + j) * rows + top + i);
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < MAX_PER_THREAD; ++r) {
            int k = threadIdx.x + r * THREADS, i = k % high, j = k / high;
            if (k < count) write(matrix + (long long)(left + j) * rows + top + i, tile[i * stride + j], before[r]);
        }
        __syncthreads();
    }
}

#define WITHOUT_OLD [](long long) { return 0.f; }

extern "C" __global__ void transpose(const float* x, float* y, int n, int rows, int columns) {
    transpose_tiles(x, n, rows, columns, WITHOUT_OLD, [=](long long at, float v, float) { y[at] = v; });
}

// y += x transposed.
extern "C" __global__ void add_from_nhwc(const float* x, float* y, int n, int rows, int columns) {
    transpose_tiles(x, n, rows, columns, [=](long long at) { return y[at]; },
               [=](long long at, float v, float before) { y[at] = before + v; });
}

// With bits: y is multiplied by *scale, which becomes `target` times what brings the largest value near 1.
extern "C" __global__ void to_nhwc_fp16(const float* x, unsigned short* y, const int* bits, float target, float* scale,
                                        int n, int rows, int columns) {
    float factor = bits ? scale_for(*bits) * target : 1.f;
    if (scale && blockIdx.x == 0 && threadIdx.x == 0) *scale = factor;
    transpose_tiles(x, n, rows, columns, WITHOUT_OLD, [=](long long at, float v, float) { store(y + at, v * factor); });
}

extern "C" __global__ void from_nhwc_fp16(const unsigned short* x, float* y, const float* scale, int n, int rows,
                                          int columns) {
    float factor = scale ? 1.f / *scale : 1.f;  // a power of two: exact
    transpose_tiles(x, n, rows, columns, WITHOUT_OLD, [=](long long at, float v, float) { y[at] = v * factor; });
}

// y += x transposed, where x is a product of two tensors: it is divided by both their scales.
extern "C" __global__ void add_from_nhwc_fp16(const unsigned short* x, float* y, const float* scale, const float* other,
                                              int n, int rows, int columns) {
    float factor = scale ? 1.f / *scale : 1.f, beside = other ? 1.f / *other : 1.f;
    transpose_tiles(x, n, rows, columns, [=](long long at) { return y[at]; },
               [=](long long at, float v, float before) { y[at] = before + v * factor * beside; });
}

// x has been multiplied by *old (null: 1).  y is what to_nhwc_fp16 would make of it with bits, x's largest value; it
// is not scaled at all where bits is null.
extern "C" __global__ void rescale_fp16(const unsigned short* x, unsigned short* y, const float* old, const int* bits,
                                        float target, float* scale, long long n) {
    float before = old ? *old : 1.f, factor = bits ? scale_for(*bits) * target : 1.f / before;
    if (scale && blockIdx.x == 0 && threadIdx.x == 0) *scale = before * factor;
    map_fp16(x, nullptr, y, n, [=](float v, float) { return v * factor; });
}

// The sum of each channel of x (pixels, channels), in strips of pixels: partial (channels, strips).  A block for each
// strip of each 32 channels.
template <class T> __device__ inline void sum_channels(const T* x, float* partial, long long pixels, int channels,
                                                       int strips) {
    __shared__ float sums[THREADS];
    int lane = threadIdx.x % 32, first = threadIdx.x / 32, across = (channels + 31) / 32;
    for (int block = blockIdx.x; block < across * strips; block += gridDim.x) {
        int strip = block / across, c = block % across * 32 + lane;
        long long end = pixels * (strip + 1) / strips;
        float sum = 0.f;
        if (c < channels) {
#pragma unroll 8  // so many loads are in flight at once
            for (long long pixel = pixels * strip / strips + first; pixel < end; pixel += THREADS / 32)
                sum += to_float(x[pixel * channels + c]);
        }
        sums[threadIdx.x] = sum;
        __syncthreads();
        if (first == 0 && c < channels) {
            for (int i = 1; i < THREADS / 32; ++i) sum += sums[32 * i + lane];
            partial[(long long)c * strips + strip] = sum;
        }
        __syncthreads();
    }
}

extern "C" __global__ void nhwc_sums(const float* x, float* partial, long long pixels, int channels, int strips) {
    sum_channels(x, partial, pixels, channels, strips);
}

extern "C" __global__ void nhwc_sums_fp16(const unsigned short* x, float* partial, long long pixels, int channels,
                                           int strips) {
    sum_channels(x, partial, pixels, channels, strips);
}

// Channels of x (pixels, channels) to where a tensor of `all` channels has its channels from `first` on.  W elements
// at a time, by which all three can be divided.
template <class T, int W> __device__ inline void put_channels_of(const T* x, T* y, long long n, int channels, int first,
                                                                 int all) {
    channels /= W, first /= W, all /= W;
    EACH(i, n / W) {
        Coords at = coords_of(i, 1, 1, channels);
        ((Vector<T, W>*)y)[at.image * all + first + at.channel] = ((const Vector<T, W>*)x)[i];
    }
}

extern "C" __global__ void put_channels(const float* x, float* y, long long n, int channels, int first, int all) {
    if ((channels | first | all) % 4) put_channels_of<float, 1>(x, y, n, channels, first, all);
    else put_channels_of<float, 4>(x, y, n, channels, first, all);
}

extern "C" __global__ void put_channels_fp16(const unsigned short* x, unsigned short* y, long long n, int channels,
                                             int first, int all) {
    if ((channels | first | all) % 8) put_channels_of<unsigned short, 1>(x, y, n, channels, first, all);
    else put_channels_of<unsigned short, 8>(x, y, n, channels, first, all);
}
