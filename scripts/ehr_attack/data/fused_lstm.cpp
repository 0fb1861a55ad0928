// Margins of an LSTM classifier and their gradients with respect to the input, on a CPU, float32.
//
// The model: one LSTM layer over the hours, the hidden state after the last valid hour, a dense layer with ReLU, two
// logits (`ehr_attack.models.lstm`). Rows lie in SIMD lanes: a block of them goes through the whole forward and
// backward pass while everything but the saved derivatives stays in the first two levels of cache. No operation mixes
// lanes, and every block is full (spare lanes hold zeros), so that the bits of a row depend on nothing but the row.
//
// Built at run time by `ehr_attack.attacks.gradients.compiler`, for the processor that it runs on.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "packed_products.hpp"

namespace {

constexpr int kGates = 4;
constexpr int kSaved = 6;  // values a unit and hour that the backward pass needs
constexpr int kTranspose = 16;

struct Sizes {
    int channels, hidden, dense, hours;
};

struct Weights {
    const float *gates, *dense, *output, *gates_to_hidden, *gates_to_input, *dense_to_hidden, *output_difference;
};

inline size_t model_floats(const Sizes& s) {
    return packed_floats(kGates * s.hidden, s.channels + s.hidden) + packed_floats(s.dense, s.hidden) +
           packed_floats(2, s.dense) + packed_floats(s.hidden, kGates * s.hidden) +
           packed_floats(s.channels, kGates * s.hidden) + packed_floats(s.hidden, s.dense) + s.dense;
}

Weights weights_of(const float* model, const Sizes& s) {
    Weights w;
    w.gates = model;
    w.dense = w.gates + packed_floats(kGates * s.hidden, s.channels + s.hidden);
    w.output = w.dense + packed_floats(s.dense, s.hidden);
    w.gates_to_hidden = w.output + packed_floats(2, s.dense);
    w.gates_to_input = w.gates_to_hidden + packed_floats(s.hidden, kGates * s.hidden);
    w.dense_to_hidden = w.gates_to_input + packed_floats(s.channels, kGates * s.hidden);
    w.output_difference = w.dense_to_hidden + packed_floats(s.hidden, s.dense);
    return w;
}

// Values of a block. `gates` become their gradients, and `inputs` the gradient, hour by hour, once the
// forward pass has read them.
struct Workspace {
    float *inputs, *saved, *gates, *hidden, *cell, *last_hidden, *dense, *logits, *d_dense, *d_last, *d_hidden, *d_cell;
};

inline size_t workspace_indices(const Sizes& s) {
    return size_t(s.hours) * (s.channels + kSaved * s.hidden) + size_t(s.hidden) * (6 + kGates) +
           2 * size_t(s.dense) + 2;
}

Workspace workspace_of(float* memory, const Sizes& s) {
    const auto take = [&memory](size_t indices) {
        float* const taken = memory;
        memory += indices * kBlock;
        return taken;
    };
    Workspace w;
    w.inputs = take(size_t(s.hours) * s.channels);
    w.saved = take(size_t(s.hours) * kSaved * s.hidden);
    w.hidden = take(s.hidden);
    w.cell = take(s.hidden);
    w.last_hidden = take(s.hidden);
    w.d_last = take(s.hidden);
    w.d_hidden = take(s.hidden);
    w.d_cell = take(s.hidden);
    w.gates = take(kGates * s.hidden);
    w.dense = take(s.dense);
    w.d_dense = take(s.dense);
    w.logits = take(2);
    return w;
}

// The rows of a block: valid hours and sign (+1 for label 0, -1 for label 1) of each lane.
struct Block {
    int rows, longest;
    int32_t lengths[kBlock];
    float signs[kBlock];
};

// One unit and vector of lanes, from its gates before their activations: the new cell and hidden state, and what the
// backward pass needs: derivatives of the hidden state by o and by the cell, of the cell by i, f, g and itself before.
inline Lanes step_unit(Lanes i_in, Lanes f_in, Lanes g_in, Lanes o_in, float* cell, float* saved) {
    const Lanes one = splat(1.0f);
    const Lanes i = sigmoid(i_in), f = sigmoid(f_in), g = hyperbolic_tangent(g_in), o = sigmoid(o_in);
    const Lanes before = load(cell);
    const Lanes after = f * before + i * g;
    const Lanes squashed = hyperbolic_tangent(after);
    store(cell, after);
    store(saved + 0 * kBlock, squashed * (o * (one - o)));
    store(saved + 1 * kBlock, o * (one - squashed * squashed));
    store(saved + 2 * kBlock, g * (i * (one - i)));
    store(saved + 3 * kBlock, before * (f * (one - f)));
    store(saved + 4 * kBlock, i * (one - g * g));
    store(saved + 5 * kBlock, f);
    return o * squashed;
}

// Keep the hidden state of the lanes whose last valid hour this is.
void keep_last(const Block& block, int hour, int hidden, const float* state, float* last_hidden) {
    for (int lane = 0; lane < kBlock; lane++)
        if (block.lengths[lane] == hour + 1)
            for (int unit = 0; unit < hidden; unit++) last_hidden[unit * kBlock + lane] = state[unit * kBlock + lane];
}

void forward(const Weights& weights, const Sizes& s, const Block& block, Workspace& w) {
    std::memset(w.cell, 0, sizeof(float) * kBlock * s.hidden);
    for (int hour = 0; hour < block.longest; hour++) {
        const Part inputs = {w.inputs + size_t(hour) * s.channels * kBlock, s.channels};
        const Part hidden = {w.hidden, hour ? s.hidden : 0};
        product(weights.gates, kGates * s.hidden, s.channels + s.hidden, inputs, hidden, w.gates);
        float* const saved = w.saved + size_t(hour) * kSaved * s.hidden * kBlock;
        for (int unit = 0; unit < s.hidden; unit++)
            for (int lane = unit * kBlock; lane < (unit + 1) * kBlock; lane += kLanes) {
                const float* const gate = w.gates + (kGates - 1) * unit * kBlock + lane;
                store(w.hidden + lane,
                      step_unit(load(gate), load(gate + kBlock), load(gate + 2 * kBlock), load(gate + 3 * kBlock),
                                w.cell + lane, saved + (kSaved - 1) * unit * kBlock + lane));
            }
        keep_last(block, hour, s.hidden, w.hidden, w.last_hidden);
    }
}

// From the last hidden state: margins, and the gradient of logit_y - logit_t by that state.
void head(const Weights& weights, const Sizes& s, const Block& block, Workspace& w, float* margins) {
    product(weights.dense, s.dense, s.hidden, w.last_hidden, w.dense);
    const Lanes zero = {};
    for (int unit = 0; unit < s.dense; unit++)
        for (int lane = unit * kBlock; lane < (unit + 1) * kBlock; lane += kLanes) {
            const Lanes active = load(w.dense + lane);
            const Lanes slope = splat(weights.output_difference[unit]) * load(block.signs + lane - unit * kBlock);
            store(w.d_dense + lane, active > zero ? slope : zero);
            store(w.dense + lane, active < zero ? zero : active);
        }
    product(weights.output, 2, s.dense, w.dense, w.logits);
    for (int row = 0; row < block.rows; row++)
        margins[row] = (w.logits[kBlock + row] - w.logits[row]) * block.signs[row];
    product(weights.dense_to_hidden, s.hidden, s.dense, w.d_dense, w.d_last);
}

// Put the gradient of the last hidden state into the lanes whose last valid hour this is; nothing came from later ones.
void seed_last(const Block& block, int hour, int hidden, const Workspace& w) {
    for (int lane = 0; lane < kBlock; lane++)
        if (block.lengths[lane] == hour + 1)
            for (int at = lane; at < hidden * kBlock; at += kBlock) {
                w.d_hidden[at] = w.d_last[at];
                w.d_cell[at] = 0.0f;
            }
}

void backward(const Weights& weights, const Sizes& s, const Block& block, Workspace& w) {
    std::memset(w.d_hidden, 0, sizeof(float) * kBlock * s.hidden);
    std::memset(w.d_cell, 0, sizeof(float) * kBlock * s.hidden);
    for (int hour = block.longest - 1; hour >= 0; hour--) {
        seed_last(block, hour, s.hidden, w);
        const float* saved = w.saved + size_t(hour) * kSaved * s.hidden * kBlock;
        for (int unit = 0; unit < s.hidden; unit++, saved += kSaved * kBlock)
            for (int lane = 0; lane < kBlock; lane += kLanes) {
                const int at = unit * kBlock + lane;
                const float* const of = saved + lane;
                float* const d_gate = w.gates + unit * kGates * kBlock + lane;
                const Lanes d_hidden = load(w.d_hidden + at);
                const Lanes d_cell = d_hidden * load(of + kBlock) + load(w.d_cell + at);
                store(d_gate + 0 * kBlock, d_cell * load(of + 2 * kBlock));
                store(d_gate + 1 * kBlock, d_cell * load(of + 3 * kBlock));
                store(d_gate + 2 * kBlock, d_cell * load(of + 4 * kBlock));
                store(d_gate + 3 * kBlock, d_hidden * load(of));
                store(w.d_cell + at, d_cell * load(of + 5 * kBlock));
            }
        product(weights.gates_to_input, s.channels, kGates * s.hidden, w.gates,
                w.inputs + size_t(hour) * s.channels * kBlock);
        if (hour) product(weights.gates_to_hidden, s.hidden, kGates * s.hidden, w.gates, w.d_hidden);
    }
}

// ---------------------------------------------------------------------------------------------------- rows to lanes

// Hours after a row's end are read as zero, whatever stands there; so are spare lanes.
void read_inputs(const float* inputs, const Sizes& s, const Block& block, float* lanes) {
    const int cells = s.hours * s.channels;
    for (int start = 0; start < block.longest * s.channels; start += kTranspose)
        for (int row = 0; row < kBlock; row++) {
            const int valid = row < block.rows ? block.lengths[row] * s.channels : 0;
            for (int cell = start; cell < start + kTranspose && cell < cells; cell++)
                lanes[size_t(cell) * kBlock + row] = cell < valid ? inputs[size_t(row) * cells + cell] : 0.0f;
        }
}

void write_gradient(const float* lanes, const Sizes& s, const Block& block, float* gradient) {
    const int cells = s.hours * s.channels;
    for (int start = 0; start < cells; start += kTranspose)
        for (int row = 0; row < block.rows; row++) {
            const int valid = block.lengths[row] * s.channels;
            for (int cell = start; cell < start + kTranspose && cell < cells; cell++)
                gradient[size_t(row) * cells + cell] = cell < valid ? lanes[size_t(cell) * kBlock + row] : 0.0f;
        }
}

Block block_of(int rows, const int64_t* lengths, const int64_t* labels) {
    Block block;
    block.rows = rows;
    block.longest = 0;
    for (int lane = 0; lane < kBlock; lane++) {
        block.lengths[lane] = lane < rows ? int32_t(lengths[lane]) : 1;
        block.signs[lane] = lane < rows ? float(1 - 2 * labels[lane]) : 1.0f;
        if (block.lengths[lane] > block.longest) block.longest = block.lengths[lane];
    }
    return block;
}

}  // namespace

extern "C" {

int ehr_lstm_block_rows() { return kBlock; }

int64_t ehr_lstm_model_floats(int channels, int hidden, int dense) {
    return int64_t(model_floats({channels, hidden, dense, 0}));
}

int64_t ehr_lstm_workspace_floats(int channels, int hidden, int dense, int hours) {
    return int64_t(workspace_indices({channels, hidden, dense, hours}) * kBlock);
}

// Pack the weights of torch's nn.LSTM (gates in the order i, f, g, o; both biases added already) and of two nn.Linear,
// each (outputs, inputs), row by row, into `model`.
void ehr_lstm_pack(int channels, int hidden, int dense, const float* weight_ih, const float* weight_hh,
                   const float* bias, const float* dense_weight, const float* dense_bias, const float* output_weight,
                   const float* output_bias, float* model) {
    // Gates are packed unit by unit: output 4 u + gate is torch's row gate x hidden + u.
    const auto row = [hidden](int output) { return size_t(output % kGates) * hidden + output / kGates; };
    const auto none = [](int) { return 0.0f; };
    const int gates = kGates * hidden;
    float* to = pack(
        model, gates, channels + hidden,
        [&](int out, int k) {
            return k < channels ? weight_ih[row(out) * channels + k] : weight_hh[row(out) * hidden + (k - channels)];
        },
        [&](int out) { return bias[row(out)]; });
    to = pack(
        to, dense, hidden, [&](int out, int k) { return dense_weight[size_t(out) * hidden + k]; },
        [&](int out) { return dense_bias[out]; });
    to = pack(
        to, 2, dense, [&](int out, int k) { return output_weight[size_t(out) * dense + k]; },
        [&](int out) { return output_bias[out]; });
    to = pack(to, hidden, gates, [&](int out, int k) { return weight_hh[row(k) * hidden + out]; }, none);
    to = pack(to, channels, gates, [&](int out, int k) { return weight_ih[row(k) * channels + out]; }, none);
    to = pack(to, hidden, dense, [&](int out, int k) { return dense_weight[size_t(k) * hidden + out]; }, none);
    for (int k = 0; k < dense; k++) *to++ = output_weight[k] - output_weight[dense + k];
}

// margins (rows,) = logit_t - logit_y; gradient (rows, hours, channels) of -margin by inputs (rows, hours, channels).
// lengths (rows,), 1 to hours, and labels (rows,), 0 or 1.
void ehr_lstm_gradient(int channels, int hidden, int dense, int hours, const float* model, int64_t rows,
                       const float* inputs, const int64_t* lengths, const int64_t* labels, float* margins,
                       float* gradient, float* workspace) {
    const Sizes sizes = {channels, hidden, dense, hours};
    const Weights weights = weights_of(model, sizes);
    Workspace values = workspace_of(workspace, sizes);
    for (int64_t first = 0; first < rows; first += kBlock) {
        const int64_t cell = first * hours * channels;
        const int count = int(rows - first < kBlock ? rows - first : kBlock);
        const Block block = block_of(count, lengths + first, labels + first);
        read_inputs(inputs + cell, sizes, block, values.inputs);
        forward(weights, sizes, block, values);
        head(weights, sizes, block, values, margins + first);
        backward(weights, sizes, block, values);
        write_gradient(values.inputs, sizes, block, gradient + cell);
    }
}

// The activations by themselves, for tests: count is a multiple of the lanes of a block.
void ehr_lstm_activations(int64_t count, const float* values, float* sigmoids, float* tangents) {
    for (int64_t at = 0; at < count; at += kLanes) {
        Lanes x;
        std::memcpy(&x, values + at, sizeof x);
        const Lanes s = sigmoid(x), t = hyperbolic_tangent(x);
        std::memcpy(sigmoids + at, &s, sizeof s);
        std::memcpy(tangents + at, &t, sizeof t);
    }
}

// Multiply and add in registers, without memory, as fast as the core can; returns the floating-point operations done.
double ehr_peak_operations(int64_t repeats, float* result) {
    constexpr int kChains = 12;
    Lanes sum[kChains];
    for (int chain = 0; chain < kChains; chain++) sum[chain] = splat(float(chain));
    const Lanes factor = splat(result[0]), term = splat(result[1]);
    for (int64_t k = 0; k < repeats; k++)
#pragma GCC unroll 16
        for (int chain = 0; chain < kChains; chain++) sum[chain] = sum[chain] * factor + term;
    Lanes total = {};
    for (int chain = 0; chain < kChains; chain++) total += sum[chain];
    result[2] = total[0];
    return double(repeats) * kChains * kLanes * 2;
}
}
