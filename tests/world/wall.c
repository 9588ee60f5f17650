// A wall clock to pretend, for a process that is started with this in LD_PRELOAD: the machine's own
// cannot be set without disturbing everything else on it. /run/wall holds two numbers: how many
// seconds to add to CLOCK_REALTIME, and whether the kernel is to call it synchronised (1) or not (0).
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static void wall(long *offset, int *synchronised) {
    char text[64] = "";
    int fd = open("/run/wall", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0 || sscanf(text, "%ld %d", offset, synchronised) != 2)
        dprintf(2, "wall: /run/wall does not hold two numbers\n");
    if (fd >= 0)
        close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME) {
        long offset = 0;
        int synchronised = 0;
        wall(&offset, &synchronised);
        now->tv_sec += offset;
    }
    return failed;
}

int adjtimex(struct timex *state) {
    long offset = 0;
    int synchronised = 0;
    wall(&offset, &synchronised);
    (void)!syscall(SYS_adjtimex, state);
    state->status = synchronised ? state->status & ~STA_UNSYNC : state->status | STA_UNSYNC;
    return synchronised ? TIME_OK : TIME_ERROR;
}

int ntp_adjtime(struct timex *state) { return adjtimex(state); }
