#include "simd/kernels.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace coinr {
namespace {

int supported_level() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("popcnt"))
        return 0;
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
                        __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vpopcntdq") &&
                        __builtin_cpu_supports("bmi2");
    return avx512 ? 2 : 1;
#else
    return 0;
#endif
}

const Kernels* choose() {
    int level = supported_level();
    if (const char* value = std::getenv("COINR_SIMD"); value && *value) {
        const std::string name = value;
        const int requested = name == "portable" ? 0 : name == "avx2" ? 1 : name == "avx512" ? 2 : -1;
        if (requested < 0) throw std::runtime_error("COINR_SIMD is '" + name + "'; allowed: portable, avx2, avx512");
        if (requested < level) level = requested;
    }
#if defined(__x86_64__)
    if (level == 2) return &kKernelsAvx512;
    if (level == 1) return &kKernelsAvx2;
#endif
    return &kKernelsPortable;
}

}  // namespace

const Kernels& kernels() {
    static const Kernels* chosen = choose();
    return *chosen;
}

}  // namespace coinr
