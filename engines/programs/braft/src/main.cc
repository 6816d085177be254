// raftlab-braft: a member of a group, by braft. docs/engine-programs.md says what it does.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "braft_member.h"

namespace raftlab {
namespace {

// Claim makes the folder this member's. What is another's, or is in use, is refused.
void Claim(const Flags& flags) {
	std::filesystem::create_directories(flags.data);
	const std::string lock = flags.data + "/lock", file = flags.data + "/member";
	const int fd = open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);  // until the process ends
	if (fd < 0) throw std::runtime_error(lock + ": " + strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) throw std::runtime_error(flags.data + " is in use by another process");
	const std::string mine = flags.id + " " + flags.group + "\n";
	std::ifstream in(file);
	if (in) {
		const std::string there((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
		if (there != mine) throw std::runtime_error(flags.data + " is of member " + there.substr(0, there.find('\n')) + ", not " + flags.id + " " + flags.group + ": give that one's --id and --members, or another --data");
		return;
	}
	const std::string draft = file + ".new";
	const int to = open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	const bool written = to >= 0 && write(to, mine.data(), mine.size()) == static_cast<ssize_t>(mine.size()) && fsync(to) == 0 && close(to) == 0;
	if (!written || rename(draft.c_str(), file.c_str()) != 0) throw std::runtime_error(file + ": " + strerror(errno));
}

void Serve(const Flags& flags, const Settings& settings, const sigset_t& goodbye) {
	Claim(flags);
	Configure(settings);
	Map map;
	Service* service = nullptr;  // begun once the member is; until then there is nobody to answer
	const auto member = StartMember(flags, settings, &map, [&service] {
		if (Service* const s = __atomic_load_n(&service, __ATOMIC_ACQUIRE); s != nullptr) s->Applied();
	});
	Service running({flags.id, flags.group, Libraries().braft, flags.members, settings.leader_lease}, &map, member.get());
	__atomic_store_n(&service, &running, __ATOMIC_RELEASE);
	StartServer(flags.resp, &running);
	fprintf(stderr, "raftlab-braft: %s serves clients at %s\n", flags.id.c_str(), flags.resp.c_str());
	int signal = 0;
	sigwait(&goodbye, &signal);
	fprintf(stderr, "raftlab-braft: %s ends: %s\n", flags.id.c_str(), strsignal(signal));
	// What is acknowledged is on the disk: there is nothing to save, and of what is under way
	// clients are told nothing, as with any end of a connection.
	_exit(0);
}

int Main(const std::vector<std::string>& args) {
	Flags flags;
	Settings settings;
	try {
		flags = ParseFlags(args);
		if (!flags.help) settings = ReadSettings(flags.settings);
	} catch (const Usage& wrong) {
		fprintf(stderr, "raftlab-braft: %s\n", wrong.what());
		return 2;
	}
	if (flags.help || flags.describe) {
		fputs(flags.help ? Help().c_str() : Describe(settings, Libraries()).c_str(), stdout);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	// Before there are threads: they inherit it, and this one alone waits for the signals.
	sigset_t goodbye;
	sigemptyset(&goodbye);
	sigaddset(&goodbye, SIGTERM);
	sigaddset(&goodbye, SIGINT);
	pthread_sigmask(SIG_BLOCK, &goodbye, nullptr);
	std::signal(SIGPIPE, SIG_IGN);
	std::signal(SIGABRT, [](int) { _exit(1); });  // of what the libraries call fatal
	try {
		Serve(flags, settings, goodbye);
	} catch (const std::exception& wrong) {
		fprintf(stderr, "raftlab-braft: %s\n", wrong.what());
	}
	_exit(1);  // the libraries' threads do not end
}

}  // namespace
}  // namespace raftlab

int main(int count, char** words) { return raftlab::Main({words + 1, words + count}); }
