// A team of threads for one call. The threads themselves go on waiting for the next one.
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

    // Calls body(index, rank) for every index in [0, count), in chunks handed out as threads become free: large ones
    // first, since cores contend for every one, of `chunk` indices in the end.
    void for_each(int64_t count, int64_t chunk, const std::function<void(int64_t, int)>& body);

    // The same, an index going to the same member whenever there are as many: what it works on stays in its cache.
    // Indices of falling cost are shared evenly.
    void deal(int64_t count, const std::function<void(int64_t, int)>& body);

    // Calls body(index, rank) for every index in [0, count) until it returns false. A thread goes round the indices
    // that it has, and takes one from another when it has none left: those that go on equally long end nearly together.
    void take_turns(int64_t count, const std::function<bool(int64_t, int)>& body);

private:
    void announce();
    void work(int rank);
    void invoke(int rank);
    void dismiss();

    const int size_;
    std::fenv_t arithmetic_;       // of the caller, rounding and subnormal numbers: the same for all
    std::atomic<int> present_{0};  // workers that may still touch the team
    // A round is announced by its number and ended by the last worker; threads that look out for either take no lock.
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
