// Entries per second of three layouts of `gaussian` atoms: popcounts of 8, 16 or 32 bits of Philox4x32-10 words.
// Built and run by bench/speed/atom_layout.py; needs AVX-512 with BITALG and VPOPCNTDQ.
#include <immintrin.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace {

struct Words {
  __m512i w[4];
};

// 32 x 32 -> high and low 32 bits in each of 16 lanes.
inline void multiply(__m512i a, uint32_t b, __m512i& high, __m512i& low) {
  const __m512i m = _mm512_set1_epi32(static_cast<int>(b));
  const __m512i even = _mm512_mul_epu32(a, m);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), m);
  low = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
  high = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
}

inline Words philox(__m512i j, uint32_t call, uint64_t seed) {
  Words x{{j, _mm512_set1_epi32(static_cast<int>(call)), _mm512_setzero_si512(), _mm512_set1_epi32(1)}};
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    __m512i high0, low0, high1, low1;
    multiply(x.w[0], 0xD2511F53u, high0, low0);
    multiply(x.w[2], 0xCD9E8D57u, high1, low1);
    x.w[0] = _mm512_xor_si512(_mm512_xor_si512(high1, x.w[1]), _mm512_set1_epi32(static_cast<int>(k0)));
    x.w[2] = _mm512_xor_si512(_mm512_xor_si512(high0, x.w[3]), _mm512_set1_epi32(static_cast<int>(k1)));
    x.w[1] = low1;
    x.w[3] = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return x;
}

template <int Bits>
inline int8_t* store(const Words& x, int8_t* out) {
  for (int k = 0; k < 4; ++k) {
    if constexpr (Bits == 8) {
      _mm512_storeu_si512(out, _mm512_sub_epi8(_mm512_popcnt_epi8(x.w[k]), _mm512_set1_epi8(4)));
      out += 64;
    } else if constexpr (Bits == 16) {
      const __m512i counts = _mm512_sub_epi16(_mm512_popcnt_epi16(x.w[k]), _mm512_set1_epi16(8));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi16_epi8(counts));
      out += 32;
    } else {
      const __m512i counts = _mm512_sub_epi32(_mm512_popcnt_epi32(x.w[k]), _mm512_set1_epi32(16));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(counts));
      out += 16;
    }
  }
  return out;
}

// 1024 atoms of 128 entries, again and again, in a buffer that stays in the second-level cache.
template <int Bits>
double rate(uint64_t seed) {
  constexpr int atoms = 1024, n = 128, calls = n * Bits / 128;
  std::vector<int8_t> tile(atoms * n + 64);
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  long sum = 0, made = 0;
  const auto start = std::chrono::steady_clock::now();
  double seconds = 0;
  for (uint32_t pass = 0; seconds < 0.3; ++pass) {
    int8_t* out = tile.data();
    for (int j = 0; j < atoms; j += 16) {
      const __m512i counter = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(pass * atoms + j)));
      for (int call = 0; call < calls; ++call) out = store<Bits>(philox(counter, call, seed), out);
    }
    sum += tile[pass % (atoms * n)];
    made += atoms * n;
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  return sum == 1 << 30 ? 0 : made / seconds;
}

}  // namespace

int main() {
  for (int repeat = 0; repeat < 7; ++repeat) std::printf("%g %g %g\n", rate<8>(1), rate<16>(2), rate<32>(3));
}
