// The solver's update of all learned arrays in one launch: one pass over weight, gradient and histories.
// Caffe's order: scale, decay into the gradient, the rule, the step.

#define CHUNK 16384

// One learned array: where its weights, gradient and histories are (the second may be null), how many numbers they
// hold, and how strongly the rate and the decay act on them (two floats in one place).
struct Tensor { float *w, *g, *a, *b; long long n; float rate, decay; };

// Rules, in the order of solver/updates.py.
enum { SGD, NESTEROV, ADAGRAD, RMSPROP, ADADELTA, ADAM };

// chunks (count, 2): a tensor, and the first of the CHUNK numbers of it that one turn of a block takes.
// keep, fresh: how the first history is made of its old value and the new one; keep2, fresh2: the second.
// correction: of Adam's rate.
extern "C" __global__ void update(const Tensor* tensors, const int* chunks, int count, int rule, float scale,
                                  float rate, float decay, int l1, float keep, float fresh, float keep2,
                                  float fresh2, float delta, float correction) {
    for (int turn = blockIdx.x; turn < count; turn += gridDim.x) {
        const Tensor t = tensors[chunks[2 * turn]];
        const float step = rate * t.rate, shrink = decay * t.decay;
        long long first = (long long)chunks[2 * turn + 1] * CHUNK, last = first + CHUNK < t.n ? first + CHUNK : t.n;
        for (long long i = first + threadIdx.x; i < last; i += blockDim.x) {
            float w = t.w[i], g = t.g[i] * scale, change;
            g += shrink * (l1 ? (w > 0.f) - (w < 0.f) : w);
            if (rule == SGD) {
                change = t.a[i] = keep * t.a[i] + step * g;
            } else if (rule == NESTEROV) {
                float old = t.a[i], h = t.a[i] = keep * old + step * g;
                change = g = (1.f + keep) * h - keep * old;
            } else if (rule == ADAGRAD) {
                float h = t.a[i] += g * g;
                change = g = step * (g / (sqrtf(h) + delta));
            } else if (rule == RMSPROP) {
                float h = t.a[i] = keep * t.a[i] + fresh * (g * g);
                change = g = step * (g / (sqrtf(h) + delta));
            } else if (rule == ADADELTA) {
                float h = t.a[i] = keep * t.a[i] + fresh * (g * g), b = t.b[i];
                g *= sqrtf((b + delta) / (h + delta));
                t.b[i] = keep2 * b + fresh2 * (g * g);
                change = g *= step;
            } else {
                float m = t.a[i] = keep * t.a[i] + fresh * g;
                float v = t.b[i] = keep2 * t.b[i] + fresh2 * (g * g);
                change = g = step * correction * (m / (sqrtf(v) + delta));
            }
            t.g[i] = g;
            t.w[i] = w - change;
        }
    }
}
