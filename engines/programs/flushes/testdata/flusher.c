/* flusher FILE ACTION …: does each action, and ends with 1 if one does not go as it should. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int fd;
static const char *file;

static void *in_thread(void *unused)
{
	for (int i = 0; i < 100; i++)
		fdatasync(fd);
	return unused;
}

static int threads(void)
{
	pthread_t t[4];
	for (int i = 0; i < 4; i++)
		if (pthread_create(&t[i], NULL, in_thread, NULL) != 0)
			return 1;
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	return 0;
}

static int in_child(void)
{
	int status;
	pid_t child = fork();
	if (child == 0)
		_exit(fsync(fd) == 0 ? 0 : 1);
	return waitpid(child, &status, 0) != child || status != 0;
}

static int mapped(int flags)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return 1;
	page[0] = 'x';
	int r = msync(page, 4096, flags);
	munmap(page, 4096);
	return r;
}

/* One write of each kind to a copy of a descriptor that is open for synchronous writes. */
static int writes(int flags)
{
	int first = open(file, O_RDWR | flags), copy = dup(first);
	struct iovec part = {"x", 1};
	close(first);
	int bad = write(copy, "x", 1) != 1 || pwrite(copy, "x", 1, 0) != 1 || writev(copy, &part, 1) != 1 ||
	          pwritev(copy, &part, 1, 0) != 1 || write(copy, "x", 0) != 0;
	return close(copy) != 0 || bad;
}

static int too_large(void)
{
	struct rlimit limit = {1 << 20, 1 << 20};
	signal(SIGXFSZ, SIG_IGN);
	int f = open(file, O_WRONLY | O_DSYNC);
	return setrlimit(RLIMIT_FSIZE, &limit) != 0 || pwrite(f, "x", 1, 2 << 20) != -1 || close(f) != 0;
}

static int no_file(void)
{
	int ends[2], folder = open("/", O_RDONLY | O_DIRECTORY);
	fsync(folder);
	return pipe(ends) != 0 || fsync(ends[1]) == 0 || fdatasync(-1) == 0;
}

static int act(const char *action)
{
	struct iovec part = {"x", 1};
	if (strcmp(action, "fsync") == 0) return fsync(fd);
	if (strcmp(action, "fdatasync") == 0) return fdatasync(fd);
	if (strcmp(action, "syncfs") == 0) return syncfs(fd);
	if (strcmp(action, "syscall") == 0) return (int)(syscall(SYS_fdatasync, fd) | syscall(SYS_fsync, fd));
	if (strcmp(action, "msync") == 0) return mapped(MS_SYNC);
	if (strcmp(action, "msync-async") == 0) return mapped(MS_ASYNC);
	if (strcmp(action, "range") == 0) return sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	if (strcmp(action, "threads") == 0) return threads();
	if (strcmp(action, "child") == 0) return in_child();
	if (strcmp(action, "osync") == 0) return writes(O_SYNC);
	if (strcmp(action, "odsync") == 0) return writes(O_DSYNC);
	if (strcmp(action, "plain") == 0) return writes(0);
	if (strcmp(action, "rwf") == 0) return pwritev2(fd, &part, 1, 0, RWF_DSYNC) != 1;
	if (strcmp(action, "no-file") == 0) return no_file();
	if (strcmp(action, "unmapped") == 0) return msync(NULL, 4096, MS_SYNC) == 0;
	if (strcmp(action, "bad-range") == 0) return sync_file_range(fd, -1, 0, SYNC_FILE_RANGE_WRITE) == 0;
	if (strcmp(action, "too-large") == 0) return too_large();
	return 1;
}

int main(int count, char **words)
{
	if (count < 2)
		return 2;
	file = words[1];
	fd = open(file, O_RDWR | O_CREAT, 0644);
	if (fd < 0 || ftruncate(fd, 4096) != 0)
		return 1;
	for (int i = 2; i < count; i++)
		if (act(words[i]) != 0) {
			fprintf(stderr, "%s has failed\n", words[i]);
			return 1;
		}
	return 0;
}
