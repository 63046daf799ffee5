/* What the machine itself charges for a packet of G.711 over loopback, sent and received: one thread, pairs of connected sockets one
 * after the other, as many as a media server has, so that they are not all in the nearest cache.
 *
 *     cc -O2 -o udp udp.c && ./udp PAIRS SECONDS        prints microseconds of CPU a packet, sent and received
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { PACKET = 172 };

static double cpu_seconds(void) {
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: udp PAIRS SECONDS\n"), EXIT_FAILURE;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    size_t pairs = (size_t)atol(argv[1]);
    double seconds = atof(argv[2]), spent;
    int(*sockets)[2] = calloc(pairs, sizeof *sockets);
    if (!pairs || !sockets) return perror("udp"), EXIT_FAILURE;
    for (size_t i = 0; i < pairs; i++) {
        struct sockaddr_in address[2];
        for (int end = 0; end < 2; end++) {
            socklen_t size = sizeof address[end];
            address[end] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
            sockets[i][end] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
            if (sockets[i][end] < 0 || bind(sockets[i][end], (struct sockaddr *)&address[end], size) ||
                getsockname(sockets[i][end], (struct sockaddr *)&address[end], &size))
                return perror("udp"), EXIT_FAILURE;
        }
        for (int end = 0; end < 2; end++)
            if (connect(sockets[i][end], (struct sockaddr *)&address[!end], sizeof address[0])) return perror("udp"), EXIT_FAILURE;
    }
    static char packet[PACKET], received[2048];
    double start = cpu_seconds();
    uint64_t packets = 0, lost = 0;
    do {
        for (size_t i = 0; i < pairs; i++) {
            send(sockets[i][0], packet, PACKET, MSG_DONTWAIT);
            lost += recv(sockets[i][1], received, sizeof received, MSG_DONTWAIT) != PACKET;
        }
        packets += pairs;
        spent = cpu_seconds() - start;
    } while (spent < seconds);
    if (lost) fprintf(stderr, "%lu of %lu lost\n", lost, packets);
    printf("%.3f\n", spent / (double)packets * 1e6);
}
