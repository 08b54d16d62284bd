/* A disk that misbehaves, for one process of a testnet (Linux, preloaded with LD_PRELOAD).
 *
 * Whatever the process opens below the directory TESTNET_HOME is on that disk. What is wrong with it stands
 * in the file TESTNET_DISK, six numbers of 32 bits in the machine's order, which the testnet may change at
 * any time:
 *
 *   0  how many microseconds each write and each sync takes longer
 *   1  the error of the calls that fail: an errno
 *   2  how many calls are still to fail
 *   3  which calls fail: 1 writes, 2 syncs, 3 both; a write to a file that was opened with O_DSYNC is both, and
 *      is done before it fails as a sync
 *   4  1: the next write is torn: only a part of it is done, and the process is killed
 *   5  how many calls have failed or were torn; this one is written here
 *
 * Left out: lies (a sync that says it was done and was not). Only a loss of power would show them, and the
 * simulator plays those.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { DELAY, ERROR, COUNT, CALLS, TORN, FAILED, FIELDS };
enum { WRITES = 1, SYNCS = 2 };

#define FILES 65536

static _Atomic uint32_t *fault;
static const char *home;
static size_t home_length;
/* Whether it is on that disk, and whether a write to it is a sync too. */
static atomic_bool on_disk[FILES], syncs[FILES];

static void *next(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))next(#name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TESTNET_DISK");
    home = getenv("TESTNET_HOME");
    if (!path || !home) return;
    home_length = strlen(home);
    int file = REAL(int, open, const char *, int, ...)(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *shared = mmap(NULL, FIELDS * sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (shared != MAP_FAILED) fault = shared;
}

static int opened(int file, const char *path, int flags) {
    if (fault && file >= 0 && file < FILES) {
        int below = strncmp(path, home, home_length) == 0 && path[home_length] == '/';
        atomic_store(&on_disk[file], below);
        atomic_store(&syncs[file], (flags & O_DSYNC) != 0);
    }
    return file;
}

static int is_on_disk(int file) {
    return fault && file >= 0 && file < FILES && atomic_load(&on_disk[file]);
}

static void take_time(void) {
    uint32_t delay = atomic_load(&fault[DELAY]);
    if (delay == 0) return;
    struct timespec left = {delay / 1000000, (long)(delay % 1000000) * 1000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

/* Whether a call of this kind fails; errno says how. */
static int fails(uint32_t kind) {
    if ((atomic_load(&fault[CALLS]) & kind) == 0) return 0;
    uint32_t left = atomic_load(&fault[COUNT]);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&fault[COUNT], &left, left - 1)) {
            atomic_fetch_add(&fault[FAILED], 1);
            errno = (int)atomic_load(&fault[ERROR]);
            return 1;
        }
    }
    return 0;
}

static int is_torn(void) {
    uint32_t once = 1;
    return atomic_compare_exchange_strong(&fault[TORN], &once, 0);
}

/* A part of a write, sectors of 512 bytes, and then the end. */
static void tear(int file, const void *bytes, size_t length, off64_t at) {
    size_t part = length / 2 / 512 * 512;
    atomic_fetch_add(&fault[FAILED], 1);
    if (part > 0) REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t)(file, bytes, part, at);
    kill(getpid(), SIGKILL);
}

/* Returns nonzero if the write must not be done. */
static int before_write(int file, const void *bytes, size_t length, off64_t at) {
    if (!is_on_disk(file)) return 0;
    take_time();
    if (is_torn()) tear(file, bytes, length, at);
    return fails(WRITES);
}

/* What a write returns that has done this. */
static ssize_t after_write(int file, ssize_t done) {
    return done >= 0 && is_on_disk(file) && atomic_load(&syncs[file]) && fails(SYNCS) ? -1 : done;
}

static off64_t here(int file) {
    return lseek64(file, 0, SEEK_CUR);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return opened(REAL(int, open, const char *, int, ...)(path, flags, mode), path, flags);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return opened(REAL(int, open64, const char *, int, ...)(path, flags, mode), path, flags);
}

int openat(int at, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return opened(REAL(int, openat, int, const char *, int, ...)(at, path, flags, mode), path, flags);
}

int openat64(int at, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return opened(REAL(int, openat64, int, const char *, int, ...)(at, path, flags, mode), path, flags);
}

static int copied(int copy, int file) {
    if (copy >= 0 && copy < FILES) {
        atomic_store(&on_disk[copy], is_on_disk(file));
        atomic_store(&syncs[copy], is_on_disk(file) && atomic_load(&syncs[file]));
    }
    return copy;
}

int dup(int file) {
    return copied(REAL(int, dup, int)(file), file);
}

int dup2(int file, int to) {
    return copied(REAL(int, dup2, int, int)(file, to), file);
}

int dup3(int file, int to, int flags) {
    return copied(REAL(int, dup3, int, int, int)(file, to, flags), file);
}

static int is_copy(int command) {
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC;
}

int fcntl(int file, int command, ...) {
    va_list more;
    va_start(more, command);
    void *what = va_arg(more, void *);
    va_end(more);
    int done = REAL(int, fcntl, int, int, ...)(file, command, what);
    return is_copy(command) ? copied(done, file) : done;
}

int fcntl64(int file, int command, ...) {
    va_list more;
    va_start(more, command);
    void *what = va_arg(more, void *);
    va_end(more);
    int done = REAL(int, fcntl64, int, int, ...)(file, command, what);
    return is_copy(command) ? copied(done, file) : done;
}

int close(int file) {
    if (file >= 0 && file < FILES) atomic_store(&on_disk[file], 0);
    return REAL(int, close, int)(file);
}

ssize_t write(int file, const void *bytes, size_t length) {
    if (is_on_disk(file) && before_write(file, bytes, length, here(file))) return -1;
    return after_write(file, REAL(ssize_t, write, int, const void *, size_t)(file, bytes, length));
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) {
    if (before_write(file, bytes, length, at)) return -1;
    return after_write(file, REAL(ssize_t, pwrite, int, const void *, size_t, off_t)(file, bytes, length, at));
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    if (before_write(file, bytes, length, at)) return -1;
    return after_write(file, REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t)(file, bytes, length, at));
}

/* Of several pieces the first is torn. */
ssize_t writev(int file, const struct iovec *pieces, int count) {
    if (is_on_disk(file) && count > 0 &&
        before_write(file, pieces[0].iov_base, pieces[0].iov_len, here(file)))
        return -1;
    return after_write(file, REAL(ssize_t, writev, int, const struct iovec *, int)(file, pieces, count));
}

ssize_t pwritev(int file, const struct iovec *pieces, int count, off_t at) {
    if (count > 0 && before_write(file, pieces[0].iov_base, pieces[0].iov_len, at)) return -1;
    return after_write(file, REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t)(file, pieces, count, at));
}

ssize_t pwritev64(int file, const struct iovec *pieces, int count, off64_t at) {
    if (count > 0 && before_write(file, pieces[0].iov_base, pieces[0].iov_len, at)) return -1;
    return after_write(file, REAL(ssize_t, pwritev64, int, const struct iovec *, int, off64_t)(file, pieces, count, at));
}

static int before_sync(int file) {
    if (!is_on_disk(file)) return 0;
    take_time();
    return fails(SYNCS);
}

int fsync(int file) {
    if (before_sync(file)) return -1;
    return REAL(int, fsync, int)(file);
}

int fdatasync(int file) {
    if (before_sync(file)) return -1;
    return REAL(int, fdatasync, int)(file);
}
