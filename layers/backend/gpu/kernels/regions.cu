// Pooling over windows that each region has for itself.  x is (N, C, H, W); window (p, q) of region r reaches from
// rows[r, p, 0] to before rows[r, p, 1], and so for columns, in item image[r].  Backward gathers: each pixel adds up
// what the regions give it in their order, so that no atomics are needed and every run adds alike.

// Passed by pointer: images, channels, height and width; numbers of each cell of a region, and its cells.
struct Regions { int n, c, h, w, d, p, q; };

// Output i of (r, d, p, q), and its window.
struct Cell { long long r; int d, p, q; };
__device__ inline Cell cell_of(long long i, const Regions& g) {
    long long rest = i / g.q, above = rest / g.p;
    return {above / g.d, (int)(above % g.d), (int)(rest % g.p), (int)(i % g.q)};
}
struct Span { int first, end; };
__device__ inline Span span_of(const int* spans, long long r, int cells, int cell) {
    const int* at = spans + 2 * (r * cells + cell);
    return {at[0], at[1]};
}
__device__ inline float area_of(Span row, Span column) {
    return (float)max((row.end - row.first) * (column.end - column.first), 1);
}
__device__ inline bool holds(Span span, int i) { return span.first <= i && i < span.end; }

extern "C" __global__ void region_max(const float* x, const int* image, const int* rows, const int* columns, float* y,
                                      int* index, long long n, const Regions* geometry) {
    const Regions g = *geometry;
    EACH(i, n) {
        Cell at = cell_of(i, g);
        Span row = span_of(rows, at.r, g.p, at.p), column = span_of(columns, at.r, g.q, at.q);
        const float* plane = x + (image[at.r] * (long long)g.c + at.d) * g.h * g.w;
        float best = -3.402823466e+38f;
        int position = -1;
        for (int v = row.first; v < row.end; ++v)
            for (int u = column.first; u < column.end; ++u)
                if (plane[v * g.w + u] > best) best = plane[v * g.w + u], position = v * g.w + u;
        y[i] = row.end > row.first && column.end > column.first ? best : 0.f;
        index[i] = position;
    }
}

// A block takes one plane after another; each of its threads has the pixels to itself whose number leaves its own
// when divided by the block's size, and looks through all of the plane's winners for them.
extern "C" __global__ void region_max_back(const float* dy, const int* index, const int* image, float* dx,
                                           int regions, const Regions* geometry) {
    const Regions g = *geometry;
    int cells = g.p * g.q, area = g.h * g.w;
    for (long long plane = blockIdx.x; plane < (long long)g.n * g.c; plane += gridDim.x) {
        float* out = dx + plane * area;
        for (int i = threadIdx.x; i < area; i += blockDim.x) out[i] = 0.f;
        for (int r = 0; r < regions; ++r) {
            if (image[r] != plane / g.c) continue;
            long long first = (r * (long long)g.c + plane % g.c) * cells;
            for (int i = 0; i < cells; ++i) {
                int winner = index[first + i];
                if (winner >= 0 && winner % blockDim.x == threadIdx.x) out[winner] += dy[first + i];
            }
        }
    }
}

// Number d of cell (p, q) looks at channel (d * P + p) * Q + q.
extern "C" __global__ void region_mean(const float* x, const int* image, const int* rows, const int* columns, float* y,
                                       long long n, const Regions* geometry) {
    const Regions g = *geometry;
    EACH(i, n) {
        Cell at = cell_of(i, g);
        Span row = span_of(rows, at.r, g.p, at.p), column = span_of(columns, at.r, g.q, at.q);
        const float* plane = x + (image[at.r] * (long long)g.c + i % g.c) * g.h * g.w;
        float sum = 0.f;
        for (int v = row.first; v < row.end; ++v)
            for (int u = column.first; u < column.end; ++u) sum += plane[v * g.w + u];
        y[i] = sum / area_of(row, column);
    }
}

extern "C" __global__ void region_mean_back(const float* dy, const int* image, const int* rows, const int* columns,
                                            float* dx, long long n, int regions, const Regions* geometry) {
    const Regions g = *geometry;
    EACH(i, n) {
        Coords at = coords_of(i, g.h, g.w, 1);
        int channel = (int)(at.image % g.c), p = channel / g.q % g.p, q = channel % g.q;
        float sum = 0.f;
        for (int r = 0; r < regions; ++r) {
            if (image[r] != at.image / g.c) continue;
            Span row = span_of(rows, r, g.p, p), column = span_of(columns, r, g.q, q);
            if (holds(row, at.row) && holds(column, at.column))
                sum += dy[r * (long long)g.c + channel] / area_of(row, column);
        }
        dx[i] = sum;
    }
}

// Where each cell's weights that are not 0 begin and end, and as one cell more where those of all its region do:
// weights (R, cells, size), spans (R, cells + 1, 2).
extern "C" __global__ void region_spans(const float* weights, int* spans, long long regions, int cells, int size) {
    EACH(r, regions) {
        Span all = {size, 0};
        int* to = spans + 2 * r * (cells + 1);
        for (int cell = 0; cell <= cells; ++cell) {
            Span span = {size, 0};
            if (cell == cells) span = all;
            else
                for (int i = 0; i < size; ++i)
                    if (weights[(r * cells + cell) * size + i] != 0.f) span.first = min(span.first, i), span.end = i + 1;
            all = {min(all.first, span.first), max(all.end, span.end)};
            to[2 * cell] = span.first, to[2 * cell + 1] = span.end;
        }
    }
}

extern "C" __global__ void region_weighted(const float* x, const int* image, const float* rows, const int* row_spans,
                                           const float* columns, const int* column_spans, float* y, long long n,
                                           const Regions* geometry) {
    const Regions g = *geometry;
    EACH(i, n) {
        Cell at = cell_of(i, g);
        Span row = span_of(row_spans, at.r, g.p + 1, at.p), column = span_of(column_spans, at.r, g.q + 1, at.q);
        const float* plane = x + (image[at.r] * (long long)g.c + at.d) * g.h * g.w;
        const float *down = rows + (at.r * g.p + at.p) * g.h, *across = columns + (at.r * g.q + at.q) * g.w;
        float sum = 0.f;
        for (int v = row.first; v < row.end; ++v) {
            float line = 0.f;
            for (int u = column.first; u < column.end; ++u) line += across[u] * plane[v * g.w + u];
            sum += down[v] * line;
        }
        y[i] = sum;
    }
}

extern "C" __global__ void region_weighted_back(const float* dy, const int* image, const float* rows,
                                                const int* row_spans, const float* columns, const int* column_spans,
                                                float* dx, long long n, int regions, const Regions* geometry) {
    const Regions g = *geometry;
    EACH(i, n) {
        Coords at = coords_of(i, g.h, g.w, 1);
        float sum = 0.f;
        for (int r = 0; r < regions; ++r) {
            if (image[r] != at.image / g.c || !holds(span_of(row_spans, r, g.p + 1, g.p), at.row) ||
                !holds(span_of(column_spans, r, g.q + 1, g.q), at.column))
                continue;
            const float* from = dy + (r * (long long)g.c + at.image % g.c) * g.p * g.q;
            for (int p = 0; p < g.p; ++p) {
                float weight = rows[(r * (long long)g.p + p) * g.h + at.row], line = 0.f;
                if (weight == 0.f) continue;
                for (int q = 0; q < g.q; ++q)
                    line += columns[(r * (long long)g.q + q) * g.w + at.column] * from[p * g.q + q];
                sum += weight * line;
            }
        }
        dx[i] = sum;
    }
}
