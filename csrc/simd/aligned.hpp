// Arrays that start on a cache line: unaligned reads of 64 bytes cost twice as much.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace coinr {

template <class T>
struct LineAllocator {
    using value_type = T;

    LineAllocator() = default;
    template <class U>
    LineAllocator(const LineAllocator<U>&) {}

    // Allocates a line more, and stores the start of the allocation before the aligned array: aligned_alloc is slower.
    T* allocate(std::size_t count) {
        if (count > (static_cast<std::size_t>(-1) - kLine) / sizeof(T)) throw std::bad_alloc();
        char* const start = static_cast<char*>(::operator new(count * sizeof(T) + kLine));
        char* const line = start + kLine - reinterpret_cast<std::uintptr_t>(start) % kLine;
        reinterpret_cast<void**>(line)[-1] = start;
        return reinterpret_cast<T*>(line);
    }
    void deallocate(T* p, std::size_t) { ::operator delete(reinterpret_cast<void**>(p)[-1]); }

    template <class U>
    bool operator==(const LineAllocator<U>&) const { return true; }
    template <class U>
    bool operator!=(const LineAllocator<U>&) const { return false; }

private:
    static constexpr std::size_t kLine = 64;
    static_assert(__STDCPP_DEFAULT_NEW_ALIGNMENT__ >= sizeof(void*), "a pointer fits before the line");
};

template <class T>
using Aligned = std::vector<T, LineAllocator<T>>;

}  // namespace coinr
