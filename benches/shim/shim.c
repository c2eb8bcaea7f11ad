/*
 * Preloaded into an LSP under measurement: gives every fsync one fixed cost, whatever the disk, and counts what the
 * process makes durable.
 *
 * SHIM_COUNTERS      a file of at least 32 bytes, mapped and shared: fsyncs, writes, bytes, and the nanoseconds spent in
 *                    fsyncs, as 64-bit numbers of this machine
 * SHIM_FSYNC_NANOS   what an fsync costs at least
 * SHIM_FOLDER        a folder on the file system whose writes count; sockets, pipes and other file systems do not, nor do
 *                    standard output and standard error
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct counters {
    _Atomic uint64_t fsyncs;
    _Atomic uint64_t writes;
    _Atomic uint64_t bytes;
    _Atomic uint64_t nanos;
};

static struct counters nowhere;
static struct counters *counters = &nowhere;
static uint64_t cost_nanos;
static dev_t counted_device;
static int counts_writes;

static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_sync_file_range)(int, off64_t, off64_t, unsigned int);
static int (*real_msync)(void *, size_t, int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);

#define FIND(name) \
    do { \
        if (!real_##name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name); \
    } while (0)

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("SHIM_COUNTERS");
    const char *nanos = getenv("SHIM_FSYNC_NANOS");
    const char *folder = getenv("SHIM_FOLDER");
    if (nanos) cost_nanos = strtoull(nanos, NULL, 10);
    struct stat at;
    if (folder && stat(folder, &at) == 0) {
        counted_device = at.st_dev;
        counts_writes = 1;
    }
    if (path) {
        int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd >= 0) {
            void *map = mmap(NULL, sizeof(struct counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (map != MAP_FAILED) counters = map;
            close(fd);
        }
    }
}

static uint64_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

/* Before the call itself, so that nothing is durable before it was paid for. */
static uint64_t pay(void)
{
    uint64_t began = now();
    if (cost_nanos) {
        static _Thread_local int precise;
        if (!precise) {
            prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
            precise = 1;
        }
        uint64_t due = began + cost_nanos;
        struct timespec until = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0) {
        }
    }
    return began;
}

static void paid(uint64_t began)
{
    atomic_fetch_add(&counters->nanos, now() - began);
    atomic_fetch_add(&counters->fsyncs, 1);
}

static void wrote(int fd, ssize_t bytes)
{
    struct stat at;
    if (bytes > 0 && counts_writes && fd > STDERR_FILENO && fstat(fd, &at) == 0 && S_ISREG(at.st_mode)
        && at.st_dev == counted_device) {
        atomic_fetch_add(&counters->writes, 1);
        atomic_fetch_add(&counters->bytes, (uint64_t)bytes);
    }
}

int fsync(int fd)
{
    FIND(fsync);
    uint64_t began = pay();
    int result = real_fsync(fd);
    paid(began);
    return result;
}

int fdatasync(int fd)
{
    FIND(fdatasync);
    uint64_t began = pay();
    int result = real_fdatasync(fd);
    paid(began);
    return result;
}

int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned int flags)
{
    FIND(sync_file_range);
    uint64_t began = pay();
    int result = real_sync_file_range(fd, offset, bytes, flags);
    paid(began);
    return result;
}

int msync(void *address, size_t length, int flags)
{
    FIND(msync);
    uint64_t began = pay();
    int result = real_msync(address, length, flags);
    paid(began);
    return result;
}

ssize_t write(int fd, const void *from, size_t bytes)
{
    FIND(write);
    ssize_t result = real_write(fd, from, bytes);
    wrote(fd, result);
    return result;
}

ssize_t pwrite(int fd, const void *from, size_t bytes, off_t offset)
{
    FIND(pwrite);
    ssize_t result = real_pwrite(fd, from, bytes, offset);
    wrote(fd, result);
    return result;
}

ssize_t pwrite64(int fd, const void *from, size_t bytes, off64_t offset)
{
    FIND(pwrite64);
    ssize_t result = real_pwrite64(fd, from, bytes, offset);
    wrote(fd, result);
    return result;
}

ssize_t writev(int fd, const struct iovec *from, int count)
{
    FIND(writev);
    ssize_t result = real_writev(fd, from, count);
    wrote(fd, result);
    return result;
}

ssize_t pwritev(int fd, const struct iovec *from, int count, off_t offset)
{
    FIND(pwritev);
    ssize_t result = real_pwritev(fd, from, count, offset);
    wrote(fd, result);
    return result;
}
