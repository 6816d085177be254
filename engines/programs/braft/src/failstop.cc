// What ends the program where braft would go on: a flush that failed, and a damaged log.
#include <arpa/inet.h>
#include <braft/util.h>
#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "braft_member.h"

namespace raftlab {

namespace {

// An entry in a segment of braft's log: a header of 32-bit numbers in network order, which are
// term (two), type, checksum type and nothing (8, 8 and 16 bits), the data's length, the data's
// checksum and that of the header before it; and the data.
constexpr size_t kHeader = 24;

uint32_t Number(const char* at) {
	uint32_t n;
	memcpy(&n, at, sizeof n);
	return ntohl(n);
}

bool Holds(char type, const char* bytes, size_t size, uint32_t sum) {
	if (type != 0 && type != 1) return false;
	return sum == (type == 0 ? braft::murmurhash32(bytes, static_cast<int>(size)) : braft::crc32(bytes, static_cast<int>(size)));
}

// What is behind the last whole entry a crash has left, and is no damage: braft cuts it off.
void CheckSegment(const std::string& path) {
	std::ifstream in(path, std::ios::binary);
	const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
	if (!in) throw std::runtime_error("read " + path + ": " + strerror(errno));
	for (size_t from = 0; bytes.size() - from >= kHeader;) {
		const char* const header = bytes.data() + from;
		const char type = header[9];
		bool holds = Holds(type, header, kHeader - 4, Number(header + 20));
		const size_t size = holds ? Number(header + 12) : 0;
		if (size > bytes.size() - from - kHeader) return;
		holds = holds && Holds(type, header + kHeader, size, Number(header + 16));
		if (!holds) throw std::runtime_error(path + ": the entry at byte " + std::to_string(from) + " is damaged: its checksum is another; start the member with an intact copy of its --data");
		from += kHeader + size;
	}
}

}  // namespace

// braft reads entries when it applies or sends them, and a configuration when it starts: where
// one is damaged it cuts the log off there. Without log_meta it removes all segments.
void CheckLog(const std::string& dir) {
	if (!std::filesystem::exists(dir)) return;
	for (const auto& file : std::filesystem::directory_iterator(dir)) {
		const std::string name = file.path().filename();
		if (name.rfind("log_", 0) != 0 || name == "log_meta" || file.path().extension() == ".tmp") continue;
		if (!std::filesystem::exists(dir + "/log_meta")) throw std::runtime_error(dir + "/log_meta is missing, and with it where the log begins; start the member with an intact copy of its --data");
		CheckSegment(file.path());
	}
}

}  // namespace raftlab

// braft's log does not look at what fdatasync returns (SegmentLogStorage::append_entries). These
// definitions stand before those of libc, and of what LD_PRELOAD brings, and call them.

namespace {

using Flush = int(int);

Flush* Next(const char* name) { return reinterpret_cast<Flush*>(dlsym(RTLD_NEXT, name)); }

int Checked(Flush* next, const char* name, int fd) {
	const int r = next == nullptr ? -1 : next(fd);
	if (r == 0 || errno == EINTR || errno == EINVAL) return r;  // EINVAL: nothing that can be flushed
	fprintf(stderr, "raftlab-braft: %s has failed: %s: what was written may be lost: the member ends\n", name, strerror(errno));
	_exit(1);
}

}  // namespace

extern "C" int fdatasync(int fd) {
	static Flush* const next = Next("fdatasync");
	return Checked(next, "fdatasync", fd);
}

extern "C" int fsync(int fd) {
	static Flush* const next = Next("fsync");
	return Checked(next, "fsync", fd);
}
