/* What the machine itself charges for relaying RTP: two sockets a call and no more than the system calls. Every packet that comes on
 * the socket of leg 2k goes out of that of leg 2k+1, and the other way round, to where that leg's own packets come from. Nothing is
 * looked at, counted or rewritten. Whatever does more costs more.
 *
 *     cc -O2 -o relay relay.c && ./relay LEGS LOWEST_PORT HIGHEST_PORT        prints "ports P P P ..." and "ready 1", and relays until it is killed
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READY = 256, DATAGRAM = 2048 };

struct leg {
    int socket;
    bool connected;
};

static int bound(int port) {
    struct sockaddr_in own = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own) == 0) return fd;
    close(fd);
    return -1;
}

/* The first packet says who the peer is: from then on the kernel lets nobody else's in. */
static ssize_t receive(struct leg *leg, char *bytes) {
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    if (leg->connected) return recv(leg->socket, bytes, DATAGRAM, MSG_DONTWAIT);
    ssize_t length = recvfrom(leg->socket, bytes, DATAGRAM, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
    if (length > 0) leg->connected = connect(leg->socket, (struct sockaddr *)&from, size) == 0;
    return length;
}

int main(int argc, char **argv) {
    struct rlimit files;
    if (argc != 4) return fprintf(stderr, "usage: relay LEGS LOWEST_PORT HIGHEST_PORT\n"), EXIT_FAILURE;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    size_t count = (size_t)atol(argv[1]) / 2 * 2;
    int port = (atoi(argv[2]) + 1) / 2 * 2, highest = atoi(argv[3]);
    struct leg *legs = calloc(count, sizeof *legs);
    int epoll = epoll_create1(0);
    if (!legs || epoll < 0) return perror("relay"), EXIT_FAILURE;
    printf("ports");
    for (size_t i = 0; i < count; i++) {
        for (;; port += 2) {
            if (port > highest) return fprintf(stderr, "too few free ports\n"), EXIT_FAILURE;
            if ((legs[i].socket = bound(port)) >= 0) break;
        }
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, legs[i].socket, &event)) return perror("epoll_ctl"), EXIT_FAILURE;
        printf(" %d", port);
        port += 2;
    }
    puts("\nready 1");
    fflush(stdout);

    for (;;) {
        static struct epoll_event events[READY];
        static char bytes[DATAGRAM];
        int ready = epoll_wait(epoll, events, READY, -1);
        if (ready < 0 && errno != EINTR) return perror("epoll_wait"), EXIT_FAILURE;
        for (int i = 0; i < ready; i++) {
            struct leg *leg = &legs[events[i].data.u64], *other = &legs[events[i].data.u64 ^ 1];
            ssize_t length = receive(leg, bytes);
            if (length > 0 && other->connected) send(other->socket, bytes, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
}
