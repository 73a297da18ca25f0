// What would take several passes over memory as array expressions, in one.

#define EACH(i, n) for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (n); \
                        i += (long long)blockDim.x * gridDim.x)

// y is (N, channels, inner): bias (or null) added, then a ReLU of the given negative slope (1: none).
extern "C" __global__ void bias_relu(float* y, const float* bias, long long n, int channels, long long inner,
                                     float slope) {
    EACH(i, n) {
        float v = y[i] + (bias ? bias[i / inner % channels] : 0.f);
        y[i] = v > 0.f || v != v ? v : v * slope;
    }
}

extern "C" __global__ void relu_forward(const float* x, float* y, long long n, float slope) {
    EACH(i, n) y[i] = x[i] > 0.f || x[i] != x[i] ? x[i] : x[i] * slope;
}

extern "C" __global__ void relu_backward(const float* dy, const float* y, float* dx, long long n, float slope) {
    EACH(i, n) dx[i] = y[i] > 0.f ? dy[i] : dy[i] * slope;
}

// One uniform number per value decides; the mask travels as a byte.
extern "C" __global__ void dropout_forward(const float* x, const float* draw, float* y, bool* mask, long long n,
                                           float keep) {
    EACH(i, n) {
        bool on = draw[i] < keep;
        mask[i] = on;
        y[i] = on ? x[i] / keep : 0.f;
    }
}

extern "C" __global__ void dropout_backward(const float* dy, const bool* mask, float* dx, long long n, float keep) {
    EACH(i, n) dx[i] = mask[i] ? dy[i] / keep : 0.f;
}
