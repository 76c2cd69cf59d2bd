#include "team.hpp"

#include <algorithm>
#include <deque>
#include <stdexcept>
#include <string>
#include <utility>

namespace coinr {
namespace {

// Rounds of one pursuit follow each other within microseconds: look for a while before sleeping.
constexpr int kSpins = 4000;

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// Indices that wait for their next turn, by the thread that has them.
class Turns {
public:
    Turns(int64_t count, int threads) : waiting_(threads) {
        for (int64_t index = 0; index < count; ++index) waiting_[index % threads].push_back(index);
    }

    // Gives `index` back unless it is negative; returns the next one for this thread, or -1.
    int64_t next(int64_t index, int rank) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (index >= 0) waiting_[rank].push_back(index);
        if (waiting_[rank].empty()) {
            const auto most = std::max_element(waiting_.begin(), waiting_.end(), [](const auto& a, const auto& b) {
                return a.size() < b.size();
            });
            if (most->empty()) return -1;
            waiting_[rank].push_back(most->front());
            most->pop_front();
        }
        const int64_t first = waiting_[rank].front();
        waiting_[rank].pop_front();
        return first;
    }

private:
    std::mutex mutex_;
    std::vector<std::deque<int64_t>> waiting_;
};

}  // namespace

Team::Team(int threads) {
    if (threads < 1 || threads > 256)
        throw std::invalid_argument("threads is " + std::to_string(threads) + "; allowed: 1 to 256");
    try {
        for (int rank = 1; rank < threads; ++rank) workers_.emplace_back([this, rank] { work(rank); });
    } catch (...) {
        stop_ = true;
        announce();
        for (std::thread& t : workers_) t.join();
        throw;
    }
}

Team::~Team() {
    stop_ = true;
    announce();
    for (std::thread& t : workers_) t.join();
}

// Either a worker that goes to sleep sees the new round, or this sees that it sleeps.
void Team::announce() {
    round_.fetch_add(1);
    if (asleep_.load() == 0) return;
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
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
    for (uint64_t seen = 0;; ++seen) {
        for (int spin = 0; spin < kSpins && round_.load(std::memory_order_acquire) == seen; ++spin) pause();
        if (round_.load(std::memory_order_acquire) == seen) {
            std::unique_lock<std::mutex> lock(mutex_);
            asleep_.fetch_add(1);
            wake_.wait(lock, [&] { return round_.load() != seen; });
            asleep_.fetch_sub(1);
        }
        if (stop_) return;
        invoke(rank);
        if (pending_.fetch_sub(1) == 1 && waiting_.load()) {
            { std::lock_guard<std::mutex> lock(mutex_); }
            done_.notify_one();
        }
    }
}

void Team::run(const std::function<void(int)>& task) {
    if (workers_.empty()) {
        task(0);
        return;
    }
    task_ = &task;
    pending_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    announce();
    invoke(0);
    for (int spin = 0; spin < kSpins && pending_.load(std::memory_order_acquire) != 0; ++spin) pause();
    if (pending_.load(std::memory_order_acquire) != 0) {
        std::unique_lock<std::mutex> lock(mutex_);
        waiting_.store(true);
        done_.wait(lock, [&] { return pending_.load() == 0; });
        waiting_.store(false);
    }
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Team::for_each(int64_t count, int64_t chunk, const std::function<void(int64_t, int)>& body) {
    if (count <= chunk || workers_.empty()) {  // not worth waking anyone
        for (int64_t index = 0; index < count; ++index) body(index, 0);
        return;
    }
    std::atomic<int64_t> next{0};
    const int64_t shares = 4 * size();
    run([&](int rank) {
        int64_t first = next.load(std::memory_order_relaxed);
        while (first < count) {
            const int64_t stop = std::min(first + std::max(chunk, (count - first) / shares), count);
            if (!next.compare_exchange_weak(first, stop, std::memory_order_relaxed)) continue;
            for (; first < stop; ++first) body(first, rank);
            first = next.load(std::memory_order_relaxed);
        }
    });
}

void Team::deal(int64_t count, const std::function<void(int64_t, int)>& body) {
    if (count <= 1 || workers_.empty()) {
        for (int64_t index = 0; index < count; ++index) body(index, 0);
        return;
    }
    const int64_t members = size();
    run([&](int rank) {
        // To and fro: 0 1 2 2 1 0 0 1 2 for three.
        for (int64_t round = 0; round * members < count; ++round) {
            const int64_t index = round * members + (round % 2 == 0 ? rank : members - 1 - rank);
            if (index < count) body(index, rank);
        }
    });
}

void Team::take_turns(int64_t count, const std::function<bool(int64_t, int)>& body) {
    if (count <= 1 || workers_.empty()) {
        for (int64_t index = 0; index < count; ++index)
            while (body(index, 0)) {
            }
        return;
    }
    Turns turns(count, size());
    run([&](int rank) {
        for (int64_t index = turns.next(-1, rank); index >= 0;) index = turns.next(body(index, rank) ? index : -1, rank);
    });
}

}  // namespace coinr
