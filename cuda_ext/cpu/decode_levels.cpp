// Streams of one layer of the codec `rans` to whole numbers, a thread a stream; docs/format.md says what stands where.

#include <cmath>

#include "kernels.h"
#include "layer_model.h"
#include "parallel.h"

namespace garv {
namespace {

constexpr uint32_t kMaxBoxBucket = 60;
enum Status : int64_t { kFine, kNoWords, kBoxOutside, kCellOutside };

struct Box {
  int64_t origin[3], sides[3];
};

// Rows of N numbers each.
struct Output {
  int64_t total;
  int32_t* attributes;
  int64_t *exponents, *positions;
};

#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif

// How many of 2^(1/2), 2, 2^(3/2) ... are at most `lean`, which is at least 1.
int64_t quarters(double lean) {
  int exponent;
  const double part = std::frexp(lean, &exponent);
  return 2 * int64_t(exponent - 1) + (part >= 1.4142135623730951 / 2);
}

// log2 of the steps of x, y, t, of a shape's six numbers. Every reader has to find the same, so nothing is fused.
void find_exponents(const Layer& layer, const int32_t* shape, int64_t* exponents) {
  const double ratio = static_cast<double>(layer.ratio_step) / 65536;
  const double a = shape[3] * ratio, b = shape[4] * ratio, c = shape[5] * ratio;
  const double lean = b - c * a;
  const int64_t turned[3] = {quarters(1 + c * c), 0, quarters((1 + a * a) + lean * lean)};
  const int64_t logs[3] = {shape[1], shape[2], shape[0]};
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t size = logs[axis] * layer.log_step + layer.mean_step - 16384 * turned[axis] + 32768;
    exponents[axis] = std::min(std::max<int64_t>(size >> 16, kMinExponent), layer.cells[axis]);
  }
}

#if !defined(__clang__)
#pragma GCC pop_options
#endif

class StreamDecoder {
 public:
  StreamDecoder(const Layer& layer, const Stream& stream, const Output& out)
      : layer_(layer), coder_(stream.data, stream.bytes / 4), count_(stream.count), first_(stream.first), out_(out) {}

  Status run() {
    if (!coder_.valid()) return kNoWords;
    Box box;
    if (!read_box(box)) return kBoxOutside;
    if (!read_cells(box)) return kCellOutside;
    for (size_t k = 0; k < layer_.attributes.size(); ++k) read_attribute(layer_.attributes[k], attribute(k));
    read_positions();
    return kFine;
  }

 private:
  int32_t* attribute(int64_t k) const { return out_.attributes + k * out_.total + first_; }
  int64_t* exponent(int axis) const { return out_.exponents + axis * out_.total + first_; }
  int64_t* position(int axis) const { return out_.positions + axis * out_.total + first_; }

  bool read_box(Box& box) {
    Symbol symbols[6];
    for (Symbol& symbol : symbols) {
      const uint32_t bucket = coder_.bits(7);
      if (bucket >= kMaxBoxBucket) return false;
      symbol = unsigned_symbol(bucket);
    }
    coder_.add_bits(6, [&](int64_t i) { return symbols[i].bits; }, [&](int64_t i) -> int64_t& {
      return symbols[i].least;
    });
    for (int axis = 0; axis < 3; ++axis) {
      const int64_t origin = symbols[axis].least;
      box.origin[axis] = origin % 2 == 0 ? origin / 2 : -(origin + 1) / 2;
      box.sides[axis] = symbols[3 + axis].least + 1;
    }
    return true;
  }

  // Into the positions; false where a cell lies outside of the box.
  bool read_cells(const Box& box) {
    std::vector<int64_t> gaps(count_);
    lengths_.resize(count_);
    for (int64_t i = 0; i < count_; ++i) {
      const Symbol& symbol = coder_.symbol(layer_.gaps[0]);
      gaps[i] = symbol.least;
      lengths_[i] = symbol.bits;
    }
    coder_.add_bits(count_, [&](int64_t i) { return lengths_[i]; }, [&](int64_t i) -> int64_t& { return gaps[i]; });
    int64_t x = 0, y = 0, t = 0;
    for (int64_t i = 0; i < count_; ++i) {
      x += gaps[i];
      if (x >= box.sides[0]) y += x / box.sides[0], x %= box.sides[0];
      if (y >= box.sides[1]) t += y / box.sides[1], y %= box.sides[1];
      if (t >= box.sides[2]) return false;
      position(0)[i] = x + box.origin[0], position(1)[i] = y + box.origin[1], position(2)[i] = t + box.origin[2];
    }
    return true;
  }

  void read_attribute(const Contexts& contexts, int32_t* values) {
    int64_t ends[kMaxThresholds + 1];
    sort_by_table(contexts, ends);
    long_.clear();
    int64_t row = 0;
    for (int64_t table = 0; table <= contexts.thresholds; ++table) {
      for (; row < ends[table]; ++row) {
        const Symbol& symbol = coder_.symbol(contexts.tables[table]);
        const int32_t i = rows_[row];
        values[i] = static_cast<int32_t>(symbol.least);
        lengths_[i] = symbol.bits;
        if (symbol.bits > 0) long_.push_back(i);
      }
    }
    std::sort(long_.begin(), long_.end());
    for (const int32_t i : long_) {  // of a signed number at most kMostBits
      const int32_t bits = static_cast<int32_t>(coder_.bits(lengths_[i]));
      values[i] += values[i] < 0 ? -bits : bits;
    }
  }

  // rows_: the Gaussians of table 0 in turn, those of table 1, and so on, to below ends[table].
  void sort_by_table(const Contexts& contexts, int64_t* ends) {
    rows_.resize(count_);
    tables_.assign(count_, 0);
    int64_t starts[kMaxThresholds + 2] = {};
    if (contexts.thresholds > 0) {
      const int32_t* values = attribute(contexts.source);
      for (int64_t i = 0; i < count_; ++i) {
        const int64_t value = contexts.magnitude ? std::abs(values[i]) : values[i];
        for (int64_t k = 0; k < contexts.thresholds; ++k) tables_[i] += value >= contexts.threshold[k];
      }
    }
    for (const uint8_t table : tables_) ++starts[table + 1];
    for (int64_t k = 0; k <= contexts.thresholds; ++k) starts[k + 1] += starts[k];
    for (int64_t i = 0; i < count_; ++i) rows_[starts[tables_[i]]++] = static_cast<int32_t>(i);
    std::copy(starts, starts + contexts.thresholds + 1, ends);
  }

  void read_positions() {
    std::vector<int64_t> inside(3 * count_, 0);
    std::vector<int8_t> finer(3 * count_);
    for (int64_t i = 0; i < count_; ++i) {
      int32_t shape[6];
      for (int k = 0; k < 6; ++k) shape[k] = attribute(k)[i];
      int64_t exponents[3];
      find_exponents(layer_, shape, exponents);
      for (int axis = 0; axis < 3; ++axis) {
        exponent(axis)[i] = exponents[axis];
        finer[3 * i + axis] = static_cast<int8_t>(layer_.cells[axis] - exponents[axis]);
      }
    }
    coder_.add_bits(3 * count_, [&](int64_t k) { return finer[k]; }, [&](int64_t k) -> int64_t& { return inside[k]; });
    for (int64_t i = 0; i < count_; ++i) {
      for (int axis = 0; axis < 3; ++axis) {
        const uint64_t cell = static_cast<uint64_t>(position(axis)[i]) << finer[3 * i + axis];
        position(axis)[i] = static_cast<int64_t>(cell | static_cast<uint64_t>(inside[3 * i + axis]));
      }
    }
  }

  const Layer& layer_;
  AnsDecoder coder_;
  const int64_t count_, first_;
  const Output out_;
  std::vector<uint8_t> lengths_, tables_;
  std::vector<int32_t> rows_, long_;
};

}  // namespace

std::tuple<Tensor, Tensor, Tensor, Tensor> decode_levels(Tensor data, Tensor sizes, Tensor counts, Tensor tables,
                                                         Tensor heights, Tensor contexts, Tensor steps) {
  const Layer layer = layer_of(tables, heights, contexts, steps);
  const std::vector<Stream> streams = streams_of(data, sizes, counts);
  const int64_t total = streams.empty() ? 0 : streams.back().first + streams.back().count;
  STD_TORCH_CHECK(total < std::numeric_limits<int32_t>::max(), "at most 2^31 Gaussians, got ", total);
  const int64_t numbers = contexts.size(0), count = streams.size();
  Tensor attributes = torch::stable::new_empty(data, {numbers, total}, ScalarType::Int);
  Tensor exponents = torch::stable::new_empty(data, {3, total}, ScalarType::Long);
  Tensor positions = torch::stable::new_empty(data, {3, total}, ScalarType::Long);
  Tensor status = torch::stable::new_empty(data, {count}, ScalarType::Long);
  const Output out{total, attributes.mutable_data_ptr<int32_t>(), exponents.mutable_data_ptr<int64_t>(),
                   positions.mutable_data_ptr<int64_t>()};
  int64_t* found = status.mutable_data_ptr<int64_t>();
  for_each_parallel(count, [&](int64_t k) {
    const Stream& stream = streams[k];
    const bool whole = stream.bytes % 4 == 0;
    found[k] = !whole ? kNoWords : stream.count == 0 ? kFine : StreamDecoder(layer, stream, out).run();
  });
  return std::make_tuple(attributes, exponents, positions, status);
}

}  // namespace garv
