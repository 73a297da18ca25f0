// What would take several passes over memory as array expressions, in one.  Kernels on fp16 end in _fp16.

// y is (N, channels, inner), times *scale if that is not null: bias (or null) added, then a ReLU of the given negative
// slope (1: none).
template <class T> __device__ inline void bias_relu_of(T* y, const float* bias, const float* scale, long long n,
                                                       int channels, long long inner, float slope) {
    EACH(i, n) {
        float v = to_float(y[i]) / (scale ? *scale : 1.f);
        if (bias) v += bias[coords_of(i, 1, channels, inner).column];
        store(y + i, v > 0.f || v != v ? v : v * slope);
    }
}

extern "C" __global__ void bias_relu(float* y, const float* bias, const float* scale, long long n, int channels,
                                     int inner, float slope) {
    bias_relu_of(y, bias, scale, n, channels, inner, slope);
}

extern "C" __global__ void bias_relu_fp16(unsigned short* y, const float* bias, const float* scale, long long n,
                                          int channels, int inner, float slope) {
    bias_relu_of(y, bias, scale, n, channels, inner, slope);
}

extern "C" __global__ void relu_forward(const float* x, float* y, long long n, float slope) {
    EACH(i, n) y[i] = x[i] > 0.f || x[i] != x[i] ? x[i] : x[i] * slope;
}

extern "C" __global__ void relu_forward_fp16(const unsigned short* x, unsigned short* y, long long n, float slope) {
    map_fp16(x, nullptr, y, n, [=](float v, float) { return v > 0.f || v != v ? v : v * slope; });
}

// y = a * weight_a + b * weight_b, then a ReLU of the given negative slope (1: none); b: null for one term.
extern "C" __global__ void weighted_sum(const float* a, const float* b, float* y, long long n, float weight_a,
                                        float weight_b, float slope) {
    EACH(i, n) {
        float v = a[i] * weight_a + (b ? b[i] * weight_b : 0.f);
        y[i] = v > 0.f || v != v ? v : v * slope;
    }
}

extern "C" __global__ void weighted_sum_fp16(const unsigned short* a, const unsigned short* b, unsigned short* y,
                                             long long n, float weight_a, float weight_b, float slope) {
    map_fp16(a, b, y, n, [=](float u, float w) {
        float v = u * weight_a + w * weight_b;
        return v > 0.f || v != v ? v : v * slope;
    });
}

extern "C" __global__ void relu_backward(const float* dy, const float* y, float* dx, long long n, float slope) {
    EACH(i, n) dx[i] = y[i] > 0.f ? dy[i] : dy[i] * slope;
}

// *bits: the largest |dx|, which its next reader would look for.
extern "C" __global__ void relu_backward_fp16(const unsigned short* dy, const unsigned short* y, unsigned short* dx,
                                              int* bits, long long n, float slope) {
    int top = 0;
    map_fp16(dy, y, dx, n, [&](float d, float v) {
        if (!(v > 0.f)) d *= slope;
        top = max(top, __float_as_int(fabsf(d)));
        return d;
    });
    atomic_block_max(top, bits);
}

// One uniform number per value decides, whose order is that of planes: it does not depend on where channels lie.  x is
// (N, pixels, channels), or planes with 1 of each.  The mask travels as a byte.
template <class T> __device__ inline void dropout_of(const T* x, const float* draw, T* y, bool* mask, long long n,
                                                     int channels, int pixels, float keep) {
    EACH(i, n) {
        Coords at = coords_of(i, 1, pixels, channels);
        bool on = draw[(at.image * channels + at.channel) * pixels + at.column] < keep;
        mask[i] = on;
        store(y + i, on ? to_float(x[i]) / keep : 0.f);
    }
}

extern "C" __global__ void dropout_forward(const float* x, const float* draw, float* y, bool* mask, long long n,
                                           int channels, int pixels, float keep) {
    dropout_of(x, draw, y, mask, n, channels, pixels, keep);
}

extern "C" __global__ void dropout_forward_fp16(const unsigned short* x, const float* draw, unsigned short* y,
                                                bool* mask, long long n, int channels, int pixels, float keep) {
    dropout_of(x, draw, y, mask, n, channels, pixels, keep);
}

template <class T> __device__ inline void dropped_of(const T* dy, const bool* mask, T* dx, long long n, float keep) {
    EACH(i, n) store(dx + i, mask[i] ? to_float(dy[i]) / keep : 0.f);
}

extern "C" __global__ void dropout_backward(const float* dy, const bool* mask, float* dx, long long n, float keep) {
    dropped_of(dy, mask, dx, n, keep);
}

extern "C" __global__ void dropout_backward_fp16(const unsigned short* dy, const bool* mask, unsigned short* dx,
                                                 long long n, float keep) {
    dropped_of(dy, mask, dx, n, keep);
}

// x is (N, channels, inner); slope, centre, scale and shift are per channel.
template <class T> __device__ inline void prelu_of(const T* x, const float* slope, T* y, long long n, int channels,
                                                   int inner) {
    EACH(i, n) {
        float v = to_float(x[i]);
        store(y + i, v > 0.f ? v : v * slope[coords_of(i, 1, channels, inner).column]);
    }
}

extern "C" __global__ void prelu_forward(const float* x, const float* slope, float* y, long long n, int channels,
                                         int inner) {
    prelu_of(x, slope, y, n, channels, inner);
}

extern "C" __global__ void prelu_forward_fp16(const unsigned short* x, const float* slope, unsigned short* y,
                                              long long n, int channels, int inner) {
    prelu_of(x, slope, y, n, channels, inner);
}

extern "C" __global__ void prelu_backward(const float* dy, const float* x, const float* slope, float* dx, long long n,
                                          int channels, int inner) {
    EACH(i, n) dx[i] = x[i] > 0.f ? dy[i] : dy[i] * slope[coords_of(i, 1, channels, inner).column];
}

// y = relu((x - centre) * scale + shift), by channel; a null centre or shift is 0, a null scale 1, slope 1 no ReLU.  A
// thread takes W channels of a pixel where channels come last, else W is 1.
struct Maps { const float *centre, *scale, *shift; float slope; };
template <class T, int W> __device__ inline void affine_of(const T* x, T* y, long long n, int channels, int inner,
                                                           Maps m) {
    EACH(i, n / W) {
        int first = coords_of(i, 1, channels / W, inner).column * W;
        Vector<T, W> from = ((const Vector<T, W>*)x)[i], to;
        for (int j = 0; j < W; ++j) {
            int c = first + j;
            float v = to_float(from.at[j]);
            if (m.centre) v -= m.centre[c];
            if (m.scale) v *= m.scale[c];
            if (m.shift) v += m.shift[c];
            store(to.at + j, v > 0.f || v != v ? v : v * m.slope);
        }
        ((Vector<T, W>*)y)[i] = to;
    }
}

extern "C" __global__ void affine(const float* x, const float* centre, const float* scale, const float* shift, float* y,
                                  long long n, int channels, int inner, float slope) {
    Maps maps = {centre, scale, shift, slope};
    if (inner == 1 && channels % 4 == 0 && (long long)x % 16 == 0) affine_of<float, 4>(x, y, n, channels, inner, maps);
    else affine_of<float, 1>(x, y, n, channels, inner, maps);
}

extern "C" __global__ void affine_fp16(const unsigned short* x, const float* centre, const float* scale,
                                       const float* shift, unsigned short* y, long long n, int channels, int inner,
                                       float slope) {
    Maps maps = {centre, scale, shift, slope};
    if (inner == 1 && channels % 8 == 0) affine_of<unsigned short, 8>(x, y, n, channels, inner, maps);
    else affine_of<unsigned short, 1>(x, y, n, channels, inner, maps);
}

// y (outer, columns, rows, inner): each of the outer matrices of x (outer, rows, columns, inner) transposed.
template <class T> __device__ inline void interleave_of(const T* x, T* y, long long n, int rows, int columns,
                                                        long long inner) {
    EACH(i, n) {
        long long cell = i / inner, matrix = cell / rows / columns;
        int row = (int)(cell % rows), column = (int)(cell / rows % columns);
        y[i] = x[((matrix * rows + row) * columns + column) * inner + i % inner];
    }
}

extern "C" __global__ void interleave(const float* x, float* y, long long n, int rows, int columns, long long inner) {
    interleave_of(x, y, n, rows, columns, inner);
}

extern "C" __global__ void interleave_fp16(const unsigned short* x, unsigned short* y, long long n, int rows,
                                           int columns, long long inner) {
    interleave_of(x, y, n, rows, columns, inner);
}

// What contract.Norm says of it; count: null where the sums are divided already.
extern "C" __global__ void running_statistics(const float* means, const float* variances, const float* count,
                                              float* mean, float* scale, float* shift, long long n, float eps) {
    float factor = !count ? 1.f : *count != 0.f ? 1.f / *count : 0.f;
    EACH(i, n) {
        mean[i] = means[i] * factor;
        scale[i] = 1.f / sqrtf(variances[i] * factor + eps);
        shift[i] = -mean[i] * scale[i];
    }
}

// y = scale * x + shift for y = scale2 * (scale1 * x + shift1) + shift2; a null scale is 1, a null shift 0.
extern "C" __global__ void compose_affine(const float* scale1, const float* shift1, const float* scale2,
                                          const float* shift2, float* scale, float* shift, long long n) {
    EACH(i, n) {
        float then = scale2 ? scale2[i] : 1.f;
        scale[i] = (scale1 ? scale1[i] : 1.f) * then;
        shift[i] = (shift1 ? shift1[i] : 0.f) * then + (shift2 ? shift2[i] : 0.f);
    }
}
