#include "threads/thread_pool.hpp"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace coinr {
namespace {

// Rounds of one pursuit follow each other within microseconds: look for a while before sleeping.
constexpr int kSpins = 4000;

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// Threads that no team has at the moment. They are never joined: those that wait when the process ends hold nothing.
class Crew {
public:
    Crew() {
        idle_.reserve(most_);
        pthread_atfork(lock, unlock, start_over);
    }

    // Runs `job` on a thread, and lowers `present` when the thread is to be had again. The job must not end before this
    // returns.
    void start(std::function<void()> job, std::atomic<int>& present) {
        Worker* const worker = find();
        {
            std::lock_guard<std::mutex> lock(worker->mutex);
            worker->job.swap(job);
            worker->present = &present;
            worker->called.store(true, std::memory_order_release);
        }
        worker->call.notify_one();
    }

private:
    struct Worker {
        std::mutex mutex;
        std::condition_variable call;
        std::atomic<bool> called{false};
        std::function<void()> job;
        std::atomic<int>* present = nullptr;
    };

    // A forked process has none of the threads.
    static void lock();
    static void unlock();
    static void start_over();

    Worker* find() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (!idle_.empty()) {
                Worker* const worker = idle_.back();
                idle_.pop_back();
                return worker;
            }
        }
        // Signals are for the threads of the program.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        auto fresh = std::make_unique<Worker>();
        try {
            std::thread([this, worker = fresh.get()] { serve(worker); }).detach();
        } catch (...) {
            pthread_sigmask(SIG_SETMASK, &before, nullptr);
            throw;
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        return fresh.release();
    }

    void serve(Worker* worker) {
        while (true) {
            for (int spin = 0; spin < kSpins && !worker->called.load(std::memory_order_acquire); ++spin) pause();
            std::function<void()> job;
            std::atomic<int>* present;
            {
                std::unique_lock<std::mutex> lock(worker->mutex);
                worker->call.wait(lock, [&] { return worker->called.load(); });
                worker->called.store(false);
                job.swap(worker->job);
                present = worker->present;
            }
            job();
            bool kept;
            {
                std::lock_guard<std::mutex> lock(mutex_);
                kept = idle_.size() < most_;
                if (kept) idle_.push_back(worker);
            }
            present->fetch_sub(1);
            if (!kept) {
                delete worker;
                return;
            }
        }
    }

    const size_t most_ = std::max(1u, std::thread::hardware_concurrency());
    std::mutex mutex_;
    std::vector<Worker*> idle_;
};

Crew& crew = *new Crew;

void Crew::lock() { crew.mutex_.lock(); }
void Crew::unlock() { crew.mutex_.unlock(); }
void Crew::start_over() {
    crew.idle_.clear();
    crew.mutex_.unlock();
}

int checked(int threads) {
    if (threads < 1 || threads > 256)
        throw std::invalid_argument("threads is " + std::to_string(threads) + "; allowed: 1 to 256");
    return threads;
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

Team::Team(int threads) : size_(checked(threads)) {
    std::fegetenv(&arithmetic_);
    try {
        for (int rank = 1; rank < size_; ++rank) {
            present_.fetch_add(1);
            crew.start([this, rank] { work(rank); }, present_);
        }
    } catch (...) {
        present_.fetch_sub(1);
        dismiss();
        throw;
    }
}

Team::~Team() { dismiss(); }

void Team::dismiss() {
    if (present_.load() == 0) return;
    stop_ = true;
    announce();
    for (int spin = 0; present_.load() != 0; ++spin) {
        if (spin < kSpins)
            pause();
        else
            std::this_thread::yield();
    }
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
    std::fesetenv(&arithmetic_);
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
    if (size_ == 1) {
        task(0);
        return;
    }
    task_ = &task;
    pending_.store(size_ - 1, std::memory_order_relaxed);
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
    if (count <= chunk || size_ == 1) {  // not worth waking anyone
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
    if (count <= 1 || size_ == 1) {
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
    if (count <= 1 || size_ == 1) {
        for (int64_t index = 0; index < count; ++index)
            while (body(index, 0)) {
            }
        return;
    }
    Turns turns(count, size());
    run([&](int rank) {
        int64_t index = turns.next(-1, rank);
        while (index >= 0) index = turns.next(body(index, rank) ? index : -1, rank);
    });
}

}  // namespace coinr
