#include "settings.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "check.h"

namespace raftlab {

namespace {

// A file that is gone with it.
struct File {
	explicit File(const std::string& text) {
		const int fd = mkstemp(name);
		std::ofstream(name) << text;
		close(fd);
	}
	~File() { unlink(name); }
	char name[32] = "/tmp/raftlab-braft-XXXXXX";
};

template <typename F>
std::string Mistake(F f) {
	try {
		f();
	} catch (const Usage& wrong) {
		return wrong.what();
	}
	return "none";
}

bool Ends(const std::string& text, const std::string& with) {
	return text.size() >= with.size() && text.compare(text.size() - with.size(), with.size(), with) == 0;
}

void Files() {
	const File good("# aligned\n\nheartbeat_timeout = 250001us\nmax_in_flight=64\n pre_vote = false \nleader_lease = true\n");
	const Settings s = ReadSettings(good.name);
	Equal(s.election_timeout_ms(), 251, HERE);
	Equal(s.max_in_flight, 64, HERE);
	Equal(s.pre_vote, false, HERE);
	Equal(s.snapshot_threshold, 8192, HERE);
	for (const auto& [text, want] : std::vector<std::pair<std::string, std::string>>{
	         {"none = 1", ":1: there is no setting \"none\"; see raftlab-braft describe"},
	         {"\nmax_in_flight = 0", ":2: max_in_flight is from 1 to 4096, not 0"},
	         {"max_in_flight = 1x", ":1: max_in_flight is a whole number, not 1x"},
	         {"max_in_flight =", ":1: max_in_flight is a whole number, not "},
	         {"heartbeat_timeout = 1s", ":1: heartbeat_timeout is a duration in microseconds, as 1000000us, not 1s"},
	         {"pre_vote = yes", ":1: pre_vote is true or false, not yes"},
	         {"pre_vote", ":1: \"pre_vote\" is no key = value"},
	     }) {
		const File bad(text);
		const std::string told = Mistake([&] { ReadSettings(bad.name); });
		if (!Ends(told, want)) Equal(told, want, "settings: " + text);
	}
	Equal(Mistake([] { ReadSettings("/none/none"); }), "--settings: cannot read /none/none", HERE);
	const auto d = nlohmann::json::parse(Describe(s, {"1", "2", "3", true}));
	Equal(d["protocol"].get<int>(), 1, HERE);
	Equal(d["reads"].get<std::string>(), "log entry", HERE);
	Equal(d["settings"]["pre_vote"]["honoured"].get<bool>(), false, HERE);
	Equal(d["runs"]["pre_vote"].get<std::string>(), "false (not honoured: braft always has it)", HERE);
	Equal(d["runs"]["heartbeat_timeout"].get<std::string>(), "250001us", HERE);
	Equal(d["read_levels"].size(), 3u, HERE);
}

void CommandLine() {
	const std::vector<std::string> good = {"--id=n1", "--raft", "localhost:1", "--resp", "127.0.0.1:2", "--data", "d", "--members", "n1=127.0.0.1:1,n2=127.0.0.2:1", "--resp-members", "n2=127.0.0.2:2"};
	const Flags f = ParseFlags(good);
	Equal(f.raft, "127.0.0.1:1", HERE);
	Equal(f.members[1].resp, "127.0.0.2:2", HERE);
	Equal(f.members[0].resp, "-", HERE);
	auto turned = good;
	turned[8] = "n2=127.0.0.2:1,n1=127.0.0.1:1";
	Equal(ParseFlags(turned).group, f.group, "the order of members does not matter");
	turned[8] = "n1=127.0.0.1:1,n2=127.0.0.2:9";
	if (ParseFlags(turned).group == f.group) Equal(1, 0, "groups of other members are others");
	for (const auto& [at, word, want] : std::vector<std::tuple<size_t, std::string, std::string>>{
	         {0, "--ident=n1", "unknown flag \"--ident\"; see raftlab-braft --help"},
	         {0, "--id=n3", "--members: n3, which --id names, is not among them"},
	         {2, "localhost", "--raft: \"localhost\" is no HOST:PORT"},
	         {4, "127.0.0.1:0", "--resp: \"127.0.0.1:0\" is no HOST:PORT"},
	         {4, "127.0.0.1:2x", "--resp: \"127.0.0.1:2x\" is no HOST:PORT"},
	         {8, "n1=127.0.0.1:1,n1=127.0.0.2:1", "--members: n1 stands there twice"},
	         {8, "n1", "--members: \"n1\" is no ID=HOST:PORT"},
	         {10, "n4=127.0.0.1:4", "--resp-members: there is no member n4"},
	     }) {
		auto bad = good;
		bad[at] = word;
		Equal(Mistake([&] { ParseFlags(bad); }), want, "flag " + word);
	}
	Equal(Mistake([] { ParseFlags({"--id", "n1"}); }), "--raft is missing; see raftlab-braft --help", HERE);
	Equal(Mistake([] { ParseFlags({"--id"}); }), "--id needs a value", HERE);
	Equal(Mistake([] { ParseFlags({"describe", "--id", "n1"}); }), "unknown flag \"--id\"; see raftlab-braft --help", HERE);
}

}  // namespace

void TestSettings() {
	Files();
	CommandLine();
}

}  // namespace raftlab
