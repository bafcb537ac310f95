/* A library to be preloaded into the relay (LD_PRELOAD): it sees every change of the files below FAULTS_ROOT.
 *
 * FAULTS_TRACE    a file that gets one record for each change, appended in the order in which they happened
 * FAULTS_CONTROL  a file, mapped: while the relay runs, the test sets what goes wrong (struct control)
 *
 * Records are read by tests/faults/trace.py. A sync is two records: what was written before the first is on the
 * disk once the second is there. A reply "250 ... queued as ID" that leaves through a socket is recorded before
 * it leaves: from there on the message must not be lost.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FILES 65536
#define PROMISE "queued as "
#define ID_CHARS 19

enum op { OPEN = 1, WRITE, TRUNCATE, SYNC_BEGIN, SYNC_END, RENAME, UNLINK, MKDIR, MARK };

struct control {
    volatile int32_t sync_errno;    /* every fsync fails with it */
    volatile int32_t sync_delay_us; /* every fsync takes so much longer */
    volatile int64_t wall_shift_ns; /* the wall clock is off by so much; the monotonic one is not */
    volatile int64_t syncs;         /* counted here */
    volatile int32_t full;          /* the disk is: files grow only into the room that others gave back */
    int32_t unused;
    volatile int64_t room;          /* bytes given back since */
};

struct header {
    uint32_t size; /* of all of the record */
    uint32_t op;
    uint64_t file; /* which opening of a file: process and number */
    int64_t offset;
    uint32_t path_size;
    uint32_t data_size;
};

static struct control nothing, *control = &nothing;
static uint64_t files[FILES]; /* by descriptor; 0: none of ours */
static uint64_t opened;
static const char *root;
static size_t root_size;
static int trace = -1;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

/* What the name means without us, looked up once. */
#define REAL(name)                                                                                                    \
    ({                                                                                                                \
        static __typeof__(&name) found;                                                                               \
        if (!found)                                                                                                   \
            found = (__typeof__(&name))real(#name);                                                                   \
        found;                                                                                                        \
    })

__attribute__((constructor)) static void begin(void)
{
    const char *name;
    root = getenv("FAULTS_ROOT");
    root_size = root ? strlen(root) : 0;
    if ((name = getenv("FAULTS_TRACE")))
        trace = REAL(open)(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if ((name = getenv("FAULTS_CONTROL"))) {
        int file = REAL(open)(name, O_RDWR | O_CLOEXEC);
        void *map = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (map == MAP_FAILED)
            abort();
        control = map;
        REAL(close)(file);
    }
}

static int ours(const char *path)
{
    size_t size;
    if (!root || !path || strncmp(path, root, root_size) || (path[root_size] && path[root_size] != '/'))
        return 0;
    size = strlen(path);
    if (size > 5 && !strcmp(path + size - 5, ".sock"))
        return 0;
    return !strstr(path + root_size, "/events") && !(size > 4 && !strcmp(path + size - 4, "-shm"));
}

/* Called with the turn taken, so that the order of records is that of the changes. */
static void record(enum op op, uint64_t file, int64_t offset, const char *path, const void *data, size_t data_size)
{
    struct header head = {0, op, file, offset, path ? strlen(path) : 0, data_size};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)path, head.path_size}, {(void *)data, data_size}};
    int before = errno;
    if (trace < 0)
        return;
    head.size = sizeof head + head.path_size + data_size;
    if (REAL(writev)(trace, parts, 3) != (ssize_t)head.size)
        abort(); /* a trace with holes would prove nothing */
    errno = before;
}

static uint64_t file_of(int fd)
{
    return fd >= 0 && fd < FILES ? files[fd] : 0;
}

static int opened_as(int fd, const char *path, int flags)
{
    if (fd < 0 || fd >= FILES)
        return fd;
    files[fd] = 0;
    if (ours(path)) {
        files[fd] = ((uint64_t)getpid() << 32) | ++opened;
        record(OPEN, files[fd], 0, path, NULL, 0);
        if (flags & O_TRUNC)
            record(TRUNCATE, files[fd], 0, NULL, NULL, 0);
    }
    return fd;
}

#define OPENING(name, call)                                                                                           \
    {                                                                                                                 \
        mode_t mode = 0;                                                                                              \
        va_list rest;                                                                                                 \
        int fd;                                                                                                       \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                          \
            va_start(rest, flags);                                                                                    \
            mode = va_arg(rest, mode_t);                                                                              \
            va_end(rest);                                                                                             \
        }                                                                                                             \
        pthread_mutex_lock(&turn);                                                                                    \
        fd = opened_as(call, path, flags);                                                                            \
        pthread_mutex_unlock(&turn);                                                                                  \
        return fd;                                                                                                    \
    }

int open(const char *path, int flags, ...) OPENING(open, REAL(open)(path, flags, mode))
int open64(const char *path, int flags, ...) OPENING(open64, REAL(open64)(path, flags, mode))
int openat(int at, const char *path, int flags, ...) OPENING(openat, REAL(openat)(at, path, flags, mode))
int openat64(int at, const char *path, int flags, ...) OPENING(openat64, REAL(openat64)(at, path, flags, mode))

int close(int fd)
{
    int result;
    pthread_mutex_lock(&turn);
    if (fd >= 0 && fd < FILES)
        files[fd] = 0;
    result = REAL(close)(fd);
    pthread_mutex_unlock(&turn);
    return result;
}

/* Replies: every promise in what goes to a client. */
static void promises(const char *data, size_t size)
{
    const char *at = data, *end = data + size;
    if (trace < 0 || size < 4 || size > 65536 || data[0] < '2' || data[0] > '5')
        return;
    while ((at = memmem(at, end - at, PROMISE, strlen(PROMISE)))) {
        at += strlen(PROMISE);
        if (end - at < ID_CHARS)
            return;
        pthread_mutex_lock(&turn);
        record(MARK, 0, 0, "answered", at, ID_CHARS);
        pthread_mutex_unlock(&turn);
    }
}

/* Called with the turn taken: whether the write needs room that there is not. */
static int no_room(int fd, off_t end)
{
    struct stat now;
    if (!control->full || fstat(fd, &now) || end <= now.st_size)
        return 0;
    if (end - now.st_size <= control->room) {
        control->room -= end - now.st_size;
        return 0;
    }
    errno = ENOSPC;
    return 1;
}

ssize_t write(int fd, const void *data, size_t size)
{
    uint64_t file = file_of(fd);
    ssize_t done;
    off_t offset;
    if (!file) {
        promises(data, size);
        return REAL(write)(fd, data, size);
    }
    pthread_mutex_lock(&turn);
    offset = lseek(fd, 0, REAL(fcntl)(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    done = no_room(fd, offset + size) ? -1 : REAL(write)(fd, data, size);
    if (done > 0)
        record(WRITE, file, offset, NULL, data, done);
    pthread_mutex_unlock(&turn);
    return done;
}

static ssize_t written_at(ssize_t (*call)(int, const void *, size_t, off_t), int fd, const void *data, size_t size,
                          off_t offset)
{
    uint64_t file = file_of(fd);
    ssize_t done;
    if (!file)
        return call(fd, data, size, offset);
    pthread_mutex_lock(&turn);
    done = no_room(fd, offset + size) ? -1 : call(fd, data, size, offset);
    if (done > 0)
        record(WRITE, file, offset, NULL, data, done);
    pthread_mutex_unlock(&turn);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return written_at(REAL(pwrite), fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return written_at(REAL(pwrite64), fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    if (file_of(fd))
        abort(); /* nobody does; if somebody begins to, the trace must learn it */
    for (int i = 0; i < count; i++)
        promises(parts[i].iov_base, parts[i].iov_len);
    return REAL(writev)(fd, parts, count);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    for (size_t i = 0; i < message->msg_iovlen; i++)
        promises(message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
    return REAL(sendmsg)(fd, message, flags);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    promises(data, size);
    return REAL(send)(fd, data, size, flags);
}

static int truncated(int (*call)(int, off_t), int fd, off_t size)
{
    uint64_t file = file_of(fd);
    struct stat now;
    int result;
    if (!file)
        return call(fd, size);
    pthread_mutex_lock(&turn);
    if (control->full && !fstat(fd, &now) && now.st_size > size)
        control->room += now.st_size - size;
    result = no_room(fd, size) ? -1 : call(fd, size);
    if (!result)
        record(TRUNCATE, file, size, NULL, NULL, 0);
    pthread_mutex_unlock(&turn);
    return result;
}

int ftruncate(int fd, off_t size)
{
    return truncated(REAL(ftruncate), fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return truncated(REAL(ftruncate64), fd, size);
}

static int synced(int (*call)(int), int fd)
{
    uint64_t file = file_of(fd);
    int result;
    if (!file)
        return call(fd);
    __atomic_add_fetch(&control->syncs, 1, __ATOMIC_RELAXED);
    if (control->sync_delay_us > 0) {
        struct timespec wait = {control->sync_delay_us / 1000000, control->sync_delay_us % 1000000 * 1000L};
        nanosleep(&wait, NULL);
    }
    if (control->sync_errno) {
        errno = control->sync_errno;
        return -1;
    }
    pthread_mutex_lock(&turn);
    record(SYNC_BEGIN, file, 0, NULL, NULL, 0);
    pthread_mutex_unlock(&turn);
    result = call(fd);
    if (!result) {
        pthread_mutex_lock(&turn);
        record(SYNC_END, file, 0, NULL, NULL, 0);
        pthread_mutex_unlock(&turn);
    }
    return result;
}

int fsync(int fd)
{
    return synced(REAL(fsync), fd);
}

int fdatasync(int fd)
{
    return synced(REAL(fdatasync), fd);
}

#define CHANGING(call, op, path, data)                                                                                \
    {                                                                                                                 \
        const char *more = data;                                                                                      \
        int result;                                                                                                   \
        pthread_mutex_lock(&turn);                                                                                    \
        result = call;                                                                                                \
        if (!result && ours(path))                                                                                    \
            record(op, 0, 0, path, more, more ? strlen(more) : 0);                                                    \
        pthread_mutex_unlock(&turn);                                                                                  \
        return result;                                                                                                \
    }

int rename(const char *from, const char *to) CHANGING(REAL(rename)(from, to), RENAME, from, to)

static int unlinked(const char *path)
{
    struct stat now;
    if (control->full && ours(path) && !stat(path, &now))
        control->room += now.st_size;
    return REAL(unlink)(path);
}

int unlink(const char *path) CHANGING(unlinked(path), UNLINK, path, NULL)
int mkdir(const char *path, mode_t mode) CHANGING(REAL(mkdir)(path, mode), MKDIR, path, NULL)

/* The wall clock. */
static void shift(struct timespec *now)
{
    int64_t all = now->tv_sec * 1000000000LL + now->tv_nsec + control->wall_shift_ns;
    now->tv_sec = all / 1000000000LL;
    now->tv_nsec = all % 1000000000LL;
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    int result = REAL(clock_gettime)(which, now);
    if (!result && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
        shift(now);
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int result = REAL(gettimeofday)(now, zone);
    if (!result) {
        struct timespec both = {now->tv_sec, now->tv_usec * 1000};
        shift(&both);
        now->tv_sec = both.tv_sec;
        now->tv_usec = both.tv_nsec / 1000;
    }
    return result;
}

time_t time(time_t *where)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where)
        *where = now.tv_sec;
    return now.tv_sec;
}
