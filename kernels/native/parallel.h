// Work shared by threads: items are handed out one by one, so the result must
// not depend on who does which.
#ifndef JAXGS_NATIVE_PARALLEL_H_
#define JAXGS_NATIVE_PARALLEL_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "denormals.h"

namespace jaxgs {

// Runs tasks beside the caller. A task may start late or never: see For.
class Executor {
 public:
  using Schedule = std::function<void(std::function<void()>)>;

  // Starts its own threads when `schedule` is empty.
  explicit Executor(int threads, Schedule schedule = {})
      : threads_(threads < 1 ? 1 : threads), schedule_(std::move(schedule)) {}

  int threads() const { return threads_; }

  // Calls work(item) for every item in [0, count) on up to `threads` threads,
  // the caller's among them, and returns when all are done. The caller never
  // waits for a thread that has not begun, so a pool whose threads are all
  // busy, or waiting here themselves, cannot lock up. The first exception of
  // `work` is thrown again. Denormals count as 0 in `work`.
  void For(int64_t count, const std::function<void(int64_t)>& work) const {
    const int64_t extra = std::min<int64_t>(threads_, count) - 1;
    if (extra <= 0) {
      const FlushDenormals flush;
      for (int64_t item = 0; item < count; ++item) work(item);
      return;
    }
    auto shared = std::make_shared<Shared>(count, work);
    std::vector<std::thread> own;
    for (int64_t i = 0; i < extra; ++i) {
      // Nothing may leave this function before those that have begun are done.
      try {
        if (schedule_) {
          schedule_([shared] { shared->Run(); });
        } else {
          own.emplace_back([shared] { shared->Run(); });
        }
      } catch (const std::exception&) {
        break;  // No more threads to be had: the others do the work.
      }
    }
    shared->Run();
    shared->Wait();
    for (std::thread& thread : own) thread.join();
    if (shared->error) std::rethrow_exception(shared->error);
  }

 private:
  struct Shared {
    Shared(int64_t count, const std::function<void(int64_t)>& work)
        : count(count), work(&work) {}

    // `work` lives in the caller's frame; it is touched only for an item, and
    // the caller stays until every item is done.
    void Run() {
      const FlushDenormals flush;
      int64_t finished = 0;
      for (;;) {
        const int64_t item = next.fetch_add(1, std::memory_order_relaxed);
        if (item >= count) break;
        try {
          (*work)(item);
        } catch (...) {
          std::lock_guard<std::mutex> lock(mutex);
          if (!error) error = std::current_exception();
        }
        ++finished;
      }
      if (finished == 0) return;
      std::lock_guard<std::mutex> lock(mutex);
      done += finished;
      if (done == count) all_done.notify_all();
    }

    void Wait() {
      std::unique_lock<std::mutex> lock(mutex);
      all_done.wait(lock, [this] { return done == count; });
    }

    const int64_t count;
    const std::function<void(int64_t)>* const work;
    std::atomic<int64_t> next{0};
    std::mutex mutex;
    std::condition_variable all_done;
    int64_t done = 0;
    std::exception_ptr error;
  };

  int threads_;
  Schedule schedule_;
};

}  // namespace jaxgs

#endif  // JAXGS_NATIVE_PARALLEL_H_
