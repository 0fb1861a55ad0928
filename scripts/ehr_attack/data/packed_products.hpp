// Products of a matrix with the values of a block of rows, by tiles that stay in registers.
//
// Matrices (outputs x depth) are packed in tiles of `kTile` outputs, the last one narrower: the biases of the tile,
// then its weights, depth by depth. Values of a block are laid out (index, lane): the lanes of an index are neighbours.

#pragma once

#include <cstddef>

#include "simd_lanes.hpp"

namespace {

constexpr int kTile = TILE;

inline size_t packed_floats(int outputs, int depth) { return size_t(outputs) * (depth + 1); }

inline int tile_width(int outputs, int first) { return outputs - first < kTile ? outputs - first : kTile; }

// Pack weight(output, k) for k < depth and bias(output).
template <class Weight, class Bias>
float* pack(float* to, int outputs, int depth, Weight weight, Bias bias) {
    for (int first = 0; first < outputs; first += kTile) {
        const int width = tile_width(outputs, first);
        for (int m = 0; m < width; m++) *to++ = bias(first + m);
        for (int k = 0; k < depth; k++)
            for (int m = 0; m < width; m++) *to++ = weight(first + m, k);
    }
    return to;
}

template <int M>
struct Tile {
    Lanes sum[M][kVectors];

    inline void start(const float* bias) {
#pragma GCC unroll 16
        for (int m = 0; m < M; m++)
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) sum[m][v] = splat(bias[m]);
    }

    inline void add(const float* weights, const float* values, int depth) {
        for (int k = 0; k < depth; k++, weights += M, values += kBlock) {
            Lanes value[kVectors];
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; v++) value[v] = load(values + v * kLanes);
#pragma GCC unroll 16
            for (int m = 0; m < M; m++) {
                const Lanes weight = splat(weights[m]);
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; v++) sum[m][v] = weight * value[v] + sum[m][v];
            }
        }
    }
};

// Values of a block, `depth` indices of them; a product may go over two such parts, one after the other.
struct Part {
    const float* values;
    int depth;
};

template <int M>
void product_tile(int width, const float* packed, Part first, Part second, float* result) {
    if (width < M) {
        if constexpr (M > 1) product_tile<M - 1>(width, packed, first, second, result);
        return;
    }
    Tile<M> tile;
    tile.start(packed);
    tile.add(packed + M, first.values, first.depth);
    tile.add(packed + M + M * first.depth, second.values, second.depth);
#pragma GCC unroll 16
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) store(result + m * kBlock + v * kLanes, tile.sum[m][v]);
}

// result (outputs, lane) = packed matrix times the values of both parts, plus bias. The matrix has `depth` columns, of
// which the last ones are left out where the parts are shorter.
void product(const float* packed, int outputs, int depth, Part first, Part second, float* result) {
    for (int output = 0; output < outputs; output += kTile) {
        const int width = tile_width(outputs, output);
        product_tile<kTile>(width, packed + packed_floats(output, depth), first, second, result + output * kBlock);
    }
}

void product(const float* packed, int outputs, int depth, const float* values, float* result) {
    product(packed, outputs, depth, {values, depth}, {nullptr, 0}, result);
}

}  // namespace
