// What ends the program where braft would go on: a flush, or a write of term and vote, that
// failed, and a log that is damaged.
#pragma once

#include <string>

namespace raftlab {

// Fatal ends the program with 1, at once.
[[noreturn]] void Fatal(const std::string& what);

// CheckFolder reads braft's log and what stands beside it in a member's folder, and changes
// nothing. It throws std::runtime_error where something is damaged.
void CheckFolder(const std::string& data);

constexpr char kLogFolder[] = "/log";
constexpr char kVoteFolder[] = "/meta";

// RegisterVotes gives braft a store of term and vote, votes://FOLDER: once in a process.
void RegisterVotes();

}  // namespace raftlab
