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

// Rounds of one pursuit follow each other within microseconds, so threads spin for a while before they sleep.
constexpr int kSpins = 4000;

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// Idle threads that no team uses. They are never joined: a waiting thread holds no resource when the process ends.
class ThreadPool {
public:
    ThreadPool() {
        idle_.reserve(max_idle_);
        pthread_atfork(lock, unlock, reset_after_fork);
    }

    // Runs `job` on a thread, and decrements `live` when the thread is idle again. The job must not end before start()
    // returns.
    void start(std::function<void()> job, std::atomic<int>& live) {
        Worker* const worker = find();
        {
            std::lock_guard<std::mutex> lock(worker->mutex);
            worker->job.swap(job);
            worker->live = &live;
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
        std::atomic<int>* live = nullptr;
    };

    // A forked process has none of these threads, so its pool starts empty.
    static void lock();
    static void unlock();
    static void reset_after_fork();

    Worker* find() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (!idle_.empty()) {
                Worker* const worker = idle_.back();
                idle_.pop_back();
                return worker;
            }
        }
        // Workers block all signals, so that the threads of the program handle them.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        auto worker = std::make_unique<Worker>();
        try {
            std::thread([this, worker = worker.get()] { serve(worker); }).detach();
        } catch (...) {
            pthread_sigmask(SIG_SETMASK, &before, nullptr);
            throw;
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        return worker.release();
    }

    void serve(Worker* worker) {
        while (true) {
            for (int spin = 0; spin < kSpins && !worker->called.load(std::memory_order_acquire); ++spin) pause();
            std::function<void()> job;
            std::atomic<int>* live;
            {
                std::unique_lock<std::mutex> lock(worker->mutex);
                worker->call.wait(lock, [&] { return worker->called.load(); });
                worker->called.store(false);
                job.swap(worker->job);
                live = worker->live;
            }
            job();
            bool keep;
            {
                std::lock_guard<std::mutex> lock(mutex_);
                keep = idle_.size() < max_idle_;
                if (keep) idle_.push_back(worker);
            }
            live->fetch_sub(1);
            if (!keep) {
                delete worker;
                return;
            }
        }
    }

    const size_t max_idle_ = std::max(1u, std::thread::hardware_concurrency());
    std::mutex mutex_;
    std::vector<Worker*> idle_;
};

ThreadPool& pool = *new ThreadPool;

void ThreadPool::lock() { pool.mutex_.lock(); }
void ThreadPool::unlock() { pool.mutex_.unlock(); }
void ThreadPool::reset_after_fork() {
    pool.idle_.clear();
    pool.mutex_.unlock();
}

int checked(int threads) {
    if (threads < 1 || threads > 256)
        throw std::invalid_argument("threads is " + std::to_string(threads) + "; allowed: 1 to 256");
    return threads;
}

// The indices of a parallel loop that are not finished, one queue per thread.
class WorkQueue {
public:
    WorkQueue(int64_t count, int threads) : queues_(threads) {
        for (int64_t index = 0; index < count; ++index) queues_[index % threads].push_back(index);
    }

    // Puts `index` back unless it is negative. Returns the next index for this thread, or -1 if none is left. A thread
    // whose queue is empty takes from the longest one.
    int64_t next(int64_t index, int rank) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (index >= 0) queues_[rank].push_back(index);
        if (queues_[rank].empty()) {
            const auto longest = std::max_element(queues_.begin(), queues_.end(), [](const auto& a, const auto& b) {
                return a.size() < b.size();
            });
            if (longest->empty()) return -1;
            queues_[rank].push_back(longest->front());
            longest->pop_front();
        }
        const int64_t first = queues_[rank].front();
        queues_[rank].pop_front();
        return first;
    }

private:
    std::mutex mutex_;
    std::vector<std::deque<int64_t>> queues_;
};

}  // namespace

Team::Team(int threads) : size_(checked(threads)) {
    std::fegetenv(&float_environment_);
    try {
        for (int rank = 1; rank < size_; ++rank) {
            live_workers_.fetch_add(1);
            pool.start([this, rank] { work(rank); }, live_workers_);
        }
    } catch (...) {
        live_workers_.fetch_sub(1);
        dismiss();
        throw;
    }
}

Team::~Team() { dismiss(); }

void Team::dismiss() {
    if (live_workers_.load() == 0) return;
    stop_ = true;
    announce();
    for (int spin = 0; live_workers_.load() != 0; ++spin) {
        if (spin < kSpins)
            pause();
        else
            std::this_thread::yield();
    }
}

// No wake-up is lost: either a worker that is about to sleep sees the new round, or announce() sees that it sleeps.
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
    std::fesetenv(&float_environment_);
    for (uint64_t last_round = 0;; ++last_round) {
        for (int spin = 0; spin < kSpins && round_.load(std::memory_order_acquire) == last_round; ++spin) pause();
        if (round_.load(std::memory_order_acquire) == last_round) {
            std::unique_lock<std::mutex> lock(mutex_);
            asleep_.fetch_add(1);
            wake_.wait(lock, [&] { return round_.load() != last_round; });
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
    if (count <= chunk || size_ == 1) {  // too little work to wake another thread
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

void Team::for_each_static(int64_t count, const std::function<void(int64_t, int)>& body) {
    if (count <= 1 || size_ == 1) {
        for (int64_t index = 0; index < count; ++index) body(index, 0);
        return;
    }
    const int64_t members = size();
    run([&](int rank) {
        // Back and forth, so that falling costs are shared evenly: 0 1 2 2 1 0 0 1 2 for three members.
        for (int64_t round = 0; round * members < count; ++round) {
            const int64_t index = round * members + (round % 2 == 0 ? rank : members - 1 - rank);
            if (index < count) body(index, rank);
        }
    });
}

void Team::for_each_in_rounds(int64_t count, const std::function<bool(int64_t, int)>& body) {
    if (count <= 1 || size_ == 1) {
        for (int64_t index = 0; index < count; ++index)
            while (body(index, 0)) {
            }
        return;
    }
    WorkQueue queue(count, size());
    run([&](int rank) {
        int64_t index = queue.next(-1, rank);
        while (index >= 0) index = queue.next(body(index, rank) ? index : -1, rank);
    });
}

}  // namespace coinr
