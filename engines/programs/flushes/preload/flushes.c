/*
 * Counts the flushes of the process that it is loaded into, its threads and its children.
 * What is counted where, and what is not seen, is said in ../flushes.go.
 *
 * A call is passed on as it is and its result returned as it is. Once it has returned, and
 * before its caller knows, it is counted: whoever has seen an answer that needed a flush
 * finds that flush in the file.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the counters of the file are little-endian"
#endif

enum counter { FSYNC, FDATASYNC, MSYNC, SYNC_FILE_RANGE, SYNC_WRITE, FAILED };
enum { FILE_BYTES = 4096 };

/* Null where nothing is counted. */
static _Atomic uint64_t *counters;

/* Whether a file was ever opened for synchronous writes. Until then writes cost nothing. */
static atomic_bool sync_opened;

static void complain(const char *file, const char *what)
{
	fprintf(stderr, "raftlab-flushes: RAFTLAB_FLUSHES=%s: %s: flushes are not counted\n", file, what);
}

/* A file of another size is somebody's: it stays as it is. */
static void map(const char *file, int fd)
{
	struct stat st;
	if (fstat(fd, &st) != 0 || (st.st_size == 0 && ftruncate(fd, FILE_BYTES) != 0)) {
		complain(file, strerror(errno));
		return;
	}
	if (!S_ISREG(st.st_mode) || (st.st_size != 0 && st.st_size != FILE_BYTES)) {
		complain(file, "it is no file of counters");
		return;
	}
	void *page = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		complain(file, strerror(errno));
	else
		counters = page;
}

__attribute__((constructor)) static void begin(void)
{
	const char *file = getenv("RAFTLAB_FLUSHES");
	if (file == NULL || *file == '\0')
		return;
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0) {
		complain(file, strerror(errno));
		return;
	}
	map(file, fd);
	close(fd);
}

static void count(enum counter which, bool done)
{
	atomic_fetch_add_explicit(&counters[done ? which : FAILED], 1, memory_order_relaxed);
}

/* Counts a flush of the file behind fd if it is a regular one, and leaves errno alone. */
static void count_file(enum counter which, int fd, bool done)
{
	if (counters == NULL)
		return;
	int kept = errno;
	struct stat st;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		count(which, done);
	errno = kept;
}

/* The function behind ours. Constructors of other libraries may call before ours has run. */
#define NEXT(name)                                                                   \
	static __typeof__(&name) next;                                               \
	if (next == NULL) {                                                          \
		void *found = dlsym(RTLD_NEXT, #name);                               \
		memcpy(&next, &found, sizeof next);                                  \
	}

int fsync(int fd)
{
	NEXT(fsync)
	int r = next(fd);
	count_file(FSYNC, fd, r == 0);
	return r;
}

int fdatasync(int fd)
{
	NEXT(fdatasync)
	int r = next(fd);
	count_file(FDATASYNC, fd, r == 0);
	return r;
}

/* It flushes a whole file system, whatever kind of file stands for it. */
int syncfs(int fd)
{
	NEXT(syncfs)
	int r = next(fd);
	if (counters != NULL)
		count(FSYNC, r == 0);
	return r;
}

void sync(void)
{
	NEXT(sync)
	next();
	if (counters != NULL)
		count(FSYNC, true);
}

int msync(void *address, size_t length, int flags)
{
	NEXT(msync)
	int r = next(address, length, flags);
	if (counters != NULL && (flags & MS_SYNC) != 0)
		count(MSYNC, r == 0);
	return r;
}

int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned flags)
{
	NEXT(sync_file_range)
	int r = next(fd, offset, bytes, flags);
	count_file(SYNC_FILE_RANGE, fd, r == 0);
	return r;
}

/* Programs that do without libc's wrappers come by here. */
long syscall(long number, ...)
{
	NEXT(syscall)
	long a[6];
	va_list args;
	va_start(args, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	switch (number) {
	case SYS_fsync:
		return fsync((int)a[0]);
	case SYS_fdatasync:
		return fdatasync((int)a[0]);
	case SYS_syncfs:
		return syncfs((int)a[0]);
	case SYS_sync:
		sync();
		return 0;
	case SYS_msync: {
		void *address;
		memcpy(&address, &a[0], sizeof address);
		return msync(address, (size_t)a[1], (int)a[2]);
	}
#ifdef SYS_sync_file_range
	case SYS_sync_file_range:
		return sync_file_range((int)a[0], a[1], a[2], (unsigned)a[3]);
#endif
	default:
		return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	}
}

/*
 * Synchronous writes. Which descriptors are open for them, copies of descriptors included,
 * the kernel knows; it is asked once a file was opened so. No fcntl can make it so later.
 */
static void opened(int flags)
{
	if ((flags & (O_SYNC | O_DSYNC)) != 0)
		atomic_store_explicit(&sync_opened, true, memory_order_relaxed);
}

static mode_t mode_of(int flags, va_list args)
{
	return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

#define OPEN(name)                                                                   \
	int name(const char *path, int flags, ...)                                   \
	{                                                                            \
		NEXT(name)                                                           \
		va_list args;                                                        \
		va_start(args, flags);                                               \
		mode_t mode = mode_of(flags, args);                                  \
		va_end(args);                                                        \
		opened(flags);                                                       \
		return next(path, flags, mode);                                      \
	}

#define OPENAT(name)                                                                 \
	int name(int dir, const char *path, int flags, ...)                          \
	{                                                                            \
		NEXT(name)                                                           \
		va_list args;                                                        \
		va_start(args, flags);                                               \
		mode_t mode = mode_of(flags, args);                                  \
		va_end(args);                                                        \
		opened(flags);                                                       \
		return next(dir, path, flags, mode);                                 \
	}

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* What open becomes with _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

int __open_2(const char *path, int flags) { return open(path, flags); }
int __open64_2(const char *path, int flags) { return open64(path, flags); }
int __openat_2(int dir, const char *path, int flags) { return openat(dir, path, flags); }
int __openat64_2(int dir, const char *path, int flags) { return openat64(dir, path, flags); }

static void count_write(int fd, ssize_t wrote, int flags)
{
	if (counters == NULL || wrote == 0)
		return;
	bool synchronous = (flags & (RWF_SYNC | RWF_DSYNC)) != 0;
	if (!synchronous && atomic_load_explicit(&sync_opened, memory_order_relaxed)) {
		int kept = errno;
		int status = fcntl(fd, F_GETFL);
		synchronous = status >= 0 && (status & (O_SYNC | O_DSYNC)) != 0;
		errno = kept;
	}
	if (synchronous)
		count_file(SYNC_WRITE, fd, wrote > 0);
}

#define WRITE(name, flags, parameters, ...)                                          \
	ssize_t name parameters                                                      \
	{                                                                            \
		NEXT(name)                                                           \
		ssize_t wrote = next(__VA_ARGS__);                                   \
		count_write(fd, wrote, flags);                                       \
		return wrote;                                                        \
	}

WRITE(write, 0, (int fd, const void *from, size_t bytes), fd, from, bytes)
WRITE(pwrite, 0, (int fd, const void *from, size_t bytes, off_t at), fd, from, bytes, at)
WRITE(pwrite64, 0, (int fd, const void *from, size_t bytes, off64_t at), fd, from, bytes, at)
WRITE(writev, 0, (int fd, const struct iovec *from, int parts), fd, from, parts)
WRITE(pwritev, 0, (int fd, const struct iovec *from, int parts, off_t at), fd, from, parts, at)
WRITE(pwritev64, 0, (int fd, const struct iovec *from, int parts, off64_t at), fd, from, parts, at)
WRITE(pwritev2, flags, (int fd, const struct iovec *from, int parts, off_t at, int flags), fd, from, parts, at, flags)
WRITE(pwritev64v2, flags, (int fd, const struct iovec *from, int parts, off64_t at, int flags), fd, from, parts, at, flags)
