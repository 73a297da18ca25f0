// The solver's update, one pass over weight, gradient and history.  Caffe's order: decay into the
// gradient, the rate inside the history, then the step.

#define EACH(i, n) for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (n); \
                        i += (long long)blockDim.x * gridDim.x)

__device__ inline float decayed(float g, float w, float decay, int l1) {
    return g + decay * (l1 ? (w > 0.f) - (w < 0.f) : w);
}

extern "C" __global__ void sgd_update(float* w, float* g, float* h, long long n, float rate, float momentum,
                                      float decay, int l1) {
    EACH(i, n) {
        g[i] = decayed(g[i], w[i], decay, l1);
        h[i] = momentum * h[i] + rate * g[i];
        w[i] -= h[i];
    }
}
