// A team of threads for one call. The threads return to a pool and serve the next call.
#pragma once

#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>

namespace coinr {

class Team {
public:
    // `threads` in all, the caller's included. Throws std::invalid_argument unless it lies in 1..256.
    explicit Team(int threads);
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int size() const { return size_; }

    // Calls task(rank) once on every thread and returns when all are done; rethrows the first exception.
    void run(const std::function<void(int)>& task);

    // Calls body(index, rank) for every index in [0, count). Free threads take the next chunk (guided scheduling): the
    // first chunks are large because cores contend for each, the last ones have `chunk` indices.
    void for_each(int64_t count, int64_t chunk, const std::function<void(int64_t, int)>& body);

    // As for_each, with static scheduling: an index always goes to the same member of a team of this size, whose cache
    // then holds its data. Indices of falling cost are shared evenly.
    void for_each_static(int64_t count, const std::function<void(int64_t, int)>& body);

    // Calls body(index, rank) for every index in [0, count) until it returns false. Each thread cycles through its own
    // indices, and takes one from another thread when it has none left, so that all threads end at about the same time.
    void for_each_in_rounds(int64_t count, const std::function<bool(int64_t, int)>& body);

private:
    void announce();
    void work(int rank);
    void invoke(int rank);
    void dismiss();

    const int size_;
    std::fenv_t float_environment_;     // of the caller: workers round and treat subnormal numbers alike
    std::atomic<int> live_workers_{0};  // workers that may still touch the team
    // announce() increments the round; the last worker ends it. Threads that spin on either take no lock.
    std::atomic<uint64_t> round_{0};
    std::atomic<int> pending_{0}, asleep_{0};
    std::atomic<bool> waiting_{false};  // the caller sleeps
    const std::function<void(int)>* task_ = nullptr;
    bool stop_ = false;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::exception_ptr error_;
};

}  // namespace coinr
