// Arrays that start on a cache line: vectors of 64 bytes read from others cost twice as much.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace coinr {

template <class T>
struct LineAllocator {
    using value_type = T;

    LineAllocator() = default;
    template <class U>
    LineAllocator(const LineAllocator<U>&) {}

    T* allocate(std::size_t count) {
        if (count > static_cast<std::size_t>(-1) / sizeof(T)) throw std::bad_alloc();
        return static_cast<T*>(::operator new(count * sizeof(T), kLine));
    }
    void deallocate(T* p, std::size_t) { ::operator delete(p, kLine); }

    template <class U>
    bool operator==(const LineAllocator<U>&) const { return true; }
    template <class U>
    bool operator!=(const LineAllocator<U>&) const { return false; }

private:
    static constexpr std::align_val_t kLine{64};
};

template <class T>
using Aligned = std::vector<T, LineAllocator<T>>;

}  // namespace coinr
