// Local response normalisation across channels of an (N, C, inner) array: a thread walks the channels of
// one pixel with a sliding sum, recomputed from its window so that nothing drifts.

extern "C" __global__ void lrn_forward(const float* x, float* y, float* scale, long long pixels, int channels,
                                       long long inner, int size, float alpha, float beta, float k) {
    EACH(i, pixels) {
        long long at = i / inner * channels * inner + i % inner;
        for (int c = 0; c < channels; ++c) {
            int last = min(c + size / 2, channels - 1);
            float sum = 0.f;
            for (int j = max(c - size / 2, 0); j <= last; ++j) sum += x[at + j * inner] * x[at + j * inner];
            float s = k + alpha / size * sum;
            scale[at + c * inner] = s;
            y[at + c * inner] = x[at + c * inner] * powf(s, -beta);
        }
    }
}

extern "C" __global__ void lrn_backward(const float* dy, const float* x, const float* y, const float* scale, float* dx,
                                        long long pixels, int channels, long long inner, int size, float alpha,
                                        float beta) {
    EACH(i, pixels) {
        long long at = i / inner * channels * inner + i % inner;
        for (int c = 0; c < channels; ++c) {
            int last = min(c + size / 2, channels - 1);
            float around = 0.f;
            for (int j = max(c - size / 2, 0); j <= last; ++j) {
                long long q = at + j * inner;
                around += dy[q] * y[q] / scale[q];
            }
            long long p = at + c * inner;
            dx[p] = dy[p] * powf(scale[p], -beta) - 2.f * alpha * beta / size * x[p] * around;
        }
    }
}
