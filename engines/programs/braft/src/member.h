// What the rest of the program needs of a member of a Raft group. braft_member.cc is the one
// that counts; tests have one that commits at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "map.h"

namespace raftlab {

// What became of an entry that was proposed.
enum class Fate {
	kApplied,
	kNotLeader,  // and it is in nobody's log
	kNotNow,     // likewise: the leadership is being handed over
	kUnknown,    // it may be committed, or may be yet
};

// Proposal is told once what became of it. Where it was applied, Done runs before anything later
// is applied: a read of the map sees exactly what came before its entry. It must not block.
class Proposal {
public:
	virtual ~Proposal() = default;
	virtual void Done(Fate fate, const Result& result) = 0;
};

struct Status {
	std::string role;    // leader, follower or candidate
	std::string leader;  // its id, empty where it is not known
	uint64_t term = 0, last_index = 0, commit_index = 0, applied_index = 0;
};

// Member may be used by several threads at once.
class Member {
public:
	virtual ~Member() = default;

	// Propose returns at once. Entries proposed by one thread are applied in their order. An
	// empty entry is no command: it changes nothing and is there to be read behind.
	virtual void Propose(std::string entry, std::unique_ptr<Proposal> proposal) = 0;

	// Whether this member leads, has applied all that was committed before it did, and no other
	// member can lead now unless a clock is wrong.
	virtual bool HoldsLease() = 0;
	virtual Status Now() = 0;

	// These block, and return what went wrong: empty if nothing did. An empty id is any other.
	virtual std::string Transfer(const std::string& id) = 0;
	virtual std::string Snapshot() = 0;
};

}  // namespace raftlab
