#include "session.h"

#include <algorithm>
#include <cctype>

namespace raftlab {

namespace {

constexpr size_t kMaxValue = 16 << 20;

bool Is(std::string_view word, std::string_view name) {
	return std::equal(word.begin(), word.end(), name.begin(), name.end(),
	                  [](unsigned char a, unsigned char b) { return std::toupper(a) == std::toupper(b); });
}

// An error in a command, which then does nothing.
struct Refused {
	std::string text;
};

void CheckKey(std::string_view key) {
	if (key.empty()) throw Refused{"ERR an empty key: keys have at least one byte"};
	if (key.size() > kMaxKeyBytes) throw Refused{"TOOLARGE key of " + std::to_string(key.size()) + " bytes: at most 65536 are allowed"};
}

void CheckValue(std::string_view value) {
	if (value.size() > kMaxValue) throw Refused{"TOOLARGE value of " + std::to_string(value.size()) + " bytes: at most 16777216 are allowed"};
}

std::vector<std::string> Keys(const Words& words) {
	for (size_t i = 1; i < words.size(); i++) CheckKey(words[i]);
	return {words.begin() + 1, words.end()};
}

std::string EncodeAll(const std::vector<Change>& changes) {
	size_t bytes = 0;
	for (const Change& c : changes) bytes += c.key.size() + c.value.size();
	if (bytes > kMaxValue + kMaxKeyBytes || changes.size() > kMaxBatchOps) {
		throw Refused{"TOOLARGE command: at most 16 MiB and 65536 keys are allowed"};
	}
	return EncodeBatch(changes);
}

const char* YesNo(bool yes) { return yes ? "yes" : "no"; }
std::string Known(const std::string& address) { return address == "-" ? "" : address; }

std::string ValueAt(const Map::Values& values, std::string_view key) {
	const auto at = values.find(key);
	return at == values.end() ? Null() : Bulk(at->second.bytes);
}

}  // namespace

// Waiting is a proposal that answers a slot.
class Session::Waiting : public Proposal {
public:
	Waiting(std::shared_ptr<Session> session, uint64_t slot, bool write, std::function<std::string(const Result&)> answer)
	    : session_(std::move(session)), slot_(slot), write_(write), answer_(std::move(answer)) {}

	void Done(Fate fate, const Result& result) override {
		switch (fate) {
		case Fate::kApplied:
			return session_->Fill(slot_, result.refused ? Error("ERR the command was refused when it was applied") : answer_(result), true);
		case Fate::kUnknown:
			if (write_) return session_->Fill(slot_, Error("UNKNOWN outcome: the leadership was lost meanwhile: the write may have taken effect, or may yet"), false);
			[[fallthrough]];
		case Fate::kNotLeader:
			return session_->Fill(slot_, session_->service_->NotLeader(), false);
		case Fate::kNotNow:
			return session_->Fill(slot_, Error("TRYAGAIN the leadership is being handed over"), false);
		}
	}

private:
	const std::shared_ptr<Session> session_;
	const uint64_t slot_;
	const bool write_;
	const std::function<std::string(const Result&)> answer_;
};

Service::Service(Config config, Map* map, Member* member)
    : config_(std::move(config)), map_(map), member_(member), sweeper_([this] { Sweep(); }) {}

Service::~Service() {
	{
		Lock lock(mutex_);
		stopping_ = true;
		changed_.notify_all();
	}
	sweeper_.join();
}

std::shared_ptr<Session> Service::Open(Write write) {
	auto session = std::make_shared<Session>(this, std::move(write));
	Lock lock(mutex_);
	sessions_.push_back(session);
	return session;
}

void Service::Applied() {
	for (const auto& session : touched_) session->Flush();
	touched_.clear();
}

void Service::Sweep() {
	constexpr long kEvery = 100000;  // microseconds
	Lock lock(mutex_);
	while (!stopping_) {
#ifdef RAFTLAB_BTHREAD
		changed_.wait_for(lock, kEvery);
#else
		changed_.wait_for(lock, std::chrono::microseconds(kEvery));
#endif
		std::vector<std::shared_ptr<Session>> live;
		auto gone = std::remove_if(sessions_.begin(), sessions_.end(), [&live](const std::weak_ptr<Session>& weak) {
			auto session = weak.lock();
			if (session == nullptr) return true;
			live.push_back(std::move(session));
			return false;
		});
		sessions_.erase(gone, sessions_.end());
		lock.unlock();
		for (const auto& session : live) session->Expire(Clock::now());
		live.clear();
		lock.lock();
	}
}

const Peer* Service::Find(const std::string& id) const {
	for (const Peer& p : config_.peers) {
		if (p.id == id) return &p;
	}
	return nullptr;
}

std::string Service::NotLeader() {
	std::string id;
	if (!asking_.exchange(true)) {
		id = member_->Now().leader;
		Lock lock(mutex_);
		leader_ = id;
		asking_ = false;
	} else {
		Lock lock(mutex_);
		id = leader_;
	}
	const Peer* leader = id == config_.id ? nullptr : Find(id);
	return Error(leader == nullptr ? "NOTLEADER - -" : "NOTLEADER " + leader->id + " " + leader->resp);
}

void Session::Receive(std::string_view bytes) {
	if (broken_) return;
	reader_.Feed(bytes);
	Words words;
	try {
		while (!broken_ && reader_.Next(&words)) Run(words);
	} catch (const BadFrame& bad) {
		broken_ = true;
		AddSlot(false, Error(bad.what()));
	}
	Lock lock(mutex_);
	closing_ = broken_;
	FlushLocked();
}

void Session::Run(const Words& words) {
	Drain(kMaxUnderWay - 1);
	if (Is(words[0], "POST") || Is(words[0], "HOST:")) {  // of a web page
		broken_ = true;
		return;
	}
	std::string answer;
	try {
		const auto& all = Commands();
		const auto command = std::find_if(all.begin(), all.end(), [&](const Command& c) { return Is(words[0], c.name); });
		if (command == all.end()) throw Refused{"ERR unknown command '" + std::string(words[0].substr(0, 64)) + "'"};
		if (words.size() < command->least || (command->most != 0 && words.size() > command->most)) {
			throw Refused{std::string("ERR wrong number of arguments for '") + command->name + "' command"};
		}
		answer = (this->*command->run)(words);
	} catch (const Refused& refused) {
		answer = Error(refused.text);
	}
	if (!answer.empty()) AddSlot(false, std::move(answer));
}

// Most are short, and used often come first.
const std::vector<Session::Command>& Session::Commands() {
	static const std::vector<Command> all = {
	    {"set", 3, 0, &Session::Set},
	    {"get", 2, 2, &Session::Get},
	    {"mset", 3, 0, &Session::MSet},
	    {"mget", 2, 0, &Session::MGet},
	    {"del", 2, 0, &Session::Del},
	    {"setnx", 3, 3, &Session::SetNx},
	    {"exists", 2, 0, &Session::Exists},
	    {"strlen", 2, 2, &Session::StrLen},
	    {"dbsize", 1, 1, &Session::DbSize},
	    {"ping", 1, 2, &Session::Ping},
	    {"echo", 2, 2, &Session::Echo},
	    {"select", 2, 2, &Session::Select},
	    {"reset", 1, 1, &Session::Reset},
	    {"quit", 1, 1, &Session::Quit},
	    {"hello", 1, 4, &Session::Hello},
	    {"client", 2, 0, &Session::Client},
	    {"command", 1, 0, &Session::CommandList},
	    {"raft.status", 1, 1, &Session::RaftStatus},
	    {"raft.members", 1, 1, &Session::RaftMembers},
	    {"raft.readlevel", 1, 2, &Session::RaftReadLevel},
	    {"raft.forward", 1, 2, &Session::RaftForward},
	    {"raft.transfer", 1, 2, &Session::RaftTransfer},
	    {"raft.snapshot", 1, 1, &Session::RaftSnapshot},
	    {"raft.digest", 1, 1, &Session::RaftDigest},
	};
	return all;
}

// Writes.

std::string Session::Set(const Words& w) {
	CheckKey(w[1]);
	CheckValue(w[2]);
	If condition = If::kAlways;
	if (w.size() == 4 && Is(w[3], "NX")) {
		condition = If::kAbsent;
	} else if (w.size() == 4 && Is(w[3], "XX")) {
		condition = If::kPresent;
	} else if (w.size() > 3) {
		throw Refused{"ERR syntax error: SET key value [NX | XX]"};
	}
	return ProposeWrite(EncodeSet(w[1], w[2], condition), [](const Result& r) { return r.condition_failed ? Null() : Simple("OK"); });
}

std::string Session::SetNx(const Words& w) {
	CheckKey(w[1]);
	CheckValue(w[2]);
	return ProposeWrite(EncodeSet(w[1], w[2], If::kAbsent), [](const Result& r) { return Integer(r.condition_failed ? 0 : 1); });
}

std::string Session::MSet(const Words& w) {
	if (w.size() % 2 == 0) throw Refused{"ERR wrong number of arguments for 'mset' command"};
	std::vector<Change> changes;
	for (size_t i = 1; i < w.size(); i += 2) {
		CheckKey(w[i]);
		CheckValue(w[i + 1]);
		changes.push_back({Op::kSet, w[i], w[i + 1]});
	}
	return ProposeWrite(EncodeAll(changes), [](const Result&) { return Simple("OK"); });
}

std::string Session::Del(const Words& w) {
	std::vector<Change> changes;
	for (size_t i = 1; i < w.size(); i++) {
		CheckKey(w[i]);
		changes.push_back({Op::kDelete, w[i], {}});
	}
	return ProposeWrite(EncodeAll(changes), [](const Result& r) { return Integer(r.changed); });
}

std::string Session::ProposeWrite(std::string entry, std::function<std::string(const Result&)> answer) {
	const uint64_t slot = AddSlot(true, {});
	service_->member_->Propose(std::move(entry), std::make_unique<Waiting>(shared_from_this(), slot, true, std::move(answer)));
	return {};
}

// Reads.

std::string Session::Get(const Words& w) {
	CheckKey(w[1]);
	return Read([key = std::string(w[1])](const Map::Values& values) { return ValueAt(values, key); });
}

std::string Session::MGet(const Words& w) {
	return Read([keys = Keys(w)](const Map::Values& values) {
		std::vector<std::string> items;
		for (const std::string& key : keys) items.push_back(ValueAt(values, key));
		return ArrayOf(items);
	});
}

std::string Session::Exists(const Words& w) {
	return Read([keys = Keys(w)](const Map::Values& values) {
		return Integer(std::count_if(keys.begin(), keys.end(), [&](const std::string& key) { return values.count(key) > 0; }));
	});
}

std::string Session::StrLen(const Words& w) {
	CheckKey(w[1]);
	return Read([key = std::string(w[1])](const Map::Values& values) {
		const auto at = values.find(key);
		return Integer(at == values.end() ? 0 : static_cast<long long>(at->second.bytes.size()));
	});
}

std::string Session::DbSize(const Words&) {
	return Read([](const Map::Values& values) { return Integer(static_cast<long long>(values.size())); });
}

std::string Session::Read(Answer answer) {
	if (level_ == Level::kLinearizable) return ProposeRead(std::move(answer));
	Drain(0);
	if (level_ == Level::kLease && !service_->member_->HoldsLease()) return ProposeRead(std::move(answer));
	std::string text;
	service_->map_->Look([&](const Map::Values& values) { text = answer(values); });
	return text;
}

// An entry of its own, behind which the map has all that was acknowledged before.
std::string Session::ProposeRead(Answer answer) {
	const uint64_t slot = AddSlot(false, {});
	auto look = [this, answer = std::move(answer)](const Result&) {
		std::string text;
		service_->map_->Look([&](const Map::Values& values) { text = answer(values); });
		return text;
	};
	service_->member_->Propose({}, std::make_unique<Waiting>(shared_from_this(), slot, false, std::move(look)));
	return {};
}

// The connection.

std::string Session::Ping(const Words& w) { return w.size() == 2 ? Bulk(w[1]) : Simple("PONG"); }

std::string Session::Echo(const Words& w) { return Bulk(w[1]); }

std::string Session::Select(const Words& w) {
	if (w[1] != "0") throw Refused{"ERR DB index is out of range: there is only 0"};
	return Simple("OK");
}

std::string Session::Reset(const Words&) {
	level_ = Level::kLinearizable;
	return Simple("RESET");
}

std::string Session::Quit(const Words&) {
	broken_ = true;
	return Simple("OK");
}

std::string Session::Hello(const Words& w) {
	if (w.size() > 1 && w[1] != "2") throw Refused{"NOPROTO unsupported protocol version"};
	if (w.size() > 2 && (w.size() != 4 || !Is(w[2], "SETNAME"))) throw Refused{"ERR HELLO [2 [SETNAME name]]"};
	const bool leads = service_->member_->Now().role == "leader";
	return ArrayOf({Bulk("server"), Bulk("raftlab-braft"), Bulk("version"), Bulk(service_->config_.version), Bulk("proto"), Integer(2),
	                Bulk("id"), Integer(0), Bulk("mode"), Bulk("standalone"), Bulk("role"), Bulk(leads ? "master" : "replica"),
	                Bulk("modules"), ArrayOf({})});
}

std::string Session::Client(const Words& w) {
	if (!((Is(w[1], "SETNAME") && w.size() == 3) || (Is(w[1], "SETINFO") && w.size() == 4))) {
		throw Refused{"ERR CLIENT SETNAME name | SETINFO attribute value"};
	}
	return Simple("OK");
}

std::string Session::CommandList(const Words&) { return ArrayOf({}); }

// The member.

std::string Session::RaftStatus(const Words&) {
	Drain(0);
	const Status now = service_->member_->Now();
	const Peer* leader = service_->Find(now.leader);
	return Fields({{"id", service_->config_.id},
	               {"group", service_->config_.group},
	               {"role", now.role},
	               {"leader", now.leader},
	               {"leader_resp", leader == nullptr ? "" : Known(leader->resp)},
	               {"term", std::to_string(now.term)},
	               {"last_index", std::to_string(now.last_index)},
	               {"commit_index", std::to_string(now.commit_index)},
	               {"applied_index", std::to_string(now.applied_index)},
	               {"keys", std::to_string(service_->map_->keys())},
	               {"commands", std::to_string(service_->map_->commands())}});
}

std::string Session::RaftMembers(const Words&) {
	Drain(0);
	const Status now = service_->member_->Now();
	std::vector<std::string> items;
	for (const Peer& p : service_->config_.peers) {
		items.push_back(Fields({{"id", p.id}, {"address", p.address}, {"http", ""}, {"resp", Known(p.resp)}, {"voter", "yes"}, {"leader", YesNo(p.id == now.leader)}}));
	}
	return ArrayOf(items);
}

std::string Session::RaftReadLevel(const Words& w) {
	if (w.size() == 1) return Bulk(level_ == Level::kLinearizable ? "linearizable" : level_ == Level::kLease ? "lease" : "stale");
	if (Is(w[1], "linearizable")) {
		level_ = Level::kLinearizable;
	} else if (Is(w[1], "stale")) {
		level_ = Level::kStale;
	} else if (Is(w[1], "lease") && service_->config_.lease) {
		level_ = Level::kLease;
	} else if (Is(w[1], "lease")) {
		throw Refused{"ERR this member has no reads by lease: start all members with leader_lease = true"};
	} else {
		throw Refused{"ERR RAFT.READLEVEL [linearizable | lease | stale]"};
	}
	return Simple("OK");
}

std::string Session::RaftForward(const Words& w) {
	if (w.size() == 1) return Bulk("no");
	if (!Is(w[1], "no")) throw Refused{"ERR this member does not forward: RAFT.FORWARD no"};
	return Simple("OK");
}

std::string Session::RaftTransfer(const Words& w) {
	Drain(0);
	const std::string id = w.size() == 2 ? std::string(w[1]) : "";
	if (!id.empty() && service_->Find(id) == nullptr) throw Refused{"ERR there is no member " + id};
	if (service_->member_->Now().role != "leader") return service_->NotLeader();
	if (const std::string wrong = service_->member_->Transfer(id); !wrong.empty()) throw Refused{"ERR transfer of the leadership: " + wrong};
	return Simple("OK");
}

std::string Session::RaftSnapshot(const Words&) {
	Drain(0);
	if (const std::string wrong = service_->member_->Snapshot(); !wrong.empty()) throw Refused{"ERR snapshot: " + wrong};
	return Simple("OK");
}

std::string Session::RaftDigest(const Words&) {
	Drain(0);
	const Digest d = service_->map_->Sum();
	return Fields({{"id", service_->config_.id}, {"keys", std::to_string(d.keys)}, {"commands", std::to_string(d.commands)}, {"sha256", d.sha256}});
}

// Answers, in order.

uint64_t Session::AddSlot(bool write, std::string answer) {
	Lock lock(mutex_);
	Slot slot;
	slot.write = write;
	slot.done = !answer.empty();
	slot.answer = std::move(answer);
	slot.deadline = Clock::now() + kPatience;
	slots_.push_back(std::move(slot));
	return first_ + slots_.size() - 1;
}

void Session::Drain(size_t most) {
	Lock lock(mutex_);
	if (slots_.size() > most) FlushLocked();
	while (slots_.size() > most) drained_.wait(lock);
}

void Session::Fill(uint64_t number, std::string answer, bool applied) {
	Lock lock(mutex_);
	if (number < first_) return;  // it has expired, and was answered
	Slot& slot = slots_[number - first_];
	if (slot.done) return;
	slot.done = true;
	slot.answer = std::move(answer);
	if (!applied) {
		FlushLocked();
	} else if (!touched_) {
		touched_ = true;
		service_->touched_.push_back(shared_from_this());
	}
}

void Session::Flush() {
	Lock lock(mutex_);
	touched_ = false;
	FlushLocked();
}

void Session::FlushLocked() {
	while (!slots_.empty() && slots_.front().done) {
		ready_ += slots_.front().answer;
		slots_.pop_front();
		first_++;
	}
	const bool close = closing_ && slots_.empty();
	if (!closed_ && (!ready_.empty() || close)) write_(std::move(ready_), close);
	ready_.clear();
	closed_ = close;
	drained_.notify_all();
}

void Session::Expire(Clock::time_point now) {
	Lock lock(mutex_);
	bool any = false;
	for (Slot& slot : slots_) {
		if (slot.deadline > now) break;  // they are in order
		if (slot.done) continue;
		slot.done = any = true;
		slot.answer = Error(slot.write ? "UNKNOWN outcome: no answer within 5 s: the write may have taken effect, or may yet"
		                               : "TIMEOUT no answer within 5 s");
	}
	if (any) FlushLocked();
}

}  // namespace raftlab
