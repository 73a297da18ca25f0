// The solvers' update rules, one pass over weight, gradient and history.  Caffe's order: decay into the
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

// correction: sqrt(1 - beta2^t) / (1 - beta1^t), folded into rate by the caller.
extern "C" __global__ void adam_update(float* w, float* g, float* m, float* v, long long n, float rate, float beta1,
                                       float beta2, float delta, float decay, int l1) {
    EACH(i, n) {
        g[i] = decayed(g[i], w[i], decay, l1);
        m[i] = beta1 * m[i] + (1.f - beta1) * g[i];
        v[i] = beta2 * v[i] + (1.f - beta2) * g[i] * g[i];
        w[i] -= rate * m[i] / (sqrtf(v[i]) + delta);
    }
}
