#include "team.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace coinr {
namespace {

// Rounds of one pursuit follow each other within microseconds: look for a while before sleeping.
constexpr int kSpins = 4000;

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

}  // namespace

Team::Team(int threads) {
    if (threads < 1 || threads > 256)
        throw std::invalid_argument("threads is " + std::to_string(threads) + "; allowed: 1 to 256");
    try {
        for (int rank = 1; rank < threads; ++rank) workers_.emplace_back([this, rank] { work(rank); });
    } catch (...) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            stop_ = true;
            round_.fetch_add(1);
        }
        wake_.notify_all();
        for (std::thread& t : workers_) t.join();
        throw;
    }
}

Team::~Team() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
        round_.fetch_add(1);
    }
    wake_.notify_all();
    for (std::thread& t : workers_) t.join();
}

void Team::invoke(int rank) {
    try {
        (*task_)(rank);
    } catch (...) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!error_) error_ = std::current_exception();
    }
}

void Team::work(int rank) {
    uint64_t seen = 0;
    while (true) {
        for (int spin = 0; spin < kSpins && round_.load(std::memory_order_acquire) == seen; ++spin) pause();
        {
            std::unique_lock<std::mutex> lock(mutex_);
            wake_.wait(lock, [&] { return round_.load(std::memory_order_relaxed) != seen; });
            seen = round_.load(std::memory_order_relaxed);
            if (stop_) return;
        }
        invoke(rank);
        if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            std::lock_guard<std::mutex> lock(mutex_);
            done_.notify_one();
        }
    }
}

void Team::run(const std::function<void(int)>& task) {
    if (workers_.empty()) {
        task(0);
        return;
    }
    {
        std::lock_guard<std::mutex> lock(mutex_);
        task_ = &task;
        pending_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
        round_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    invoke(0);
    for (int spin = 0; spin < kSpins && pending_.load(std::memory_order_acquire) != 0; ++spin) pause();
    std::exception_ptr error;
    {
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [&] { return pending_.load(std::memory_order_acquire) == 0; });
        std::swap(error, error_);
    }
    if (error) std::rethrow_exception(error);
}

void Team::for_each(int64_t count, int64_t chunk, const std::function<void(int64_t, int)>& body) {
    if (count <= chunk || workers_.empty()) {  // not worth waking anyone
        for (int64_t index = 0; index < count; ++index) body(index, 0);
        return;
    }
    std::atomic<int64_t> next{0};
    run([&](int rank) {
        while (true) {
            const int64_t first = next.fetch_add(chunk, std::memory_order_relaxed);
            if (first >= count) return;
            for (int64_t index = first; index < std::min(first + chunk, count); ++index) body(index, rank);
        }
    });
}

}  // namespace coinr
