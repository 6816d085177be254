// The mutex and condition of whoever runs us: braft's callbacks and brpc's connections run in
// bthreads, which a std::condition_variable would put to sleep with their threads.
#pragma once

#include <mutex>
#ifdef RAFTLAB_BTHREAD
#include <bthread/condition_variable.h>
#include <bthread/mutex.h>
#else
#include <condition_variable>
#endif

namespace raftlab {

#ifdef RAFTLAB_BTHREAD
using Mutex = bthread::Mutex;
using Condition = bthread::ConditionVariable;
#else
using Mutex = std::mutex;
using Condition = std::condition_variable;
#endif
using Lock = std::unique_lock<Mutex>;

}  // namespace raftlab
