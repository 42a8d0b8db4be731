/*
 * A disk that syncs so many times slower than it does: preloaded into the node under test, so that the node itself knows of no such thing.
 *
 * Every fsync and fdatasync is done, and then waits until SLOW_DISK_TIMES of its own time have passed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static double times(void) {
    const char *text = getenv("SLOW_DISK_TIMES");
    return text ? atof(text) : 1.0;
}

static int slowly(const char *name, int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    int result = real(file);
    clock_gettime(CLOCK_MONOTONIC, &after);
    double took = (double)(after.tv_sec - before.tv_sec) * 1e9 + (double)(after.tv_nsec - before.tv_nsec);
    double rest = took * (times() - 1.0);
    if (rest > 0) {
        struct timespec pause = {(time_t)(rest / 1e9), (long)(rest - (double)(time_t)(rest / 1e9) * 1e9)};
        nanosleep(&pause, NULL);
    }
    return result;
}

int fdatasync(int file) { return slowly("fdatasync", file); }
int fsync(int file) { return slowly("fsync", file); }
