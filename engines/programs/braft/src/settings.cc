#include "settings.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <algorithm>
#include <charconv>
#include <fstream>

namespace raftlab {

namespace {

constexpr int64_t kDay = 24LL * 3600 * 1000000;

// A setting is a duration, a number or a word; one of the pointers says where it goes.
struct Key {
	const char* name;
	const char* doc;
	bool honoured;
	int64_t Settings::*duration;
	int64_t Settings::*number;
	bool Settings::*yes;
	int64_t least, most;
	const char* note;  // behind what it runs with
};

const std::vector<Key>& Keys() {
	static const std::vector<Key> keys = {
	    {"heartbeat_timeout", "how long a follower goes without hearing from a leader before it stands for election: one to two times it, in whole ms, rounded up; a heartbeat each tenth of it (raft_election_heartbeat_factor)", true, &Settings::heartbeat_timeout_us, nullptr, nullptr, 10000, kDay, ""},
	    {"max_append_entries", "entries in one message (raft_max_entries_size)", true, nullptr, &Settings::max_append_entries, nullptr, 1, 1 << 20, ""},
	    {"max_append_bytes", "bytes in one message (raft_max_body_size)", true, nullptr, &Settings::max_append_bytes, nullptr, 1, 1 << 30, ""},
	    {"max_in_flight", "messages under way to one follower (raft_max_parallel_append_entries_rpc_num); above 1 followers keep those that overtake (raft_enable_append_entries_cache)", true, nullptr, &Settings::max_in_flight, nullptr, 1, 4096, ""},
	    {"pre_vote", "braft always has it", false, nullptr, nullptr, &Settings::pre_vote, 0, 1, " (not honoured: braft always has it)"},
	    {"snapshot_threshold", "how many new entries make a snapshot; 0: none but those that are asked for. The program counts: braft goes by time alone", true, nullptr, &Settings::snapshot_threshold, nullptr, 0, INT64_MAX, ""},
	    {"trailing_logs", "braft cuts its log at the snapshot before the last, or, where one is asked for, at it", false, nullptr, &Settings::trailing_logs, nullptr, 0, INT64_MAX, " (not honoured: braft cuts its log at the snapshot before the last, or, where one is asked for, at it)"},
	    {"leader_lease", "reads by lease (raft_enable_leader_lease); followers then vote for nobody until heartbeat_timeout and max_clock_drift have gone by. The same for all members", true, nullptr, nullptr, &Settings::leader_lease, 0, 1, ""},
	    {"max_clock_drift", "of leases: how far clocks may be apart", true, &Settings::max_clock_drift_us, nullptr, nullptr, 0, kDay, ""},
	    {"apply_batch", "proposals that are appended as one (raft_apply_batch)", true, nullptr, &Settings::apply_batch, nullptr, 1, 1 << 20, ""},
	    {"disk_batch", "batches that share a flush (raft_leader_batch)", true, nullptr, &Settings::disk_batch, nullptr, 1, 1 << 20, ""},
	    {"threads", "workers that run bthreads, beside one for each of max_in_flight (bthread_concurrency)", true, nullptr, &Settings::threads, nullptr, 4, 1024, ""},
	};
	return keys;
}

std::string TextOf(const Settings& s, const Key& k) {
	if (k.duration != nullptr) return std::to_string(s.*k.duration) + "us";
	if (k.number != nullptr) return std::to_string(s.*k.number);
	return s.*k.yes ? "true" : "false";
}

void SetTo(Settings* s, const Key& k, std::string text) {
	if (k.yes != nullptr) {
		if (text != "true" && text != "false") throw Usage("is true or false, not " + text);
		s->*k.yes = text == "true";
		return;
	}
	const std::string whole = text;
	if (k.duration != nullptr) {
		if (text.size() < 3 || text.substr(text.size() - 2) != "us") throw Usage("is a duration in microseconds, as 1000000us, not " + whole);
		text.resize(text.size() - 2);
	}
	int64_t n = 0;
	const auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), n);
	if (err != std::errc() || end != text.data() + text.size() || text.empty()) throw Usage("is a whole number, not " + whole);
	if (n < k.least || n > k.most) throw Usage("is from " + std::to_string(k.least) + " to " + std::to_string(k.most) + ", not " + whole);
	s->*(k.duration != nullptr ? k.duration : k.number) = n;
}

std::string Trim(const std::string& s) {
	const size_t from = s.find_first_not_of(" \t\r");
	return from == std::string::npos ? "" : s.substr(from, s.find_last_not_of(" \t\r") - from + 1);
}

std::string Quoted(const std::string& s) {
	std::string to = "\"";
	for (const char c : s) {
		if (c == '"' || c == '\\') to.push_back('\\');
		to.push_back(static_cast<unsigned char>(c) < ' ' ? ' ' : c);
	}
	return to + "\"";
}

std::string Object(const std::vector<std::pair<std::string, std::string>>& fields, const std::string& indent) {
	std::string to = "{";
	for (size_t i = 0; i < fields.size(); i++) {
		to += (i > 0 ? ",\n" : "\n") + indent + "  " + Quoted(fields[i].first) + ": " + fields[i].second;
	}
	return to + "\n" + indent + "}";
}

std::string Part(const std::string& name, const std::string& library, const std::string& version) {
	return Object({{"name", Quoted(name)}, {"library", Quoted(library)}, {"version", Quoted(version)}}, "  ");
}

// Digits returns the address with its host as IPv4 digits: braft has no others.
std::string Digits(const std::string& flag, const std::string& address) {
	const size_t colon = address.rfind(':');
	int port = 0;
	const std::string host = address.substr(0, std::min(colon, address.size()));
	if (colon != std::string::npos) {
		const char* last = address.data() + address.size();
		const auto [end, err] = std::from_chars(address.data() + colon + 1, last, port);
		if (err != std::errc() || end != last) port = 0;
	}
	if (host.empty() || port < 1 || port > 65535) throw Usage(flag + ": " + Quoted(address) + " is no HOST:PORT");
	addrinfo hints{};
	hints.ai_family = AF_INET;
	hints.ai_socktype = SOCK_STREAM;
	addrinfo* found = nullptr;
	if (const int err = getaddrinfo(host.c_str(), nullptr, &hints, &found); err != 0) {
		throw Usage(flag + ": " + Quoted(address) + " has no IPv4 address, and braft knows no others: " + gai_strerror(err));
	}
	char digits[INET_ADDRSTRLEN];
	inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(found->ai_addr)->sin_addr, digits, sizeof digits);
	freeaddrinfo(found);
	return std::string(digits) + ":" + std::to_string(port);
}

std::vector<std::pair<std::string, std::string>> Pairs(const std::string& flag, const std::string& list) {
	std::vector<std::pair<std::string, std::string>> pairs;
	for (size_t from = 0; from <= list.size();) {
		const size_t end = std::min(list.find(',', from), list.size());
		const std::string one = list.substr(from, end - from);
		const size_t equals = one.find('=');
		if (equals == std::string::npos || equals == 0) throw Usage(flag + ": " + Quoted(one) + " is no ID=HOST:PORT");
		const std::string id = one.substr(0, equals);
		if (std::any_of(pairs.begin(), pairs.end(), [&](const auto& p) { return p.first == id; })) throw Usage(flag + ": " + id + " stands there twice");
		pairs.emplace_back(id, one.substr(equals + 1));
		from = end + 1;
	}
	return pairs;
}

// Groups of the same members are the same group; a member of another that comes by is none.
std::string GroupOf(const std::vector<Peer>& members) {
	std::vector<std::string> all;
	for (const Peer& p : members) all.push_back(p.id + "=" + p.address);
	std::sort(all.begin(), all.end());
	uint64_t hash = 14695981039346656037ULL;  // FNV-1a
	for (const std::string& one : all) {
		for (const char c : one + ",") hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211ULL;
	}
	char text[32];
	snprintf(text, sizeof text, "raftlab-%016llx", static_cast<unsigned long long>(hash));
	return text;
}

// What the flags are of, until all have been seen.
struct Lists {
	std::string members, resp_members;
};

std::string* Target(Flags* f, Lists* lists, const std::string& name) {
	if (name == "--settings") return &f->settings;
	if (f->describe) return nullptr;
	if (name == "--id") return &f->id;
	if (name == "--raft") return &f->raft;
	if (name == "--resp") return &f->resp;
	if (name == "--data") return &f->data;
	if (name == "--members") return &lists->members;
	if (name == "--resp-members") return &lists->resp_members;
	return nullptr;
}

void Complete(Flags* f, const Lists& lists) {
	const std::pair<const char*, const std::string*> needed[] = {
	    {"--id", &f->id}, {"--raft", &f->raft}, {"--resp", &f->resp}, {"--data", &f->data}, {"--members", &lists.members}};
	for (const auto& [name, value] : needed) {
		if (value->empty()) throw Usage(std::string(name) + " is missing; see raftlab-braft --help");
	}
	f->raft = Digits("--raft", f->raft);
	f->resp = Digits("--resp", f->resp);
	for (const auto& [id, address] : Pairs("--members", lists.members)) f->members.push_back({id, Digits("--members", address), "-"});
	if (!lists.resp_members.empty()) {
		for (const auto& [id, address] : Pairs("--resp-members", lists.resp_members)) {
			const auto peer = std::find_if(f->members.begin(), f->members.end(), [&id = id](const Peer& p) { return p.id == id; });
			if (peer == f->members.end()) throw Usage("--resp-members: there is no member " + id);
			Digits("--resp-members", address);
			peer->resp = address;
		}
	}
	if (std::none_of(f->members.begin(), f->members.end(), [f](const Peer& p) { return p.id == f->id; })) {
		throw Usage("--members: " + f->id + ", which --id names, is not among them");
	}
	f->group = GroupOf(f->members);
}

}  // namespace

Settings ReadSettings(const std::string& file) {
	Settings settings;
	if (file.empty()) return settings;
	std::ifstream in(file);
	if (!in) throw Usage("--settings: cannot read " + file);
	std::string line;
	for (int number = 1; std::getline(in, line); number++) {
		const std::string at = file + ":" + std::to_string(number) + ": ";
		line = Trim(line);
		if (line.empty() || line[0] == '#') continue;
		const size_t equals = line.find('=');
		if (equals == std::string::npos) throw Usage(at + Quoted(line) + " is no key = value");
		const std::string name = Trim(line.substr(0, equals));
		const auto key = std::find_if(Keys().begin(), Keys().end(), [&](const Key& k) { return name == k.name; });
		if (key == Keys().end()) throw Usage(at + "there is no setting " + Quoted(name) + "; see raftlab-braft describe");
		try {
			SetTo(&settings, *key, Trim(line.substr(equals + 1)));
		} catch (const Usage& wrong) {
			throw Usage(at + name + " " + wrong.what());
		}
	}
	if (in.bad()) throw Usage("--settings: cannot read " + file);
	return settings;
}

std::string Describe(const Settings& settings, const Build& build) {
	const Settings defaults;
	std::vector<std::pair<std::string, std::string>> keys, runs;
	for (const Key& k : Keys()) {
		keys.emplace_back(k.name, Object({{"default", Quoted(TextOf(defaults, k))}, {"doc", Quoted(k.doc)}, {"honoured", k.honoured ? "true" : "false"}}, "    "));
		runs.emplace_back(k.name, Quoted(TextOf(settings, k) + k.note));
	}
	runs.emplace_back("election_timeout", Quoted(std::to_string(settings.election_timeout_ms()) + " to " + std::to_string(2 * settings.election_timeout_ms()) + " ms"));
	runs.emplace_back("flush", Quoted("fdatasync of the log before an entry counts (raft_sync, raft_sync_policy 0), and of term and vote (raft_sync_meta)"));
	runs.emplace_back("mutex", Quoted(build.bthread_mutex ? "of bthreads (USE_BTHREAD_MUTEX)" : "of threads: a bthread that waits for it holds its worker"));
	return Object({{"protocol", "1"},
	               {"engine", Quoted("braft")},
	               {"library", Quoted("baidu/braft")},
	               {"version", Quoted(build.braft)},
	               {"language", Quoted("C++17 " + build.compiler)},
	               {"storage", Part("segmented log", "baidu/braft", build.braft)},
	               {"transport", Part("brpc (baidu_std)", "apache/brpc", build.brpc)},
	               {"durability", Quoted("disk")},
	               {"read_levels", settings.leader_lease ? R"(["linearizable", "lease", "stale"])" : R"(["linearizable", "stale"])"},
	               {"reads", Quoted("log entry")},
	               {"ours", Quoted("framing, results, state machine, server")},
	               {"features", R"(["transfer", "snapshot", "links", "checksums"])"},
	               {"settings", Object(keys, "  ")},
	               {"runs", Object(runs, "  ")}},
	              "") +
	       "\n";
}

Flags ParseFlags(const std::vector<std::string>& args) {
	Flags f;
	Lists lists;
	size_t i = 0;
	if (!args.empty() && args[0] == "describe") {
		f.describe = true;
		i = 1;
	}
	for (; i < args.size(); i++) {
		if (args[i] == "--help" || args[i] == "-h") {
			f.help = true;
			return f;
		}
		const size_t equals = args[i].find('=');
		const std::string name = args[i].substr(0, equals);
		std::string* const target = Target(&f, &lists, name);
		if (target == nullptr) throw Usage("unknown flag " + Quoted(name) + "; see raftlab-braft --help");
		if (equals != std::string::npos) {
			*target = args[i].substr(equals + 1);
		} else if (i + 1 < args.size()) {
			*target = args[++i];
		} else {
			throw Usage(name + " needs a value");
		}
	}
	if (!f.describe) Complete(&f, lists);
	return f;
}

std::string Help() {
	std::string text =
	    "raftlab-braft is one member of a group that keeps a map by braft.\n\n"
	    "  raftlab-braft describe [--settings FILE]\n"
	    "  raftlab-braft --id n1 --raft H:P --resp H:P --data DIR --members n1=H:P,n2=H:P,n3=H:P\n"
	    "      [--resp-members n1=H:P,...] [--settings FILE]\n\n"
	    "It serves the Redis protocol at --resp and ends on SIGTERM. docs/engine-programs.md says more.\n"
	    "FILE has lines of key = value:\n\n";
	const Settings defaults;
	for (const Key& k : Keys()) text += std::string("  ") + k.name + " = " + TextOf(defaults, k) + "\n      " + k.doc + "\n";
	return text;
}

}  // namespace raftlab
