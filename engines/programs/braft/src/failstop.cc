#include "failstop.h"

#include <arpa/inet.h>
#include <braft/local_storage.pb.h>
#include <braft/protobuf_file.h>
#include <braft/raft_meta.h>
#include <braft/util.h>
#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace raftlab {

namespace {

std::runtime_error Damaged(const std::string& what) {
	return std::runtime_error(what + ": the log is damaged; start the member with an intact copy of its --data");
}

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
		if (!holds) throw Damaged(path + ": the entry at byte " + std::to_string(from) + " has another checksum");
		from += kHeader + size;
	}
}

// braft takes what it can parse for what was written.
template <class Record>
void CheckRecord(const std::string& path) {
	Record record;
	if (!std::filesystem::exists(path)) throw Damaged(path + " is missing, and there is a log");
	if (braft::ProtoBufFile(path).load(&record) != 0 || !record.IsInitialized()) throw Damaged(path + " cannot be read");
}

class Votes : public braft::FileBasedSingleMetaStorage {
public:
	using FileBasedSingleMetaStorage::FileBasedSingleMetaStorage;

	butil::Status set_term_and_votedfor(const int64_t term, const braft::PeerId& peer, const braft::VersionedGroupId& group) override {
		const butil::Status status = FileBasedSingleMetaStorage::set_term_and_votedfor(term, peer, group);
		if (!status.ok()) Fatal(std::string("write term and vote: ") + status.error_cstr());
		return status;
	}

	braft::RaftMetaStorage* new_instance(const std::string& folder) const override { return new Votes(folder); }
};

}  // namespace

void Fatal(const std::string& what) {
	fprintf(stderr, "raftlab-braft: %s: the member ends\n", what.c_str());
	_exit(1);
}

// braft reads an entry when it applies or sends it, but a configuration when it starts: where
// that is damaged it cuts the log off. Without log_meta it removes all segments, and without
// raft_meta it votes again.
void CheckFolder(const std::string& data) {
	const std::string dir = data + kLogFolder;
	if (!std::filesystem::exists(dir)) return;
	for (const auto& file : std::filesystem::directory_iterator(dir)) {
		const std::string name = file.path().filename();
		if (name.rfind("log_", 0) != 0 || name == "log_meta" || file.path().extension() == ".tmp" || file.file_size() == 0) continue;
		CheckRecord<braft::LogPBMeta>(dir + "/log_meta");
		CheckRecord<braft::StablePBMeta>(data + kVoteFolder + "/raft_meta");
		CheckSegment(file.path());
	}
}

void RegisterVotes() {
	static const Votes votes;
	if (braft::meta_storage_extension()->Register("votes", &votes) != 0) throw std::runtime_error("braft does not take a store of votes");
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
