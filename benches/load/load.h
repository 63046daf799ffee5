/* What the load programs share: sockets on loopback, clocks, numbers out of messages. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DATAGRAM = 65536 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in address(const char *host, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
        fprintf(stderr, "not an IPv4 address: %s\n", host);
        exit(1);
    }
    return a;
}

/* A datagram socket of `host` at any port, which talks to `peer` alone; *port is what it got. */
static int datagram_socket(const char *host, const struct sockaddr_in *peer, int *port) {
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (s < 0) fail("socket");
    int size = 4 << 20;
    setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    struct sockaddr_in own = address(host, 0);
    socklen_t length = sizeof own;
    if (bind(s, (struct sockaddr *)&own, sizeof own) < 0) fail("bind");
    if (getsockname(s, (struct sockaddr *)&own, &length) < 0) fail("getsockname");
    if (connect(s, (const struct sockaddr *)peer, sizeof *peer) < 0) fail("connect");
    *port = ntohs(own.sin_port);
    return s;
}

/* The status of a response; 0 for anything else. */
static int status_of(const char *message) {
    return strncmp(message, "SIP/2.0 ", 8) == 0 ? atoi(message + 8) : 0;
}
