// A flush that failed ends the program. braft's log does not look at what fdatasync returns
// (SegmentLogStorage::append_entries), and goes on as if the entries were on the disk. These
// definitions stand before those of libc, and of what LD_PRELOAD brings, and call them.
#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

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
