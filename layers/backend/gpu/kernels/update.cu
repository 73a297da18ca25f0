// An elementwise program on many arrays in one launch: one pass over weight, gradient and histories.
// update.py puts macros before this text: SCALARS (how many there are), SCALAR_VALUES (which declares them from
// `scalars`), FIELDS (the variables of one element), READ, PROGRAM and WRITE (which take those of element `at` from
// tensor.arrays into v, compute with them, and put them back).

#define CHUNK 16384
#define AT_ONCE 4  // elements of a thread that are on their way together: one by one they would not keep memory busy

struct Element { FIELDS };

// The arrays of one tensor (null beyond the program's) and how many elements each has.
struct Tensor { float* arrays[4]; long long n; };

// chunks (count, 2): a tensor, and which CHUNK elements of it one turn of a block takes.  every: (tensors, SCALARS).
extern "C" __global__ void update(const Tensor* tensors, const int* chunks, const float* every, int count) {
    for (int turn = blockIdx.x; turn < count; turn += gridDim.x) {
        const Tensor tensor = tensors[chunks[2 * turn]];
        const float* scalars = every + chunks[2 * turn] * SCALARS;
        SCALAR_VALUES
        const long long first = (long long)chunks[2 * turn + 1] * CHUNK;
        const long long last = first + CHUNK < tensor.n ? first + CHUNK : tensor.n;
        for (long long base = first + threadIdx.x; base < last; base += AT_ONCE * blockDim.x) {
            Element elements[AT_ONCE];
#pragma unroll
            for (int j = 0; j < AT_ONCE; ++j) {
                const long long at = base + j * blockDim.x;
                Element& v = elements[j];
                if (at < last) { READ }
            }
#pragma unroll
            for (int j = 0; j < AT_ONCE; ++j) {
                const long long at = base + j * blockDim.x;
                Element& v = elements[j];
                if (at < last) { PROGRAM WRITE }
            }
        }
    }
}
