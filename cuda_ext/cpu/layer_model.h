// What a file says about the streams of a layer of the codec `rans`, and the streams themselves, checked.
#pragma once

#include <cstdlib>

#include "entropy.h"
#include "inputs.h"

namespace garv {

constexpr int kDirect = 20, kSigned = 2 * kDirect + 1;           // numbers of either sign with a bucket of their own
constexpr int64_t kNumUnsigned = 92, kNumSigned = kSigned + 84;  // buckets
constexpr int64_t kMaxHeight = 52, kMaxThresholds = 3;
constexpr int64_t kMaxStep = int64_t(1) << 40, kMaxMeanStep = int64_t(1) << 22, kMaxExponent = 20, kMinExponent = -20;

using Symbol = SymbolTable::Symbol;

inline Symbol unsigned_symbol(int64_t bucket) {
  if (bucket < 2) return {0, 0, bucket == 0 ? 0 : 1, 0};
  const int bits = static_cast<int>(bucket / 2 - 1);
  return {0, 0, ((2 + bucket % 2) << bits) - 1, static_cast<uint8_t>(bits)};
}

inline Symbol signed_symbol(int64_t bucket) {
  if (bucket < kSigned) return {0, 0, bucket - kDirect, 0};
  Symbol symbol = unsigned_symbol((bucket - kSigned) / 2);
  symbol.least += kDirect + 1;
  if ((bucket - kSigned) % 2 == 1) symbol.least = -symbol.least;
  return symbol;
}

struct Contexts {
  int64_t source, magnitude, thresholds;
  int64_t threshold[kMaxThresholds];
  std::vector<SymbolTable> tables;
};

struct Layer {
  std::vector<SymbolTable> gaps;  // one
  std::vector<Contexts> attributes;
  int64_t log_step, ratio_step, mean_step, cells[3];
};

struct Stream {
  const uint8_t* data;
  int64_t bytes, count, first;  // Gaussians, and how many come before them
};

class TableReader {
 public:
  TableReader(const Tensor& tables, const Tensor& heights)
      : table_(tables.const_data_ptr<int64_t>()),
        tables_(tables.size(0)),
        height_(heights.const_data_ptr<int64_t>()),
        heights_(heights.size(0)) {}

  SymbolTable next(int64_t buckets, Symbol (*symbol_of)(int64_t)) {
    STD_TORCH_CHECK(tables_ > 0, "contexts want more tables than there are");
    const int64_t first = table_[0], count = table_[1];
    STD_TORCH_CHECK(first >= 0 && count >= 1 && first < buckets && count <= buckets - first && count <= heights_,
                    "a table of ", count, " buckets from ", first, " on is none of ", buckets, " buckets");
    std::vector<int64_t> weights;
    std::vector<Symbol> symbols;
    for (int64_t k = 0; k < count; ++k) {
      STD_TORCH_CHECK(height_[k] >= 0 && height_[k] <= kMaxHeight, "a height is ", height_[k]);
      add(count == 1 ? kMaxHeight : height_[k], symbol_of(first + k), weights, symbols);
    }
    if (count == 1) add(0, symbol_of(first), weights, symbols);  // never comes
    table_ += 2, --tables_, height_ += count, heights_ -= count;
    return SymbolTable(weights, std::move(symbols));
  }

  bool done() const { return tables_ == 0 && heights_ == 0; }

 private:
  static void add(int64_t height, Symbol symbol, std::vector<int64_t>& weights, std::vector<Symbol>& symbols) {
    weights.push_back((height % 2 == 0 ? 1024ll : 1448ll) << height / 2);
    symbols.push_back(symbol);
  }

  const int64_t* table_;
  int64_t tables_;
  const int64_t* height_;
  int64_t heights_;
};

constexpr int64_t kFlat = -1;  // of one dimension

inline void check_longs(const Tensor& t, const char* name, int64_t columns) {
  check_cpu(t, name);
  STD_TORCH_CHECK(t.scalar_type() == ScalarType::Long, name, " must be int64");
  const bool fits = columns == kFlat ? t.dim() == 1 : t.dim() == 2 && t.size(1) == columns;
  STD_TORCH_CHECK(fits, name, " must have ", columns == kFlat ? "one dimension" : "rows of ",
                  columns == kFlat ? std::string() : std::to_string(columns) + " numbers");
}

inline Layer layer_of(const Tensor& tables, const Tensor& heights, const Tensor& contexts, const Tensor& steps) {
  check_longs(tables, "tables", 2);
  check_longs(heights, "heights", kFlat);
  check_longs(contexts, "contexts", 3 + kMaxThresholds);
  check_longs(steps, "steps", kFlat);
  STD_TORCH_CHECK(contexts.size(0) >= 6, "contexts must be those of 6 numbers and the colours");
  STD_TORCH_CHECK(steps.size(0) == 6, "steps must be six numbers");
  const int64_t* s = steps.const_data_ptr<int64_t>();
  Layer layer{{}, {}, s[0], s[1], s[2], {s[3], s[4], s[5]}};
  bool known = std::abs(s[0]) <= kMaxStep && std::abs(s[1]) <= kMaxStep && std::abs(s[2]) <= kMaxMeanStep;
  for (const int64_t cell : layer.cells) known = known && cell >= kMinExponent && cell <= kMaxExponent;
  STD_TORCH_CHECK(known, "steps are out of bounds");
  TableReader reader(tables, heights);
  layer.gaps.push_back(reader.next(kNumUnsigned, unsigned_symbol));
  const int64_t* row = contexts.const_data_ptr<int64_t>();
  for (int64_t k = 0; k < contexts.size(0); ++k, row += 3 + kMaxThresholds) {
    STD_TORCH_CHECK(row[0] >= -1 && row[0] < k && row[2] >= 0 && row[2] <= (row[0] < 0 ? 0 : kMaxThresholds),
                    "contexts of number ", k, " have source ", row[0], " and ", row[2], " thresholds");
    Contexts each{row[0], row[1], row[2], {row[3], row[4], row[5]}, {}};
    for (int64_t table = 0; table <= each.thresholds; ++table) {
      each.tables.push_back(reader.next(kNumSigned, signed_symbol));
    }
    layer.attributes.push_back(std::move(each));
  }
  STD_TORCH_CHECK(reader.done(), "there are more tables or heights than contexts want");
  return layer;
}

inline std::vector<Stream> streams_of(const Tensor& data, const Tensor& sizes, const Tensor& counts) {
  check_cpu(data, "data");
  STD_TORCH_CHECK(data.scalar_type() == ScalarType::Byte && data.dim() == 1, "data must be uint8 [bytes]");
  check_longs(sizes, "sizes", kFlat);
  check_longs(counts, "counts", kFlat);
  STD_TORCH_CHECK(sizes.size(0) == counts.size(0), "sizes and counts must be of as many streams");
  std::vector<Stream> streams;
  const uint8_t* at = data.const_data_ptr<uint8_t>();
  int64_t left = data.size(0), first = 0;
  for (int64_t k = 0; k < sizes.size(0); ++k) {
    const int64_t bytes = sizes.const_data_ptr<int64_t>()[k], count = counts.const_data_ptr<int64_t>()[k];
    STD_TORCH_CHECK(bytes >= 0 && bytes <= left, "a stream of ", bytes, " bytes passes the end of data");
    STD_TORCH_CHECK(count >= 0 && count / 8 <= bytes, "a stream of ", bytes, " bytes cannot hold ", count,
                    " Gaussians");
    streams.push_back({at, bytes, count, first});
    at += bytes, left -= bytes, first += count;
  }
  STD_TORCH_CHECK(left == 0, "data go on after the last stream");
  return streams;
}

}  // namespace garv
