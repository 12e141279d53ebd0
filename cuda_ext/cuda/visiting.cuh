// From Gaussians to the blocks of 2x2 tiles that they reach: the ellipse that each reaches at a time, the rows of
// blocks that it touches, the blocks of each row; and, for a fit's lists, how that work is dealt out to the threads
// anew at every step, as there is more of it for one Gaussian than for another.
#pragma once

#include <cub/block/block_scan.cuh>

#include "common.cuh"

namespace garv {

constexpr int kVisitThreads = 256;                     // and Gaussians a thread block looks at
constexpr int kFramesPerVisit = 32;                    // one bit each
constexpr int kTilesPerSide = kBlockSize / kTileSize;  // of a block
constexpr int kTilesPerBlock = kTilesPerSide * kTilesPerSide;

// The blocks that cover an image, from its corner on.
struct Blocks {
  int left, top;  // of the first sample
  int columns, rows;
};

// An entry of a list: a Gaussian, and a bit for each of the block's tiles that it touches.
constexpr int kIdBits = 32 - kTilesPerBlock;

__device__ __forceinline__ unsigned entry_of(int id, unsigned tiles) { return tiles << kIdBits | id; }
__device__ __forceinline__ int id_of(unsigned entry) { return entry & ((1u << kIdBits) - 1); }
__device__ __forceinline__ bool touches(unsigned entry, int tile) { return entry >> (kIdBits + tile) & 1; }

// The part of the plane that a Gaussian reaches at one time.
struct Reached {
  float x, y;             // mean, from the blocks' corner
  float r2;               // squared radius in standard deviations
  float tilt;             // dy at which the ellipse is widest, on the right; the opposite on the left
  float shift, variance;  // of x given y: mean over dy, and variance
  float inverse;          // one over the variance of y
  int row0, row1;         // rows of blocks

  Reached() = default;

  __device__ __forceinline__ Reached(const Blocks& blocks, const Slice<float>& g, float reach) {
    const float variance_y = g.b * g.b + g.c * g.c, radius = sqrtf(reach);
    x = g.x - blocks.left;
    y = g.y - blocks.top;
    r2 = reach;
    tilt = radius * g.b;
    inverse = 1.f / variance_y;
    shift = g.a * g.b * inverse;
    variance = g.a * g.a * g.c * g.c * inverse;
    const float half = radius * sqrtf(variance_y);
    // Any comparison with NaN fails, so a Gaussian that is not a number touches nothing.
    const bool sound = half >= 0.f && fabsf(x) + fabsf(y) < INFINITY;
    row0 = sound ? first_square<kBlockSize>(y - half, 0, blocks.rows) : 0;
    row1 = sound ? past_last_square<kBlockSize>(y + half, 0, blocks.rows) : 0;
  }

  // Those of the squares [begin, end) of a row, of `kSide` samples each, that hold a point of the ellipse between their
  // sample centres, as [first, past last): the extent of the ellipse within the row's band of y is an interval, and its
  // ends are where the band comes nearest to the ellipse's own widest points. Finds what box_distance finds, for a
  // whole row at once.
  template <int kSide>
  __device__ __forceinline__ int2 touched(int row, int begin, int end) const {
    const float y0 = row * kSide + 0.5f - y, y1 = y0 + (kSide - 1);
    const float right = fminf(fmaxf(tilt, y0), y1), left = fminf(fmaxf(-tilt, y0), y1);
    const float right2 = variance * (r2 - right * right * inverse), left2 = variance * (r2 - left * left * inverse);
    if (right2 < 0.f && left2 < 0.f) return {begin, begin};  // the band lies above or below
    return {first_square<kSide>(x + fmaf(shift, left, -sqrtf(fmaxf(left2, 0.f))), begin, end),
            past_last_square<kSide>(x + fmaf(shift, right, sqrtf(fmaxf(right2, 0.f))), begin, end)};
  }

  // Bits [first, past last); none if the first is not before that.
  __device__ __forceinline__ static unsigned bits(int first, int past_last) {
    return (1u << max(first, past_last)) - (1u << first);
  }

  // Columns of blocks [first, past last), of an ellipse that is `half` wide to either side.
  __device__ __forceinline__ int2 columns(float half, int columns) const {
    return {first_square<kBlockSize>(x - half, 0, columns), past_last_square<kBlockSize>(x + half, 0, columns)};
  }

  // A bit for each tile of a block, row by row.
  __device__ __forceinline__ unsigned tiles(int column, int row) const {
    const int first = column * kTilesPerSide;
    unsigned found = 0;
#pragma unroll
    for (int y = 0; y < kTilesPerSide; ++y) {
      const int2 c = touched<kTileSize>(row * kTilesPerSide + y, first, first + kTilesPerSide);
      found |= bits(c.x - first, c.y - first) << (y * kTilesPerSide);
    }
    return found;
  }

 private:
  // The first square whose sample centres end at or after v, and the one past the last whose begin at or before it. The
  // conversion takes what is infinite to the largest number.
  template <int kSide>
  __device__ __forceinline__ static int first_square(float v, int begin, int end) {
    return clamped(__float2int_ru((v - (kSide - 0.5f)) * (1.f / kSide)), begin, end);
  }

  template <int kSide>
  __device__ __forceinline__ static int past_last_square(float v, int begin, int end) {
    return clamped(__float2int_rd((v - 0.5f) * (1.f / kSide)), begin - 1, end - 1) + 1;
  }
};

// A Gaussian at a frame at which it is alive.
struct Living {
  int id, frame;
};

// A row of blocks that an ellipse reaches.
struct ReachedRow {
  int owner, row, first;  // thread whose ellipse it is, row and first column of blocks
};

using VisitScan = cub::BlockScan<int, kVisitThreads>;

struct VisitShared {
  typename VisitScan::TempStorage scan;
  unsigned alive[kVisitThreads];  // frames at which the thread's Gaussian is alive
  Living living[kVisitThreads];
  Reached reached[kVisitThreads];
  ReachedRow rows[kVisitThreads];
  int first_living[kVisitThreads];
  int first_row[kVisitThreads];
  int first_block[kVisitThreads];
  int64_t place;  // of the round's first pair
};

// Exclusive prefix sums of the threads' counts into `firsts`; calls reserve(total) once and returns the total.
template <typename Shared, typename Reserve>
__device__ __forceinline__ int deal_out(Shared& shared, int count, int* firsts, const Reserve& reserve) {
  int first, total;
  VisitScan(shared.scan).ExclusiveSum(count, first, total);
  firsts[threadIdx.x] = first;
  if (threadIdx.x == 0) reserve(total);
  __syncthreads();
  return total;
}

// The last entry that starts at or before k.
__device__ __forceinline__ int owner_of(const int* firsts, int k) {
  int low = 0, high = kVisitThreads;
  while (high - low > 1) {
    const int middle = (low + high) >> 1;
    (firsts[middle] <= k ? low : high) = middle;
  }
  return low;
}

// The next free place in a list, from its counter: lanes with the same list ask once, for neighbours in memory are
// often neighbours in the image, and one counter takes one request at a time. What does not need the place goes before
// `get`, while the answer is under way.
class PlaceInList {
 public:
  // By all `lanes` of a warp together; those whose counter is null want none.
  __device__ __forceinline__ PlaceInList(int* counter, unsigned lanes) : lanes_(lanes) {
    peers_ = __match_any_sync(lanes, reinterpret_cast<unsigned long long>(counter));
    first_ = counter != nullptr && lane() == leader() ? atomicAdd(counter, __popc(peers_)) : 0;
  }

  // Answers are handed around by all lanes together: if those of each list did so for themselves, they would go on one
  // list after the other.
  __device__ __forceinline__ int get() const {
    return __shfl_sync(lanes_, first_, leader()) + __popc(peers_ & ((1u << lane()) - 1));
  }

 private:
  __device__ __forceinline__ static int lane() { return threadIdx.x % 32; }
  __device__ __forceinline__ int leader() const { return __ffs(peers_) - 1; }

  unsigned lanes_, peers_;
  int first_;
};

// What a visit needs to know of the Gaussians:
//   void slice(Living, Slice<float>&, float& reach): one Gaussian at one time
//   int64_t reserve(int pairs): the first of as many places, for lists that are put together later
//   void add(Living, const Reached&, int column, int row, int64_t place): a pair that was found
template <typename Lists>
__device__ __forceinline__ void visit_rows(const Lists& lists, VisitShared& shared, const Blocks& blocks, int k,
                                           int rows) {
  int mine = 0;
  if (k < rows) {
    const int owner = owner_of(shared.first_row, k);
    const int row = shared.reached[owner].row0 + k - shared.first_row[owner];
    const int2 touched = shared.reached[owner].touched<kBlockSize>(row, 0, blocks.columns);
    mine = max(0, touched.y - touched.x);
    shared.rows[threadIdx.x] = {owner, row, touched.x};
  }
  const int total = deal_out(shared, mine, shared.first_block, [&](int pairs) { shared.place = lists.reserve(pairs); });
  for (int pair = threadIdx.x; pair < total; pair += kVisitThreads) {
    const int found = owner_of(shared.first_block, pair);
    const ReachedRow row = shared.rows[found];
    const int column = row.first + pair - shared.first_block[found];
    lists.add(shared.living[row.owner], shared.reached[row.owner], column, row.row, shared.place + pair);
  }
}

template <typename Lists>
__device__ __forceinline__ void visit_living(const Lists& lists, VisitShared& shared, const Blocks& blocks,
                                             int first_id, int first_frame, int k, int living) {
  int mine = 0;
  if (k < living) {
    const int owner = owner_of(shared.first_living, k);
    unsigned frames = shared.alive[owner];
    for (int skip = k - shared.first_living[owner]; skip > 0; --skip) frames &= frames - 1;
    const Living who = {first_id + owner, first_frame + __ffs(frames) - 1};
    Slice<float> slice;
    float reach;
    lists.slice(who, slice, reach);
    const Reached reached(blocks, slice, reach);
    mine = max(0, reached.row1 - reached.row0);
    shared.living[threadIdx.x] = who;
    shared.reached[threadIdx.x] = reached;
  }
  const int rows = deal_out(shared, mine, shared.first_row, [](int) {});
  for (int first = 0; first < rows; first += kVisitThreads) {
    visit_rows(lists, shared, blocks, first + threadIdx.x, rows);
    __syncthreads();
  }
}

// Finds all pairs of kVisitThreads Gaussians from `first_id` on; `alive` has a bit for each frame from `first_frame` on
// at which the thread's own is alive.
template <typename Lists>
__device__ __forceinline__ void visit(const Lists& lists, VisitShared& shared, const Blocks& blocks, int first_id,
                                      int first_frame, unsigned alive) {
  shared.alive[threadIdx.x] = alive;
  const int living = deal_out(shared, __popc(alive), shared.first_living, [](int) {});
  for (int first = 0; first < living; first += kVisitThreads) {
    visit_living(lists, shared, blocks, first_id, first_frame, first + threadIdx.x, living);
    __syncthreads();
  }
}

}  // namespace garv
