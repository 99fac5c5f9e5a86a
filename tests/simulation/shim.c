/* The shim: stands between a process and its files, and lets the n-th change to one of them fail.
 *
 * Loaded with LD_PRELOAD. Files are those below $SHIM_UNDER. Nothing happens until shim_arm().
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { COUNT, EXIT, STOP, FAIL_ONCE, FAIL_FOR_EVER, CUT_SHORT };
enum { WRITE = 1, SYNC = 2, TRUNCATE = 4, UNLINK = 8 };

static int action, fault, kinds;
static long target;
static long calls;
static int armed;

void shim_arm(int what, long at, int error, int of_kinds) {
    action = what;
    target = at;
    fault = error;
    kinds = of_kinds;
    calls = 0;
    armed = 1;
}

long shim_calls(void) { return __atomic_load_n(&calls, __ATOMIC_SEQ_CST); }

static int below(const char *path) {
    const char *under = getenv("SHIM_UNDER");
    return under != NULL && strncmp(path, under, strlen(under)) == 0;
}

static int ours(int fd) {
    char link[64], path[PATH_MAX];
    char *end = link + sizeof link - 1;
    *end = 0;
    do {
        *--end = (char)('0' + fd % 10);
        fd /= 10;
    } while (fd > 0);
    end -= strlen("/proc/self/fd/");
    memcpy(end, "/proc/self/fd/", strlen("/proc/self/fd/"));
    ssize_t length = readlink(end, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* Returns 0 to go on, 1 to write only half and then fail, -1 to fail with errno set. */
static int happens(int kind) {
    if (!(kinds & kind)) return 0;
    long call = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (action == FAIL_FOR_EVER && call > target) {
        errno = fault;
        return -1;
    }
    if (call != target) return 0;
    switch (action) {
    case EXIT:
        _exit(77);
    case STOP:
        raise(SIGSTOP);
        return 0;
    case FAIL_ONCE:
    case FAIL_FOR_EVER:
        errno = fault;
        return -1;
    case CUT_SHORT:
        return 1;
    }
    return 0;
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static ssize_t positioned(const char *name, int fd, const void *data, size_t size, off_t at) {
    ssize_t (*real)(int, const void *, size_t, off_t) =
        REAL(ssize_t, name, int, const void *, size_t, off_t);
    int verdict = armed && fd >= 0 && ours(fd) ? happens(WRITE) : 0;
    if (verdict < 0) return -1;
    if (verdict > 0 && size > 1) {
        /* The rest then finds no space. */
        action = FAIL_FOR_EVER;
        fault = ENOSPC;
        return real(fd, data, size / 2, at);
    }
    return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return positioned("pwrite", fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
    return positioned("pwrite64", fd, data, size, at);
}

ssize_t write(int fd, const void *data, size_t size) {
    if (armed && fd >= 0 && ours(fd) && happens(WRITE) < 0) return -1;
    return REAL(ssize_t, "write", int, const void *, size_t)(fd, data, size);
}

static int on(const char *name, int kind, int fd) {
    if (armed && fd >= 0 && ours(fd) && happens(kind) < 0) return -1;
    return REAL(int, name, int)(fd);
}

int fsync(int fd) { return on("fsync", SYNC, fd); }
int fdatasync(int fd) { return on("fdatasync", SYNC, fd); }

static int cut(const char *name, int fd, off_t length) {
    if (armed && fd >= 0 && ours(fd) && happens(TRUNCATE) < 0) return -1;
    return REAL(int, name, int, off_t)(fd, length);
}

int ftruncate(int fd, off_t length) { return cut("ftruncate", fd, length); }
int ftruncate64(int fd, off_t length) { return cut("ftruncate64", fd, length); }

int unlink(const char *path) {
    if (armed && below(path) && happens(UNLINK) < 0) return -1;
    return REAL(int, "unlink", const char *)(path);
}
