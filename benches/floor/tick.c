/* How late the machine itself lets a thread be that sleeps until a moment: absolute sleeps, every PERIOD microseconds.
 *
 *     cc -O2 -o tick tick.c && ./tick SECONDS PERIOD_US fifo|normal        prints "P50 P99 MAX" in microseconds
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

static int64_t nanoseconds(const struct timespec *at) { return (int64_t)at->tv_sec * 1000000000 + at->tv_nsec; }

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    struct sched_param priority = {.sched_priority = 20};
    struct timespec at, now;
    if (argc != 4) return fprintf(stderr, "usage: tick SECONDS PERIOD_US fifo|normal\n"), EXIT_FAILURE;
    int64_t period = atol(argv[2]) * 1000;
    size_t count = (size_t)(atof(argv[1]) * 1e9 / (double)period);
    int64_t *late = calloc(count, sizeof *late);
    if (!count || !late) return perror("tick"), EXIT_FAILURE;
    prctl(PR_SET_TIMERSLACK, 1);
    if (!strcmp(argv[3], "fifo") && sched_setscheduler(0, SCHED_FIFO, &priority)) return perror("SCHED_FIFO"), EXIT_FAILURE;
    clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t due = nanoseconds(&at);
    for (size_t i = 0; i < count; i++) {
        due += period;
        at = (struct timespec){.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
        late[i] = nanoseconds(&now) - due;
    }
    qsort(late, count, sizeof *late, compare);
    printf("%.1f %.1f %.1f\n", (double)late[count / 2] / 1e3, (double)late[count * 99 / 100] / 1e3, (double)late[count - 1] / 1e3);
}
