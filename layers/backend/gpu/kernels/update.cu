// An elementwise program on many arrays in one launch: one pass over weight, gradient and histories.
// update.py puts three macros before this text: SCALARS (how many there are), SCALAR_VALUES (which declares them from
// `scalars`), PROGRAM (which reads element `at` of tensor.arrays, computes, and writes it).

#define CHUNK 16384

// The arrays of one tensor (null beyond the program's) and how many elements each has.
struct Tensor { float* arrays[4]; long long n; };

// chunks (count, 2): a tensor, and which CHUNK elements of it a block takes at once.  every: (tensors, SCALARS).
extern "C" __global__ void update(const Tensor* tensors, const int* chunks, const float* every, int count) {
    for (int k = blockIdx.x; k < count; k += gridDim.x) {
        const Tensor tensor = tensors[chunks[2 * k]];
        const float* scalars = every + chunks[2 * k] * SCALARS;
        SCALAR_VALUES
        const long long first = (long long)chunks[2 * k + 1] * CHUNK;
        const long long last = first + CHUNK < tensor.n ? first + CHUNK : tensor.n;
        for (long long at = first + threadIdx.x; at < last; at += blockDim.x) {
            PROGRAM
        }
    }
}
