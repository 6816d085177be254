// The replicated map: what kv/store.go and kv/snapshot.go are, with the same results, the same
// snapshot and the same digest. It never talks to the network, the disk or an engine.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "command.h"
#include "sync.h"

namespace raftlab {

// What a command has done. Every member finds the same.
struct Result {
	int changed = 0;           // keys set, or deleted where they were
	std::vector<int> missing;  // deletions, by their place in the command, whose keys were not there
	bool refused = false;      // it could not be decoded
	bool condition_failed = false;
	uint64_t last_change = 0;  // where the condition failed: of the key; 0: it is not there
};

struct Digest {
	uint64_t keys, commands;
	std::string sha256;  // in hex
};

// Map may be used by several threads at once; each sees whole commands only.
class Map {
public:
	struct Value {
		std::string bytes;
		uint64_t index;  // of the last change
	};
	using Values = std::map<std::string, Value, std::less<>>;

	Result Apply(uint64_t index, std::string_view command);

	// Look calls look, during which nothing is applied: it has to be short.
	void Look(const std::function<void(const Values&)>& look) const;
	uint64_t keys() const;
	uint64_t commands() const;

	std::string Snapshot() const;
	void Restore(std::string_view snapshot);  // or throws Malformed, and the map is as it was
	Digest Sum() const;

private:
	struct State {
		Values values;
		std::map<std::string, std::string> nodes;  // HTTP addresses by id, of kvnode's members
		uint64_t index = 0, commands = 0, refused = 0, last_refused = 0;
	};
	std::string Encode(std::string to) const;
	static State DecodeState(Decoder* d);
	void Do(const Change& c, int place, Result* result);

	mutable Mutex mutex_;
	State state_;
};

}  // namespace raftlab
