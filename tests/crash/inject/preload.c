/* Faults at the k-th call by which a process changes what is on its disk: loaded into it with LD_PRELOAD, for tests only.
 *
 *   the process ──write, fdatasync, rename, …──► here: counted if the file lies in the folder ──► the system, or the fault
 *
 * What it reads from the environment:
 *   FAULT_FOLDER   only files in here are counted, and only these calls meet the fault (an absolute path without links)
 *   FAULT_RUNS     1: of writes to one file in a row only the first is counted
 *   FAULT_AT       the number of the call that meets it, from 1; 0: none, only count
 *   FAULT_KIND     kill_before, kill_after, kill_within (half of it is written), eio (once), enospc (from there on for ever), short (half of
 *                  it is written, and said so), eintr (once)
 *   FAULT_REPORT   a file: one line for each call counted
 *   FAULT_COUNT    a file of eight bytes that exists: how many calls there were, as a number of this machine, also after SIGKILL
 *
 * A line of the report: `number class function file`; class is write, sync or name (what creates, renames, removes, cuts), the file's path is
 * relative to the folder. The line of the call that met the fault begins with `met `.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NONE, KILL_BEFORE, KILL_AFTER, KILL_WITHIN, EIO_ONCE, ENOSPC_EVER, SHORT, EINTR_ONCE };
enum class { WRITE, SYNC, NAME };

static const char *const kinds[] = {"", "kill_before", "kill_after", "kill_within", "eio", "enospc", "short", "eintr"};
static const char *const classes[] = {"write", "sync", "name"};

static char folder[PATH_MAX];
static size_t folder_bytes;
static int only_first;
static _Atomic unsigned long last_written;
static unsigned long fault_at;
static enum kind fault_kind = NONE;
static int report = -1;
static _Atomic unsigned long own_count;
static _Atomic unsigned long *count = &own_count;

/* What becomes of one call. */
struct fate {
  enum kind kind;
};

#define REAL(name)                                                                                                     \
  static __typeof__(name) *real;                                                                                       \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
  const char *text = getenv("FAULT_FOLDER");
  if (!text || !*text || strlen(text) >= sizeof folder) return;
  strcpy(folder, text);
  text = getenv("FAULT_AT");
  fault_at = text ? strtoul(text, NULL, 10) : 0;
  text = getenv("FAULT_KIND");
  for (unsigned kind = 1; text && kind < sizeof kinds / sizeof *kinds; kind++)
    if (!strcmp(text, kinds[kind])) fault_kind = (enum kind)kind;
  text = getenv("FAULT_RUNS");
  only_first = text && !strcmp(text, "1");
  text = getenv("FAULT_REPORT");
  if (text) report = (int)syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  text = getenv("FAULT_COUNT");
  int file = text ? (int)syscall(SYS_openat, AT_FDCWD, text, O_RDWR | O_CLOEXEC, 0) : -1;
  if (file >= 0) {
    void *shared = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED) count = shared;
    syscall(SYS_close, file);
  }
  /* Last: from here on calls are counted. A program that this one starts is not. */
  folder_bytes = strlen(folder);
  unsetenv("LD_PRELOAD");
}

/* The path behind the folder's, or NULL: not in the folder. */
static const char *inside(const char *path) {
  if (!folder_bytes || strncmp(path, folder, folder_bytes)) return NULL;
  if (path[folder_bytes] == 0) return ".";
  return path[folder_bytes] == '/' ? path + folder_bytes + 1 : NULL;
}

static const char *inside_path(int at, const char *path, char *room) {
  if (path[0] == '/') return inside(path);
  char link[64];
  snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
  ssize_t bytes = syscall(SYS_readlinkat, AT_FDCWD, link, room, PATH_MAX - 1);
  if (bytes < 0 || (size_t)bytes + strlen(path) + 2 > PATH_MAX) return NULL;
  room[bytes] = '/';
  strcpy(room + bytes + 1, path);
  return inside(room);
}

static const char *inside_file(int file, char *room) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t bytes = syscall(SYS_readlinkat, AT_FDCWD, link, room, PATH_MAX - 1);
  if (bytes < 0) return NULL;
  room[bytes] = 0;
  return inside(room);
}

static void say(int met, unsigned long number, enum class class, const char *function, const char *path) {
  if (report < 0) return;
  char line[PATH_MAX + 128];
  int bytes = snprintf(line, sizeof line, "%s%lu %s %s %s\n", met ? "met " : "", number, classes[class], function, path);
  if (bytes > 0) syscall(SYS_write, report, line, (size_t)bytes);
}

static void die(void) {
  syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
  for (;;) pause();
}

/* Counts a call on a file of the folder and says what becomes of it. */
static struct fate meet(enum class class, const char *function, const char *path) {
  struct fate fate = {NONE};
  if (!path) return fate;
  if (only_first && class == WRITE) {
    unsigned long name = 5381;
    for (const char *letter = path; *letter; letter++) name = name * 33 + (unsigned char)*letter;
    if (atomic_exchange(&last_written, name) == name) {
      if (fault_kind == ENOSPC_EVER && fault_at && *count >= fault_at) fate.kind = ENOSPC_EVER;
      return fate;
    }
  }
  unsigned long number = atomic_fetch_add(count, 1) + 1;
  int met = fault_at && number == fault_at && fault_kind != NONE;
  int after = fault_at && number > fault_at;
  say(met, number, class, function, path);
  if (met) fate.kind = fault_kind;
  /* No system interrupts a renaming. */
  if (fate.kind == EINTR_ONCE && class == NAME && strcmp(function, "open")) fate.kind = NONE;
  /* A full disk stays full. What is on it can still be synced, renamed and removed. */
  if (after && fault_kind == ENOSPC_EVER && (class == WRITE || !strcmp(function, "open"))) fate.kind = ENOSPC_EVER;
  if (fate.kind == KILL_BEFORE) die();
  return fate;
}

/* The error that a call ends with instead of being made; 0: it is made. */
static int refused(struct fate fate) {
  switch (fate.kind) {
    case EIO_ONCE: return EIO;
    case ENOSPC_EVER: return ENOSPC;
    case EINTR_ONCE: return EINTR;
    default: return 0;
  }
}

#define REFUSE(fate)                                                                                                   \
  do {                                                                                                                 \
    int error = refused(fate);                                                                                         \
    if (error) {                                                                                                       \
      errno = error;                                                                                                   \
      return -1;                                                                                                       \
    }                                                                                                                  \
  } while (0)

/* How much of a write is made. */
static size_t share(struct fate fate, size_t bytes) {
  return (fate.kind == KILL_WITHIN || fate.kind == SHORT) && bytes > 1 ? bytes / 2 : bytes;
}

static ssize_t settled(struct fate fate, ssize_t result) {
  if (fate.kind == KILL_AFTER || fate.kind == KILL_WITHIN) die();
  return result;
}

static int done(struct fate fate, int result) {
  if (fate.kind == KILL_AFTER || fate.kind == KILL_WITHIN) die();
  return result;
}

ssize_t write(int file, const void *from, size_t bytes) {
  REAL(write);
  char room[PATH_MAX];
  struct fate fate = meet(WRITE, "write", inside_file(file, room));
  REFUSE(fate);
  return settled(fate, real(file, from, share(fate, bytes)));
}

ssize_t pwrite64(int file, const void *from, size_t bytes, off64_t offset) {
  REAL(pwrite64);
  char room[PATH_MAX];
  struct fate fate = meet(WRITE, "pwrite", inside_file(file, room));
  REFUSE(fate);
  return settled(fate, real(file, from, share(fate, bytes), offset));
}

ssize_t pwrite(int file, const void *from, size_t bytes, off_t offset) { return pwrite64(file, from, bytes, offset); }

/* Half of a vector is the first half of its first part that is not empty. */
static ssize_t first_half(int file, const struct iovec *parts, int number) {
  while (number > 1 && parts->iov_len == 0) parts++, number--;
  size_t bytes = parts->iov_len;
  return syscall(SYS_write, file, parts->iov_base, bytes > 1 ? bytes / 2 : bytes);
}

ssize_t writev(int file, const struct iovec *parts, int number) {
  REAL(writev);
  char room[PATH_MAX];
  struct fate fate = meet(WRITE, "writev", inside_file(file, room));
  REFUSE(fate);
  int half = (fate.kind == SHORT || fate.kind == KILL_WITHIN) && number > 0;
  return settled(fate, half ? first_half(file, parts, number) : real(file, parts, number));
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t bytes, unsigned flags) {
  REAL(copy_file_range);
  char room[PATH_MAX];
  struct fate fate = meet(WRITE, "copy_file_range", inside_file(to, room));
  REFUSE(fate);
  return settled(fate, real(from, from_at, to, to_at, share(fate, bytes), flags));
}

int fallocate64(int file, int mode, off64_t offset, off64_t bytes) {
  REAL(fallocate64);
  char room[PATH_MAX];
  struct fate fate = meet(WRITE, "fallocate", inside_file(file, room));
  REFUSE(fate);
  return done(fate, real(file, mode, offset, bytes));
}

int fallocate(int file, int mode, off_t offset, off_t bytes) { return fallocate64(file, mode, offset, bytes); }

int fsync(int file) {
  REAL(fsync);
  char room[PATH_MAX];
  struct fate fate = meet(SYNC, "fsync", inside_file(file, room));
  REFUSE(fate);
  return done(fate, real(file));
}

int fdatasync(int file) {
  REAL(fdatasync);
  char room[PATH_MAX];
  struct fate fate = meet(SYNC, "fdatasync", inside_file(file, room));
  REFUSE(fate);
  return done(fate, real(file));
}

int ftruncate64(int file, off64_t bytes) {
  REAL(ftruncate64);
  char room[PATH_MAX];
  struct fate fate = meet(NAME, "ftruncate", inside_file(file, room));
  REFUSE(fate);
  return done(fate, real(file, bytes));
}

int ftruncate(int file, off_t bytes) { return ftruncate64(file, bytes); }

int rename(const char *from, const char *to) {
  REAL(rename);
  char room[PATH_MAX];
  struct fate fate = meet(NAME, "rename", inside_path(AT_FDCWD, to, room));
  REFUSE(fate);
  return done(fate, real(from, to));
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
  REAL(renameat2);
  char room[PATH_MAX];
  struct fate fate = meet(NAME, "rename", inside_path(to_at, to, room));
  REFUSE(fate);
  return done(fate, real(from_at, from, to_at, to, flags));
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
  REAL(linkat);
  char room[PATH_MAX];
  struct fate fate = meet(NAME, "link", inside_path(to_at, to, room));
  REFUSE(fate);
  return done(fate, real(from_at, from, to_at, to, flags));
}

int unlink(const char *path) {
  REAL(unlink);
  char room[PATH_MAX];
  struct fate fate = meet(NAME, "unlink", inside_path(AT_FDCWD, path, room));
  REFUSE(fate);
  return done(fate, real(path));
}

int unlinkat(int at, const char *path, int flags) {
  REAL(unlinkat);
  char room[PATH_MAX];
  struct fate fate = meet(NAME, "unlink", inside_path(at, path, room));
  REFUSE(fate);
  return done(fate, real(at, path, flags));
}

int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  char room[PATH_MAX];
  struct fate fate = meet(NAME, "mkdir", inside_path(AT_FDCWD, path, room));
  REFUSE(fate);
  return done(fate, real(path, mode));
}

/* Only what may create a file or cut it short changes the disk. */
static int opened(int at, const char *path, int flags, mode_t mode) {
  static int (*real)(int, const char *, int, ...);
  if (!real) real = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat64");
  char room[PATH_MAX];
  struct fate fate = {NONE};
  if (flags & (O_CREAT | O_TRUNC)) fate = meet(NAME, "open", inside_path(at, path, room));
  REFUSE(fate);
  return done(fate, real(at, path, flags, mode));
}

#define MODE(flags)                                                                                                    \
  mode_t mode = 0;                                                                                                     \
  if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                               \
    va_list rest;                                                                                                      \
    va_start(rest, flags);                                                                                             \
    mode = va_arg(rest, mode_t);                                                                                       \
    va_end(rest);                                                                                                      \
  }

int open64(const char *path, int flags, ...) {
  MODE(flags)
  return opened(AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) {
  MODE(flags)
  return opened(AT_FDCWD, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
  MODE(flags)
  return opened(at, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...) {
  MODE(flags)
  return opened(at, path, flags, mode);
}
