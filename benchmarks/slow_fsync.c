/* LD_PRELOAD: every fsync and fdatasync takes SLOW_FSYNC_US microseconds longer, as on an SD card. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static void wait_more(void) {
    const char *told = getenv("SLOW_FSYNC_US");
    long us = told ? atol(told) : 0;
    struct timespec left = {us / 1000000, (us % 1000000) * 1000};
    while (us > 0 && nanosleep(&left, &left) != 0) {
    }
}

static int real(const char *name, int fd) {
    int (*call)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return call(fd);
}

int fsync(int fd) {
    wait_more();
    return real("fsync", fd);
}

int fdatasync(int fd) {
    wait_more();
    return real("fdatasync", fd);
}
