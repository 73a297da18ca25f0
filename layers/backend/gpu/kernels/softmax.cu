// Softmax along one axis and its loss.  An array is (outer, classes, inner); a pixel is one (outer, inner).
// The loss: one block per strip of pixels writes its partial sums, which one block adds in order, so that
// every run gives the same bits.

__device__ inline void softmax_pixel(const float* x, float* y, int classes, long long inner) {
    float top = x[0], sum = 0.f;
    for (int c = 1; c < classes; ++c) top = fmaxf(top, x[c * inner]);
    for (int c = 0; c < classes; ++c) {
        float e = expf(x[c * inner] - top);
        y[c * inner] = e;
        sum += e;
    }
    for (int c = 0; c < classes; ++c) y[c * inner] /= sum;
}

extern "C" __global__ void softmax_forward(const float* x, float* y, long long pixels, int classes, long long inner) {
    EACH(i, pixels) {
        long long at = i / inner * classes * inner + i % inner;
        softmax_pixel(x + at, y + at, classes, inner);
    }
}

// Of rows of many classes, one after the other in memory: a block takes one row after another.
extern "C" __global__ void softmax_rows(const float* x, float* y, long long rows, int classes) {
    __shared__ float of_all[THREADS];
    int t = threadIdx.x;
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const float* from = x + row * classes;
        float *to = y + row * classes, top = from[0], sum = 0.f;
        for (int c = t; c < classes; c += THREADS) top = fmaxf(top, from[c]);
        of_all[t] = top;
        __syncthreads();
        for (int half = THREADS / 2; half > 0; half /= 2) {
            if (t < half) of_all[t] = fmaxf(of_all[t], of_all[t + half]);
            __syncthreads();
        }
        top = of_all[0];
        __syncthreads();
        for (int c = t; c < classes; c += THREADS) {
            float e = expf(from[c] - top);
            to[c] = e;
            sum += e;
        }
        of_all[t] = sum;
        block_sum(of_all);
        for (int c = t; c < classes; c += THREADS) to[c] /= of_all[0];
        __syncthreads();
    }
}

extern "C" __global__ void softmax_backward(const float* dy, const float* y, float* dx, long long pixels, int classes,
                                            long long inner) {
    EACH(i, pixels) {
        long long at = i / inner * classes * inner + i % inner;
        float dot = 0.f;
        for (int c = 0; c < classes; ++c) dot += dy[at + c * inner] * y[at + c * inner];
        for (int c = 0; c < classes; ++c) dx[at + c * inner] = y[at + c * inner] * (dy[at + c * inner] - dot);
    }
}

// x: null where prob is there already.  losses, counts: one per block.  weights: per class, or null.  A label that is neither a class nor ignored makes the
// loss NaN: who reads it looks for the reason.
extern "C" __global__ void softmax_loss_forward(const float* x, const int* labels, const float* weights, float* prob,
                                                double* losses, long long* counts, long long pixels, int classes,
                                                long long inner, int has_ignore, int ignore) {
    __shared__ double loss_of[THREADS];
    __shared__ int count_of[THREADS];
    double loss = 0;
    int count = 0;
    EACH(i, pixels) {
        long long at = i / inner * classes * inner + i % inner;
        if (x) softmax_pixel(x + at, prob + at, classes, inner);
        int label = labels[i];
        if (has_ignore && label == ignore) continue;
        if (label < 0 || label >= classes) {
            loss = nan("");
            continue;
        }
        float p = prob[at + label * inner];
        p = p < 1.17549435e-38f ? 1.17549435e-38f : p;  // fmaxf would hide a NaN: the loss would be 87.3 for good
        loss -= log((double)p) * (weights ? weights[label] : 1.f);
        ++count;
    }
    int t = threadIdx.x;
    loss_of[t] = loss, count_of[t] = count;
    block_sum(loss_of);
    block_sum(count_of);
    if (t == 0) losses[blockIdx.x] = loss_of[0], counts[blockIdx.x] = count_of[0];
}

// The sums of what the blocks have left, by one block.
extern "C" __global__ void softmax_loss_total(const double* losses, const long long* counts, double* loss,
                                              long long* count, int blocks) {
    __shared__ double loss_of[THREADS];
    __shared__ long long count_of[THREADS];
    int t = threadIdx.x;
    loss_of[t] = 0, count_of[t] = 0;
    for (int b = t; b < blocks; b += THREADS) loss_of[t] += losses[b], count_of[t] += counts[b];
    block_sum(loss_of);
    block_sum(count_of);
    if (t == 0) *loss = loss_of[0], *count = count_of[0];
}

// dx = scale * (prob - onehot); scale is read from the device, so that no launch waits for the host.
extern "C" __global__ void softmax_loss_backward(const float* prob, const int* labels, const float* weights,
                                                 const float* scale, float* dx, long long n, int classes,
                                                 long long inner, int has_ignore, int ignore) {
    EACH(i, n) {
        long long rest = i / inner;
        int c = (int)(rest % classes), label = labels[rest / classes * inner + i % inner];
        bool counts = label >= 0 && label < classes && !(has_ignore && label == ignore);
        float factor = counts ? *scale * (weights ? weights[label] : 1.f) : 0.f;
        dx[i] = factor * (prob[i] - (c == label ? 1.f : 0.f));
    }
}
