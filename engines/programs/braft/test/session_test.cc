#include "session.h"

#include <atomic>

#include "check.h"

namespace raftlab {

namespace {

// StandIn is a member that commits at once, or, while it holds, on Release.
class StandIn : public Member {
public:
	explicit StandIn(Map* map) : map_(map) {}

	void Propose(std::string entry, std::unique_ptr<Proposal> proposal) override {
		Lock lock(mutex_);
		proposed++;
		held_.emplace_back(std::move(entry), std::move(proposal));
		if (!hold) Release(lock);
	}
	void Release() {
		Lock lock(mutex_);
		Release(lock);
	}
	bool HoldsLease() override { return lease; }
	Status Now() override { return {leader == "n1" ? "leader" : "follower", leader, 7, index_, index_, index_}; }
	std::string Transfer(const std::string& id) override {
		leader = id.empty() ? "n2" : id;
		return "";
	}
	std::string Snapshot() override { return ""; }

	Service* service = nullptr;
	Fate fate = Fate::kApplied;
	std::atomic<bool> hold{false}, lease{false};
	std::atomic<int> proposed{0};
	std::string leader = "n1";

private:
	void Release(Lock&) {
		for (auto& [entry, proposal] : held_) {
			Result result;
			index_++;
			if (fate == Fate::kApplied && !entry.empty()) result = map_->Apply(index_, entry);
			proposal->Done(fate, result);
		}
		held_.clear();
		service->Applied();
	}

	Map* const map_;
	Mutex mutex_;
	uint64_t index_ = 0;
	std::vector<std::pair<std::string, std::unique_ptr<Proposal>>> held_;
};

// One connection with all that is behind it.
struct Bench {
	explicit Bench(bool lease = false)
	    : member(&map), service({"n1", "g", "1", {{"n1", "127.0.0.1:1", "127.0.0.1:11"}, {"n2", "127.0.0.1:2", "127.0.0.1:12"}}, lease}, &map, &member) {
		member.service = &service;
		session = Open();
	}
	std::shared_ptr<Session> Open() {
		return service.Open([this](std::string answers, bool close) {
			std::lock_guard<std::mutex> lock(mutex);
			got += answers + (close ? "<end>" : "");
			changed.notify_all();
		});
	}
	std::string Say(const std::string& bytes) {
		session->Receive(bytes);
		std::lock_guard<std::mutex> lock(mutex);
		return std::move(got);
	}
	// Waits for so much of an answer, as of what a timer has to do.
	std::string Await(size_t bytes) {
		std::unique_lock<std::mutex> lock(mutex);
		changed.wait_for(lock, std::chrono::seconds(20), [&] { return got.size() >= bytes; });
		return std::move(got);
	}

	Map map;
	StandIn member;
	Service service;
	std::mutex mutex;
	std::condition_variable changed;
	std::string got;
	std::shared_ptr<Session> session;
};

std::string Command(const std::vector<std::string>& words) {
	std::string to = "*" + std::to_string(words.size()) + "\r\n";
	for (const std::string& w : words) to += Bulk(w);
	return to;
}

void Conversation() {
	Bench b;
	const std::vector<std::pair<std::string, std::string>> steps = {
	    {"PING\r\n", "+PONG\r\n"},
	    {"\r\n", ""},
	    {"*0\r\n", ""},
	    {Command({"ping", "hi"}), "$2\r\nhi\r\n"},
	    {Command({"GET", "k"}), "$-1\r\n"},
	    {Command({"SET", "k", "v"}), "+OK\r\n"},
	    {Command({"SET", "k", "w", "NX"}), "$-1\r\n"},
	    {Command({"SET", "k", "w", "xx"}), "+OK\r\n"},
	    {Command({"SET", "k", "w", "GET"}), "-ERR syntax error: SET key value [NX | XX]\r\n"},
	    {Command({"SETNX", "k", "x"}), ":0\r\n"},
	    {Command({"SETNX", "n", ""}), ":1\r\n"},
	    {Command({"MSET", "a", "1", "b", std::string("\0\r\n", 3)}), "+OK\r\n"},
	    {Command({"MSET", "a"}), "-ERR wrong number of arguments for 'mset' command\r\n"},
	    {Command({"MGET", "a", "none", "b"}), "*3\r\n$1\r\n1\r\n$-1\r\n$3\r\n" + std::string("\0\r\n", 3) + "\r\n"},
	    {Command({"EXISTS", "a", "a", "none"}), ":2\r\n"},
	    {Command({"STRLEN", "b"}), ":3\r\n"},
	    {Command({"DBSIZE"}), ":4\r\n"},
	    {Command({"DEL", "a", "a", "b"}), ":2\r\n"},
	    {Command({"DEL", "a"}), ":0\r\n"},
	    {Command({"SET", "", "v"}), "-ERR an empty key: keys have at least one byte\r\n"},
	    {Command({"SET", std::string(kMaxKeyBytes + 1, 'k'), "v"}), "-TOOLARGE key of 65537 bytes: at most 65536 are allowed\r\n"},
	    {Command({"SET", "k", std::string((16 << 20) + 1, 'v')}), "-TOOLARGE value of 16777217 bytes: at most 16777216 are allowed\r\n"},
	    {Command({"SELECT", "1"}), "-ERR DB index is out of range: there is only 0\r\n"},
	    {Command({"HELLO", "3"}), "-NOPROTO unsupported protocol version\r\n"},
	    {Command({"CLIENT", "SETNAME", "x"}), "+OK\r\n"},
	    {Command({"COMMAND"}), "*0\r\n"},
	    {Command({"FLUSHALL"}), "-ERR unknown command 'FLUSHALL'\r\n"},
	    {Command({"FLU\r\nSH"}), "-ERR unknown command 'FLU  SH'\r\n"},
	    {Command({"RAFT.FORWARD"}), "$2\r\nno\r\n"},
	    {Command({"RAFT.READLEVEL", "lease"}), "-ERR this member has no reads by lease: start all members with leader_lease = true\r\n"},
	    {Command({"RAFT.READLEVEL"}), "$12\r\nlinearizable\r\n"},
	    {Command({"RAFT.SNAPSHOT"}), "+OK\r\n"},
	    {Command({"RAFT.TRANSFER", "n9"}), "-ERR there is no member n9\r\n"},
	    {Command({"RAFT.TRANSFER"}), "+OK\r\n"},
	    {Command({"RAFT.TRANSFER"}), "-NOTLEADER n2 127.0.0.1:12\r\n"},
	    {Command({"SET", "k", "1"}) + Command({"NONE"}) + Command({"PING"}), "+OK\r\n-ERR unknown command 'NONE'\r\n+PONG\r\n"},
	    {Command({"QUIT"}) + Command({"PING"}), "+OK\r\n<end>"},
	};
	for (const auto& [say, want] : steps) Equal(b.Say(say), want, "conversation: " + say.substr(0, 40));
}

void Frames() {
	for (const auto& [say, want] : std::vector<std::pair<std::string, std::string>>{
	         {"*1\r\nPING\r\n", "-ERR Protocol error: expected '$', got 'P'\r\n<end>"},
	         {"*-x\r\n", "-ERR Protocol error: invalid multibulk length\r\n<end>"},
	         {"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n<end>"},
	         {"*1\r\n$99999999\r\n", "-TOOLARGE command: at most 16842752 bytes in a word\r\n<end>"},
	         {"*99999999\r\n", "-TOOLARGE command: at most 131074 words\r\n<end>"},
	         {"*1\r\n$4\r\nPINGxx", "-ERR Protocol error: a string without its end\r\n<end>"},
	         {"PING\r\n*1\r\n$x", "+PONG\r\n"},
	         {"POST / HTTP/1.1\r\nHost: x\r\n", "<end>"},
	         {std::string(70000, 'x'), "-ERR Protocol error: too long a line\r\n<end>"},
	     }) {
		Bench b;
		Equal(b.Say(say), want, "frames: " + say.substr(0, 30));
	}
	const std::string all = Command({"SET", "k", "a value"}) + "GET k\r\n" + Command({"DEL", "k"});
	for (size_t cut = 0; cut <= all.size(); cut++) {
		Bench b;
		const std::string first = b.Say(all.substr(0, cut));
		Equal(first + b.Say(all.substr(cut)), "+OK\r\n$7\r\na value\r\n:1\r\n", "cut at " + std::to_string(cut));
	}
}

void UnderWay() {
	Bench b;
	b.member.hold = true;
	std::string many;
	for (int i = 0; i < 100; i++) many += Command({"SET", "k", std::to_string(i)});
	Equal(b.Say(many + Command({"GET", "k"})), "", "held");
	Equal(b.member.proposed.load(), 101, "writes and a read are under way at the same time");
	std::thread later([&b] { b.session->Receive(Command({"RAFT.DIGEST"})); });  // it waits for them
	b.member.Release();
	later.join();
	const std::string got = b.Say("");
	Equal(got.substr(0, 514), [] {
		std::string want;
		for (int i = 0; i < 100; i++) want += "+OK\r\n";
		return want + "$2\r\n99\r\n*8\r\n$2";
	}(), "answers in order, and what waited behind them");
}

void Fates() {
	const std::string ask = Command({"SET", "k", "v"}) + Command({"GET", "k"});
	for (const auto& [fate, leader, want] : std::vector<std::tuple<Fate, std::string, std::string>>{
	         {Fate::kNotLeader, "n2", "-NOTLEADER n2 127.0.0.1:12\r\n-NOTLEADER n2 127.0.0.1:12\r\n"},
	         {Fate::kNotLeader, "", "-NOTLEADER - -\r\n-NOTLEADER - -\r\n"},
	         {Fate::kNotLeader, "n1", "-NOTLEADER - -\r\n-NOTLEADER - -\r\n"},
	         {Fate::kNotNow, "n1", "-TRYAGAIN the leadership is being handed over\r\n-TRYAGAIN the leadership is being handed over\r\n"},
	         {Fate::kUnknown, "n2", "-UNKNOWN outcome: the leadership was lost meanwhile: the write may have taken effect, or may yet\r\n-NOTLEADER n2 127.0.0.1:12\r\n"},
	     }) {
		Bench b;
		b.member.fate = fate;
		b.member.leader = leader;
		Equal(b.Say(ask), want, "fate " + std::to_string(static_cast<int>(fate)));
	}
}

void Levels() {
	Bench b(true);
	b.Say(Command({"SET", "k", "v"}));
	const int before = b.member.proposed;
	for (const char* level : {"stale", "lease"}) {
		b.member.lease = true;
		Equal(b.Say(Command({"RAFT.READLEVEL", level}) + Command({"GET", "k"})), "+OK\r\n$1\r\nv\r\n", level);
		Equal(b.member.proposed.load(), before, std::string(level) + ": no entry");
	}
	b.member.lease = false;
	Equal(b.Say(Command({"GET", "k"})), "$1\r\nv\r\n", "without the lease");
	Equal(b.member.proposed.load(), before + 1, "without the lease it takes an entry");
	Equal(b.Say(Command({"RESET"}) + Command({"RAFT.READLEVEL"})), "+RESET\r\n$12\r\nlinearizable\r\n", "reset");
}

void Patience() {
	Bench b;
	b.member.hold = true;
	const std::string want =
	    "-UNKNOWN outcome: no answer within 5 s: the write may have taken effect, or may yet\r\n-TIMEOUT no answer within 5 s\r\n+PONG\r\n";
	Equal(b.Say(Command({"SET", "k", "v"}) + Command({"GET", "k"}) + "PING\r\n"), "", "held");
	Equal(b.Await(want.size()), want, "patience");
	b.member.Release();
	Equal(b.Say(Command({"GET", "k"})), "", "nothing is answered twice");
	b.member.Release();
	Equal(b.Say(""), "$1\r\nv\r\n", "it did take effect");
}

}  // namespace

void TestSession() {
	Conversation();
	Frames();
	UnderWay();
	Fates();
	Levels();
	Patience();
}

}  // namespace raftlab
