// What a member is set up by: the flags, the settings of a file, and what the program says of
// itself. Docs: docs/engine-programs.md.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "session.h"

namespace raftlab {

// A mistake of whoever starts the program; it ends with 2 then.
struct Usage : std::runtime_error {
	using std::runtime_error::runtime_error;
};

// Settings are what a member runs with. The defaults are braft's own, but for the snapshots,
// which braft makes by the hour, and the threads.
struct Settings {
	int64_t heartbeat_timeout_us = 1000000;
	int64_t max_append_entries = 1024;
	int64_t max_append_bytes = 512 << 10;
	int64_t max_in_flight = 1;
	bool pre_vote = true;  // cannot be turned off
	int64_t snapshot_threshold = 8192;
	int64_t trailing_logs = 0;  // cannot be given
	bool leader_lease = false;
	int64_t max_clock_drift_us = 1000000;
	int64_t apply_batch = 32;
	int64_t disk_batch = 256;
	int64_t threads = 64;  // braft's 9 may all wait for the mutex of a bthread that then has none to go on with

	int election_timeout_ms() const { return static_cast<int>((heartbeat_timeout_us + 999) / 1000); }
	int max_clock_drift_ms() const { return static_cast<int>((max_clock_drift_us + 999) / 1000); }
};

Settings ReadSettings(const std::string& file);  // of an empty name: the defaults. Throws Usage

// What the program was built with.
struct Build {
	std::string braft, brpc, compiler;
	bool bthread_mutex;  // else a bthread that waits for braft's mutex holds its worker
};

std::string Describe(const Settings& settings, const Build& build);  // JSON

struct Flags {
	bool describe = false, help = false;
	std::string id, raft, resp, data, settings;
	std::vector<Peer> members;  // with addresses of digits, as braft has them
	std::string group;          // of the same members: the same
};

Flags ParseFlags(const std::vector<std::string>& args);  // throws Usage
std::string Help();

}  // namespace raftlab
