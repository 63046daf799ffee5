/* Floods with INVITEs that are never acknowledged.
 *
 *     cc -O2 -o flood flood.c && ./flood HOST PORT FROM ADDRESSES COUNT RATE SOCKETS LINGER
 *
 * COUNT INVITEs, RATE a second, to sip:flood@HOST, from SOCKETS ports in turn, spread over so many ADDRESSES from FROM on; afterwards it listens LINGER seconds more, for
 * nobody is to be told that these ports are gone. What comes is read and counted, and never answered. Prints a JSON object; ends by itself.
 */
#include "load.h"

static const char SDP[] =
    "v=0\r\n"
    "o=flood 1 1 IN IP4 127.0.0.1\r\n"
    "s=-\r\n"
    "c=IN IP4 127.0.0.1\r\n"
    "t=0 0\r\n"
    "m=audio 40000 RTP/AVP 0\r\n"
    "a=rtpmap:0 PCMU/8000\r\n";

static long provisional, answered, refused, overloaded, asked;

static void drain(struct pollfd *ready, long sockets, int wait_ms) {
    static char text[DATAGRAM];
    if (poll(ready, (nfds_t)sockets, wait_ms) <= 0) return;
    for (long i = 0; i < sockets; i++) {
        if (!(ready[i].revents & POLLIN)) continue;
        ssize_t got;
        while ((got = recv(ready[i].fd, text, sizeof text - 1, 0)) >= 0) {
            text[got] = 0;
            int status = status_of(text);
            if (status == 0) asked++;
            else if (status < 200) provisional++;
            else if (status < 300) answered++;
            else if (status == 503) overloaded++;
            else refused++;
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: flood HOST PORT FROM ADDRESSES COUNT RATE SOCKETS LINGER\n");
        return 2;
    }
    struct sockaddr_in peer = address(argv[1], atoi(argv[2]));
    struct sockaddr_in first = address(argv[3], 0);
    long addresses = atol(argv[4]), count = atol(argv[5]), rate = atol(argv[6]), sockets = atol(argv[7]);
    double linger = atof(argv[8]);
    if (count < 1 || rate < 1 || sockets < 1 || sockets > 20000 || addresses < 1) {
        fprintf(stderr, "COUNT, RATE and ADDRESSES from 1, SOCKETS from 1 to 20000\n");
        return 2;
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    struct pollfd *ready = calloc((size_t)sockets, sizeof *ready);
    int *ports = calloc((size_t)sockets, sizeof *ports);
    char(*hosts)[INET_ADDRSTRLEN] = calloc((size_t)sockets, sizeof *hosts);
    for (long i = 0; i < sockets; i++) {
        struct in_addr own = {.s_addr = htonl(ntohl(first.sin_addr.s_addr) + (uint32_t)(i % addresses))};
        inet_ntop(AF_INET, &own, hosts[i], sizeof hosts[i]);
        ready[i] = (struct pollfd){.fd = datagram_socket(hosts[i], &peer, &ports[i]), .events = POLLIN};
    }

    char text[2048];
    double begin = now(), drained = begin;
    long sent = 0, id = (long)getpid();
    while (sent < count) {
        long due = (long)((now() - begin) * (double)rate) + 1;
        /* After a stall no burst that no network would carry. */
        if (due > sent + 500) begin += (double)(due - sent - 500) / (double)rate, due = sent + 500;
        for (; sent < due && sent < count; sent++) {
            long i = sent % sockets;
            const char *from = hosts[i];
            int length = snprintf(text, sizeof text,
                "INVITE sip:flood@%s:%s SIP/2.0\r\n"
                "Via: SIP/2.0/UDP %s:%d;branch=z9hG4bK-%ld-%ld\r\n"
                "Max-Forwards: 70\r\n"
                "From: <sip:flood@%s>;tag=f%ld\r\n"
                "To: <sip:flood@%s:%s>\r\n"
                "Call-ID: flood-%ld-%ld\r\n"
                "CSeq: 1 INVITE\r\n"
                "Contact: <sip:flood@%s:%d>\r\n"
                "Content-Type: application/sdp\r\n"
                "Content-Length: %zu\r\n\r\n%s",
                argv[1], argv[2], from, ports[i], id, sent, from, sent, argv[1], argv[2], id, sent, from, ports[i], sizeof SDP - 1, SDP);
            if (send(ready[i].fd, text, (size_t)length, 0) < 0 && errno != EAGAIN && errno != ECONNREFUSED && errno != ENOBUFS) fail("send");
        }
        bool often = now() - drained > 0.05;
        if (often) drained = now();
        drain(ready, often ? sockets : 0, 1);
    }
    double took = now() - begin, until = now() + linger;
    while (now() < until) drain(ready, sockets, 100);
    printf("{\"sent\": %ld, \"seconds\": %.3f, \"provisional\": %ld, \"answered\": %ld, \"refused\": %ld, \"overloaded\": %ld, \"requests\": %ld}\n",
           sent, took, provisional, answered, refused, overloaded, asked);
    return 0;
}
