// Connections of clients: their commands, in their order, to the member and the map, and the
// answers back. It reads and writes no socket: bytes come by Receive and go by a function.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "map.h"
#include "member.h"
#include "resp.h"
#include "sync.h"

namespace raftlab {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kPatience{5};  // of a write or a read
constexpr size_t kMaxUnderWay = 4096;         // commands of a connection

struct Peer {
	std::string id, address, resp;  // resp is "-" where it is not known
};

class Session;

// Service is what all connections share. It fails what has waited for too long.
class Service {
public:
	struct Config {
		std::string id, group, version;
		std::vector<Peer> peers;
		bool lease = false;  // whether there are reads by lease
	};
	Service(Config config, Map* map, Member* member);
	~Service();
	Service(const Service&) = delete;
	Service& operator=(const Service&) = delete;

	// Open begins a connection. Write gets its answers, in their order and by one thread at a
	// time, also after the connection has ended, and is told to close it behind them. It must not
	// block, nor end anything that waits for the session.
	using Write = std::function<void(std::string answers, bool close)>;
	std::shared_ptr<Session> Open(Write write);

	// Applied is called behind each batch of applied entries, by the thread that applied them.
	void Applied();

private:
	friend class Session;
	void Sweep();
	const Peer* Find(const std::string& id) const;
	std::string NotLeader();

	const Config config_;
	Map* const map_;
	Member* const member_;
	std::vector<std::shared_ptr<Session>> touched_;  // by the thread that applies, since Applied

	Mutex mutex_;
	Condition changed_;
	bool stopping_ = false;
	std::vector<std::weak_ptr<Session>> sessions_;
	std::string leader_;                // as it was when the member was last asked
	std::atomic<bool> asking_ = false;  // one asks at a time: the member may have whoever asks wait with its thread
	std::thread sweeper_;
};

// Session is one connection.
class Session : public std::enable_shared_from_this<Session> {
public:
	Session(Service* service, Service::Write write) : service_(service), write_(std::move(write)) {}

	// Receive carries out the commands that have come as a whole. It is called by one thread at a
	// time, and blocks where a command has to wait for what is before it.
	void Receive(std::string_view bytes);

private:
	friend class Service;
	class Waiting;
	using Answer = std::function<std::string(const Map::Values&)>;

	struct Slot {
		bool done = false;
		bool write = false;
		std::string answer;
		Clock::time_point deadline;
	};

	struct Command {
		const char* name;
		size_t least, most;  // words, its name included; most 0: any number
		std::string (Session::*run)(const Words&);
	};
	static const std::vector<Command>& Commands();

	void Run(const Words& words);
	std::string Set(const Words&);
	std::string SetNx(const Words&);
	std::string MSet(const Words&);
	std::string Del(const Words&);
	std::string Get(const Words&);
	std::string MGet(const Words&);
	std::string Exists(const Words&);
	std::string StrLen(const Words&);
	std::string DbSize(const Words&);
	std::string Ping(const Words&);
	std::string Echo(const Words&);
	std::string Select(const Words&);
	std::string Reset(const Words&);
	std::string Quit(const Words&);
	std::string Hello(const Words&);
	std::string Client(const Words&);
	std::string CommandList(const Words&);
	std::string RaftStatus(const Words&);
	std::string RaftMembers(const Words&);
	std::string RaftReadLevel(const Words&);
	std::string RaftForward(const Words&);
	std::string RaftTransfer(const Words&);
	std::string RaftSnapshot(const Words&);
	std::string RaftDigest(const Words&);

	// A command answers by its result, or, where that is empty, by its slot later.
	std::string ProposeWrite(std::string entry, std::function<std::string(const Result&)> answer);
	std::string ProposeRead(Answer answer);
	std::string Read(Answer answer);

	uint64_t AddSlot(bool write, std::string answer);
	void Drain(size_t most);  // waits until at most so many are under way
	void Fill(uint64_t number, std::string answer, bool applied);
	void Flush();
	void FlushLocked();
	void Expire(Clock::time_point now);

	Service* const service_;
	const Service::Write write_;
	CommandReader reader_;  // of the thread that receives, as are the next three
	enum class Level { kLinearizable, kLease, kStale } level_ = Level::kLinearizable;
	bool broken_ = false;

	Mutex mutex_;
	Condition drained_;
	std::deque<Slot> slots_;  // not yet answered, in order
	uint64_t first_ = 0;      // number of the first of them
	std::string ready_;       // answers to be written
	bool touched_ = false;
	bool closing_ = false;  // once all is answered
	bool closed_ = false;   // nothing is written any more
};

}  // namespace raftlab
