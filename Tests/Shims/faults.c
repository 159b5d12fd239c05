// Makes one call that touches the files under a folder fail, or ends the process there: for tests of what a full disk,
// a broken disk, too many open files or a kill leaves behind. Loaded by LD_PRELOAD into the tool; never part of it.
//
//   TIHUA_FAULT_FOLDER  calls on files under this folder count
//   TIHUA_FAULT_AT      the number of the call, from 1
//   TIHUA_FAULT_ERRNO   what it fails with; 0 writes half and ends the process by SIGKILL
//   TIHUA_FAULT_LOG     a file outside of the folder, to which the name and path of each call are written, a line each

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long count;

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_watched(const char *path) {
    const char *folder = getenv("TIHUA_FAULT_FOLDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static __thread char found[PATH_MAX + 1];

// The path of a descriptor where it is watched, else null.
static const char *watched(int descriptor) {
    char link[64], *path = found;
    int kept = errno;
    // No printf here: it may be called from anywhere.
    char digits[16];
    int length = 0, rest = descriptor;
    if (descriptor < 0) return 0;
    do digits[length++] = (char)('0' + rest % 10); while ((rest /= 10) > 0);
    strcpy(link, "/proc/self/fd/");
    char *end = link + strlen(link);
    while (length > 0) *end++ = digits[--length];
    *end = 0;
    ssize_t size = readlink(link, path, PATH_MAX);
    errno = kept;
    if (size < 0) return 0;
    path[size] = 0;
    return is_watched(path) ? path : 0;
}

// Whether this call is to fail: -1 no, else the errno.
static int fault(const char *name, const char *path) {
    const char *at = getenv("TIHUA_FAULT_AT"), *code = getenv("TIHUA_FAULT_ERRNO"), *log = getenv("TIHUA_FAULT_LOG");
    int kept = errno;
    pthread_mutex_lock(&lock);
    long number = ++count;
    if (log) {
        int file = NEXT(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (file >= 0) {
            char line[PATH_MAX + 32];
            strcpy(line, name);
            strcat(line, " ");
            strcat(line, path);
            strcat(line, "\n");
            if (NEXT(write)(file, line, strlen(line)) < 0) {}
            close(file);
        }
    }
    pthread_mutex_unlock(&lock);
    errno = kept;
    return at && number == atol(at) ? atoi(code ? code : "5") : -1;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define GUARD(place, name) \
    const char *place_ = (place); \
    if (place_) { \
        int code = fault(name, place_); \
        if (code == 0) die(); \
        if (code > 0) { errno = code; return -1; } \
    }

ssize_t write(int descriptor, const void *bytes, size_t size) {
    const char *path = watched(descriptor);
    if (path) {
        int code = fault("write", path);
        if (code == 0) {
            if (NEXT(write)(descriptor, bytes, size / 2) < 0) {}
            die();
        }
        if (code > 0) { errno = code; return -1; }
    }
    return NEXT(write)(descriptor, bytes, size);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t offset) {
    GUARD(watched(descriptor), "pwrite")
    return NEXT(pwrite)(descriptor, bytes, size, offset);
}

ssize_t writev(int descriptor, const struct iovec *parts, int number) {
    GUARD(watched(descriptor), "writev")
    return NEXT(writev)(descriptor, parts, number);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t size) {
    GUARD(watched(out), "sendfile")
    ssize_t (*next)(int, int, off_t *, size_t) = (ssize_t(*)(int, int, off_t *, size_t))dlsym(RTLD_NEXT, "sendfile");
    return next(out, in, offset, size);
}

ssize_t sendfile64(int out, int in, off_t *offset, size_t size) { return sendfile(out, in, offset, size); }

ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t size, unsigned flags) {
    GUARD(watched(out), "copy_file_range")
    return NEXT(copy_file_range)(in, from, out, to, size, flags);
}

int fsync(int descriptor) {
    GUARD(watched(descriptor), "fsync")
    return NEXT(fsync)(descriptor);
}

int fdatasync(int descriptor) {
    GUARD(watched(descriptor), "fdatasync")
    return NEXT(fdatasync)(descriptor);
}

int ftruncate(int descriptor, off_t size) {
    GUARD(watched(descriptor), "ftruncate")
    return NEXT(ftruncate)(descriptor, size);
}

int rename(const char *from, const char *to) {
    GUARD(is_watched(to) ? to : 0, "rename")
    return NEXT(rename)(from, to);
}

int renameat(int place, const char *from, int other, const char *to) {
    GUARD(is_watched(to) ? to : 0, "renameat")
    return NEXT(renameat)(place, from, other, to);
}

int renameat2(int place, const char *from, int other, const char *to, unsigned flags) {
    GUARD(is_watched(to) ? to : 0, "renameat2")
    return NEXT(renameat2)(place, from, other, to, flags);
}

int mkdir(const char *path, mode_t mode) {
    GUARD(is_watched(path) ? path : 0, "mkdir")
    return NEXT(mkdir)(path, mode);
}

static mode_t mode_of(int flags, va_list rest) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; }

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    GUARD(is_watched(path) ? path : 0, "open")
    return NEXT(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    GUARD(is_watched(path) ? path : 0, "open")
    return NEXT(open64)(path, flags, mode);
}

int openat(int place, const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    GUARD(is_watched(path) ? path : 0, "openat")
    return NEXT(openat)(place, path, flags, mode);
}
