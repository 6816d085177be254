#include "braft_member.h"

#include <braft/raft.h>
#include <braft/storage.h>
#include <braft/util.h>
#include <brpc/server.h>
#include <bthread/countdown_event.h>
#include <bthread/mutex.h>
#include <fcntl.h>
#include <gflags/gflags.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <sstream>
#include <type_traits>

#include "failstop.h"

namespace raftlab {

namespace {

constexpr char kMapFile[] = "map";
constexpr int64_t kTransferPatience_us = 5000000;
constexpr int64_t kSnapshotPatience_us = 60000000;
constexpr int64_t kPoll_us = 5000;

// Pending is a proposal on its way through braft. braft runs it where the entry was not applied;
// where it was, on_apply does, in its place among the entries.
class Pending : public braft::Closure {
public:
	explicit Pending(std::unique_ptr<Proposal> proposal) : proposal_(std::move(proposal)) {}

	void Applied(const Result& result) {
		proposal_->Done(Fate::kApplied, result);
		delete this;
	}

	void Run() override {
		proposal_->Done(FateOf(status()), {});
		delete this;
	}

private:
	// EPERM says both that an entry was not taken and that its fate is open; only the text tells
	// them apart. A text that braft may have one day is of the second kind.
	static Fate FateOf(const butil::Status& status) {
		if (status.error_code() == EBUSY) return Fate::kNotNow;
		const std::string text = status.error_str();
		return text == "is not leader" || text == "Node is down" ? Fate::kNotLeader : Fate::kUnknown;
	}

	const std::unique_ptr<Proposal> proposal_;
};

// A closure that somebody waits for.
class Awaited : public braft::Closure {
public:
	void Run() override { done_.signal(); }
	butil::Status Wait() {
		done_.wait();
		return status();
	}

private:
	bthread::CountdownEvent done_{1};
};

// A snapshot that is being written, beside what is applied meanwhile.
struct Saving {
	std::string bytes;
	braft::SnapshotWriter* writer;
	braft::Closure* done;
};

std::string WriteFlushed(const std::string& path, const std::string& bytes) {
	const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0) return path + ": " + strerror(errno);
	std::string wrong;
	for (size_t at = 0; at < bytes.size() && wrong.empty();) {
		const ssize_t n = write(fd, bytes.data() + at, bytes.size() - at);
		if (n >= 0) {
			at += static_cast<size_t>(n);
		} else if (errno != EINTR) {
			wrong = path + ": " + strerror(errno);
		}
	}
	if (wrong.empty() && fsync(fd) != 0) wrong = path + ": " + strerror(errno);
	close(fd);
	return wrong;
}

void* Save(void* argument) {
	const std::unique_ptr<Saving> saving(static_cast<Saving*>(argument));
	brpc::ClosureGuard guard(saving->done);
	const std::string wrong = WriteFlushed(saving->writer->get_path() + "/" + kMapFile, saving->bytes);
	if (!wrong.empty()) {
		saving->done->status().set_error(EIO, "write snapshot: %s", wrong.c_str());
	} else if (saving->writer->add_file(kMapFile) != 0) {
		saving->done->status().set_error(EIO, "add the snapshot's file");
	}
	return nullptr;
}

class BraftMember : public Member, public braft::StateMachine {
public:
	BraftMember(const Flags& flags, const Settings& settings, Map* map, std::function<void()> applied)
	    : settings_(settings), map_(map), applied_(std::move(applied)) {
		for (const Peer& p : flags.members) {
			peers_.emplace_back(p.id, braft::PeerId(p.address + ":0"));
			if (p.id == flags.id) self_ = peers_.back().second;
		}
		StartTransport(flags.raft);
		StartNode(flags);
	}

	~BraftMember() override {
		node_->shutdown(nullptr);
		node_->join();
	}

	void Propose(std::string entry, std::unique_ptr<Proposal> proposal) override {
		butil::IOBuf data;
		data.append(entry);
		braft::Task task;
		task.data = &data;
		task.done = new Pending(std::move(proposal));
		node_->apply(task);
	}

	bool HoldsLease() override { return node_->is_leader_lease_valid(); }

	Status Now() override {
		const auto applied = static_cast<uint64_t>(last_applied_.load());  // braft's own comes behind the answers
		braft::NodeStatus s;
		node_->get_status(&s);
		Status now;
		now.role = s.state == braft::STATE_LEADER || s.state == braft::STATE_TRANSFERRING ? "leader"
		           : s.state == braft::STATE_CANDIDATE                                    ? "candidate"
		                                                                                  : "follower";
		now.leader = IdOf(s.leader_id);
		now.term = static_cast<uint64_t>(s.term);
		now.last_index = static_cast<uint64_t>(std::max(s.last_index, s.committed_index));  // braft reads one after the other
		now.commit_index = static_cast<uint64_t>(s.committed_index);
		now.applied_index = std::max(applied, static_cast<uint64_t>(s.known_applied_index));
		return now;
	}

	// A leader that has just begun, or whose follower does not answer, refuses for a while.
	std::string Transfer(const std::string& id) override {
		braft::PeerId to = braft::ANY_PEER;
		for (const auto& [name, peer] : peers_) {
			if (name == id) to = peer;
		}
		if (to == self_) return "";
		const int64_t deadline = butil::monotonic_time_us() + kTransferPatience_us;
		bool asked = false;
		for (; butil::monotonic_time_us() < deadline; bthread_usleep(kPoll_us)) {
			braft::NodeStatus s;
			node_->get_status(&s);
			if (s.state == braft::STATE_FOLLOWER && !IdOf(s.leader_id).empty()) return "";
			if (s.state != braft::STATE_LEADER) continue;
			if (asked) return "the member has not taken over within an election timeout";
			asked = node_->transfer_leadership_to(to) == 0;
		}
		return asked ? "nobody leads yet" : "the member does not answer, or braft is not ready for it";
	}

	// braft cuts its log at the snapshot before the last, and at the last when it is asked for
	// one and nothing has been applied since: so it is asked twice.
	std::string Snapshot() override {
		for (int i = 0; i < 2; i++) {
			const int64_t deadline = butil::monotonic_time_us() + kSnapshotPatience_us;
			butil::Status status;
			do {
				Awaited awaited;
				node_->snapshot(&awaited);
				status = awaited.Wait();
			} while (status.error_code() == EBUSY && butil::monotonic_time_us() < deadline && bthread_usleep(kPoll_us) == 0);
			if (!status.ok()) return status.error_str();
		}
		return "";
	}

	void on_apply(braft::Iterator& iter) override {
		for (; iter.valid(); iter.next()) {
			Result result;
			if (!iter.data().empty()) result = map_->Apply(static_cast<uint64_t>(iter.index()), iter.data().to_string());
			last_applied_ = iter.index();
			if (iter.done() != nullptr) static_cast<Pending*>(iter.done())->Applied(result);
		}
		applied_();
		if (settings_.snapshot_threshold > 0 && last_applied_ - last_snapshot_ >= settings_.snapshot_threshold) {
			last_snapshot_ = last_applied_;
			node_->snapshot(nullptr);
		}
	}

	void on_snapshot_save(braft::SnapshotWriter* writer, braft::Closure* done) override {
		last_snapshot_ = last_applied_;
		auto saving = std::make_unique<Saving>(Saving{map_->Snapshot(), writer, done});
		bthread_t thread;
		if (bthread_start_background(&thread, nullptr, Save, saving.get()) == 0) {
			saving.release();
		} else {
			Save(saving.release());
		}
	}

	int on_snapshot_load(braft::SnapshotReader* reader) override {
		const std::string path = reader->get_path() + "/" + kMapFile;
		std::ifstream in(path, std::ios::binary);
		std::ostringstream bytes;
		bytes << in.rdbuf();
		if (!in) Fatal("read snapshot " + path);
		try {
			map_->Restore(bytes.str());
		} catch (const Malformed& wrong) {
			Fatal("restore " + path + ": " + wrong.what());
		}
		braft::SnapshotMeta meta;
		if (reader->load_meta(&meta) == 0) last_applied_ = last_snapshot_ = meta.last_included_index();
		return 0;
	}

	void on_error(const braft::Error& e) override {
		std::ostringstream what;
		what << e;
		Fatal("braft: " + what.str());
	}

private:
	void StartTransport(const std::string& address) {
		if (braft::add_service(&transport_, self_.addr) != 0) throw std::runtime_error("braft does not take its address");
		brpc::ServerOptions options;
		options.has_builtin_services = false;
		options.enabled_protocols = "baidu_std";
		if (transport_.Start(address.c_str(), &options) != 0) throw std::runtime_error("listen for the other members at " + address + ": " + strerror(errno));
	}

	void StartNode(const Flags& flags) {
		braft::NodeOptions options;
		std::vector<braft::PeerId> all;
		for (const auto& [id, peer] : peers_) all.push_back(peer);
		options.initial_conf = braft::Configuration(all);
		options.election_timeout_ms = settings_.election_timeout_ms();
		options.max_clock_drift_ms = settings_.max_clock_drift_ms();
		options.snapshot_interval_s = 0;
		options.fsm = this;
		options.disable_cli = true;
		CheckFolder(flags.data);
		options.log_uri = "local://" + flags.data + kLogFolder;
		options.raft_meta_uri = "votes://" + flags.data + kVoteFolder;
		options.snapshot_uri = "local://" + flags.data + "/snapshot";
		node_ = std::make_unique<braft::Node>(flags.group, self_);
		if (node_->init(options) != 0) throw std::runtime_error("braft does not start on " + flags.data + ": see what it says above");
	}

	std::string IdOf(const braft::PeerId& peer) const {
		for (const auto& [id, p] : peers_) {
			if (p == peer) return id;
		}
		return "";
	}

	const Settings settings_;
	Map* const map_;
	const std::function<void()> applied_;
	std::vector<std::pair<std::string, braft::PeerId>> peers_;
	braft::PeerId self_;
	brpc::Server transport_;
	std::unique_ptr<braft::Node> node_;
	std::atomic<int64_t> last_applied_{0};
	int64_t last_snapshot_ = 0;  // of the thread that applies
};

}  // namespace

Build Libraries() {
	return {RAFTLAB_BRAFT_VERSION, RAFTLAB_BRPC_VERSION, RAFTLAB_COMPILER, std::is_same_v<braft::raft_mutex_t, bthread::Mutex>};
}

void Configure(const Settings& s) {
	const auto number = [](int64_t n) { return std::to_string(n); };
	const std::vector<std::pair<const char*, std::string>> flags = {
	    {"raft_sync", "true"},
	    {"raft_sync_meta", "true"},
	    {"raft_sync_policy", "0"},
	    {"raft_use_fsync_rather_than_fdatasync", "false"},
	    {"raft_max_election_delay_ms", number(s.election_timeout_ms())},
	    {"raft_max_entries_size", number(s.max_append_entries)},
	    {"raft_max_body_size", number(s.max_append_bytes)},
	    {"raft_max_parallel_append_entries_rpc_num", number(s.max_in_flight)},
	    {"raft_enable_append_entries_cache", s.max_in_flight > 1 ? "true" : "false"},
	    {"raft_max_append_entries_cache_size", number(std::max<int64_t>(8, s.max_in_flight))},
	    {"raft_enable_leader_lease", s.leader_lease ? "true" : "false"},
	    {"raft_apply_batch", number(s.apply_batch)},
	    {"raft_leader_batch", number(s.disk_batch)},
	    {"bthread_concurrency", number(s.threads + s.max_in_flight)},
	    {"crash_on_fatal_log", "true"},  // or braft goes on after what it calls fatal
	};
	RegisterVotes();
	for (const auto& [name, value] : flags) {
		if (gflags::SetCommandLineOption(name, value.c_str()).empty()) {
			throw std::runtime_error("the installed braft does not take " + std::string(name) + " = " + value);
		}
	}
}

std::unique_ptr<Member> StartMember(const Flags& flags, const Settings& settings, Map* map, std::function<void()> applied) {
	return std::make_unique<BraftMember>(flags, settings, map, std::move(applied));
}

}  // namespace raftlab
