// Random numbers by counter (Philox 4x32, ten rounds: Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", 2011): number i depends on the seed and its position alone, so that the whole state of the
// generator is (seed, position) and any launch shape draws the same numbers.

__device__ inline void philox(unsigned long long seed, unsigned long long counter, unsigned* out) {
    unsigned c0 = (unsigned)counter, c1 = (unsigned)(counter >> 32), c2 = 0, c3 = 0;
    unsigned k0 = (unsigned)seed, k1 = (unsigned)(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        unsigned long long a = 0xD2511F53ull * c0, b = 0xCD9E8D57ull * c2;
        unsigned d0 = (unsigned)(b >> 32) ^ c1 ^ k0, d2 = (unsigned)(a >> 32) ^ c3 ^ k1;
        c0 = d0, c1 = (unsigned)b, c2 = d2, c3 = (unsigned)a;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

// begin (2,): the seed and the counter that the launches recorded in a graph begin at.
extern "C" __global__ void begin_at(unsigned long long* begin, unsigned long long seed, unsigned long long first) {
    EACH(i, 1) begin[0] = seed, begin[1] = first;
}

// y[i] uniform in [0, 1), 24 bits each; four numbers per counter, counters from `first` on.  With `begin` the seed is
// read from there, and `first` counts from the counter there.
extern "C" __global__ void uniform(float* y, long long n, const unsigned long long* begin, unsigned long long seed,
                                   unsigned long long first) {
    if (begin) seed = begin[0], first += begin[1];
    long long fours = (n + 3) / 4;
    EACH(i, fours) {
        unsigned bits[4];
        philox(seed, first + i, bits);
        for (int j = 0; j < 4 && 4 * i + j < n; ++j) y[4 * i + j] = (bits[j] >> 8) * (1.f / 16777216.f);
    }
}
