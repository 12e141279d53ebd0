// Asymmetric numeral systems (Duda 2013) as docs/format.md has them: symbols out of a stack of 32-bit words.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace garv {

constexpr int kPrecision = 24;  // bits of a frequency
constexpr int kMostBits = 20;   // of a number without a model at a time

// A distribution over symbols 0 to K - 1, each of which stands for a number and bits that follow it.
class SymbolTable {
 public:
  struct Symbol {
    uint32_t start, frequency;  // of 2^24
    int64_t least;
    uint8_t bits;
  };

  // weights: positive whole numbers, 2 to 256 of them, whose sum double precision holds; `symbols` come without
  // frequencies.
  SymbolTable(const std::vector<int64_t>& weights, std::vector<Symbol> symbols)
      : symbols_(std::move(symbols)), first_(size_t(1) << kLookupBits) {
    const uint32_t count = static_cast<uint32_t>(weights.size());
    double sum = 0, before = 0;
    for (const int64_t weight : weights) sum += static_cast<double>(weight);
    const double scale = static_cast<double>((1u << kPrecision) - count) / sum;
    for (uint32_t k = 0; k < count; ++k) {
      symbols_[k].start = static_cast<uint32_t>(before * scale) + k;
      before += static_cast<double>(weights[k]);
    }
    for (uint32_t k = 0, entry = 0; k < count; ++k) {
      const uint32_t end = k + 1 < count ? symbols_[k + 1].start : 1u << kPrecision;
      symbols_[k].frequency = end - symbols_[k].start;
      for (; entry < first_.size() && entry << kShift < end; ++entry) first_[entry] = static_cast<uint8_t>(k);
    }
  }

  const Symbol& at(uint32_t quantile) const {
    const Symbol* symbol = &symbols_[first_[quantile >> kShift]];
    while (quantile - symbol->start >= symbol->frequency) ++symbol;
    return *symbol;
  }

 private:
  static constexpr int kLookupBits = 12, kShift = kPrecision - kLookupBits;

  std::vector<Symbol> symbols_;
  std::vector<uint8_t> first_;  // the symbol of the least quantile that begins with these bits
};

// Never reads outside of the words: where there are none left, what it gives means nothing.
class AnsDecoder {
 public:
  // words: little-endian, of any alignment; taken from their end.
  AnsDecoder(const uint8_t* words, int64_t count) : words_(words), left_(count), state_(0) {
    refill();
    valid_ = count == 0 || state_ != 0;
    refill();
  }

  // No writer ends a stream with a word of zeros.
  bool valid() const { return valid_; }

  const SymbolTable::Symbol& symbol(const SymbolTable& table) {
    const uint32_t quantile = static_cast<uint32_t>(state_) & kMask;
    const SymbolTable::Symbol& symbol = table.at(quantile);
    state_ = (state_ >> kPrecision) * symbol.frequency + (quantile - symbol.start);
    refill();
    return symbol;
  }

  // A number of 1 to kMostBits bits.
  uint32_t bits(int count) {
    const int rest = kPrecision - count;
    const uint32_t quantile = static_cast<uint32_t>(state_) & kMask;
    state_ = ((state_ >> kPrecision) << rest) | (quantile & ((1u << rest) - 1));
    refill();
    return quantile >> rest;
  }

  // `n` numbers at once, all of their lowest bits before the next ones: counts(i) bits are added to values(i).
  template <typename Counts, typename Values>
  void add_bits(int64_t n, const Counts& counts, const Values& values) {
    int most = 0;
    for (int64_t i = 0; i < n; ++i) most = std::max<int>(most, counts(i));
    for (int shift = 0; shift < most; shift += kMostBits) {
      for (int64_t i = 0; i < n; ++i) {
        const int count = std::min<int>(counts(i) - shift, kMostBits);
        if (count > 0) values(i) += static_cast<int64_t>(bits(count)) << shift;
      }
    }
  }

 private:
  static constexpr uint32_t kMask = (1u << kPrecision) - 1;

  void refill() {
    if (state_ >> 32 != 0 || left_ == 0) return;
    uint32_t word;
    std::memcpy(&word, words_ + 4 * --left_, 4);
    state_ = state_ << 32 | word;
  }

  const uint8_t* words_;
  int64_t left_;
  uint64_t state_;
  bool valid_;
};

}  // namespace garv
