// The statistics of each channel of arrays (N, channels, inner), and the gradient through them.  A channel is cut into
// strips, of which a block sums one after another; one thread a channel then adds those up in order.

// partial (channels, strips, 2): the sums of v and of v * w, where v is a[i] and w is b[i]; with a null b, v and w are
// both a[i] less the channel's first element, which keeps the digits of values far from 0.
extern "C" __global__ void pair_sums(const float* a, const float* b, float* partial, int channels, int strips,
                                     long long n, int inner) {
    __shared__ float sums[THREADS], products[THREADS];
    for (int s = blockIdx.x; s < channels * strips; s += gridDim.x) {
        int c = s / strips;
        float sum = 0.f, product = 0.f, first = b ? 0.f : a[(long long)c * inner];
#pragma unroll 4  // so many loads are in flight at once
        for (long long i = s % strips * THREADS + threadIdx.x; i < n * inner; i += strips * THREADS) {
            Coords at = coords_of(i, 1, inner, 1);
            long long place = (at.image * channels + c) * inner + at.column;
            float v = a[place] - first;
            sum += v, product += v * (b ? b[place] : v);
        }
        sums[threadIdx.x] = sum, products[threadIdx.x] = product;
        block_sum(sums);
        block_sum(products);
        if (threadIdx.x == 0) partial[2 * s] = sums[0], partial[2 * s + 1] = products[0];
        __syncthreads();
    }
}

// first and second (channels,): mean and variance of x where that is given, else the means of both sums.
extern "C" __global__ void pair_means(const float* partial, const float* x, float* first, float* second, int channels,
                                      int strips, long long count, int inner) {
    EACH(c, channels) {
        double sum = 0, product = 0;
        for (int s = 0; s < strips; ++s)
            sum += partial[2 * (c * strips + s)], product += partial[2 * (c * strips + s) + 1];
        sum /= count, product /= count;
        first[c] = (float)(sum + (x ? x[c * inner] : 0.f));
        second[c] = (float)(x ? fmax(product - sum * sum, 0.) : product);
    }
}

// dx = (dy - mean - y * slope) * scale, by channel.
extern "C" __global__ void normalize_backward(const float* dy, const float* y, const float* mean, const float* slope,
                                              const float* scale, float* dx, long long n, int channels, int inner) {
    EACH(i, n) {
        int c = coords_of(i, 1, channels, inner).column;
        dx[i] = (dy[i] - mean[c] - y[i] * slope[c]) * scale[c];
    }
}
