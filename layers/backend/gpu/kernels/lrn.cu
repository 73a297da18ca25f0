// Local response normalisation across channels of arrays (N, channels, inner), channels-last tensors with 1 inner
// element among them: a thread for each element, which adds up its own window, so that nothing drifts.

// The window around element i, as elements: from `first` to `last` in steps of inner.
struct Neighbours { long long first, last; };
__device__ inline Neighbours neighbours(long long i, int channels, int inner, int size) {
    int c = coords_of(i, 1, channels, inner).column;
    return {i + (long long)(max(c - size / 2, 0) - c) * inner, i + (long long)(min(c + size / 2, channels - 1) - c) * inner};
}

template <class T> __device__ inline void lrn_of(const T* x, T* y, float* scale, long long n, int channels, int inner,
                                                 int size, float alpha, float beta, float k) {
    EACH(i, n) {
        Neighbours near = neighbours(i, channels, inner, size);
        float sum = 0.f;
        for (long long j = near.first; j <= near.last; j += inner) sum += to_float(x[j]) * to_float(x[j]);
        float s = k + alpha / size * sum;
        scale[i] = s;
        store(y + i, to_float(x[i]) * powf(s, -beta));
    }
}

extern "C" __global__ void lrn_forward(const float* x, float* y, float* scale, long long n, int channels, int inner,
                                       int size, float alpha, float beta, float k) {
    lrn_of(x, y, scale, n, channels, inner, size, alpha, beta, k);
}

extern "C" __global__ void lrn_forward_fp16(const unsigned short* x, unsigned short* y, float* scale, long long n,
                                            int channels, int inner, int size, float alpha, float beta, float k) {
    lrn_of(x, y, scale, n, channels, inner, size, alpha, beta, k);
}

extern "C" __global__ void lrn_backward(const float* dy, const float* x, const float* y, const float* scale, float* dx,
                                        long long n, int channels, int inner, int size, float alpha, float beta) {
    EACH(i, n) {
        Neighbours near = neighbours(i, channels, inner, size);
        float around = 0.f;
        for (long long j = near.first; j <= near.last; j += inner) around += dy[j] * y[j] / scale[j];
        dx[i] = dy[i] * powf(scale[i], -beta) - 2.f * alpha * beta / size * x[i] * around;
    }
}
