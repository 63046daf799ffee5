/* Registers many addresses of record as fast as they are answered.
 *
 *     cc -O2 -o register register.c && ./register HOST PORT DOMAIN COUNT CSEQ WINDOW
 *
 * One contact each of COUNT users, so many under way at a time; the same CSEQ is a first registration, a higher one with the same users a
 * refresh: the contact is the same in each run. What is not answered in half a second is sent again, what has not been answered in 60 s has
 * failed. Prints a JSON object.
 */
#include "load.h"

enum { AGAIN_MS = 500, GIVE_UP_S = 60, CONTACT_PORT = 5099 };

struct pending {
    long user; /* -1: free */
    double first, last;
};

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: register HOST PORT DOMAIN COUNT CSEQ WINDOW\n");
        return 2;
    }
    const char *domain = argv[3];
    struct sockaddr_in peer = address(argv[1], atoi(argv[2]));
    long count = atol(argv[4]), cseq = atol(argv[5]), window = atol(argv[6]);
    if (count < 1 || cseq < 1 || window < 1 || window > 4096) {
        fprintf(stderr, "COUNT and CSEQ from 1, WINDOW from 1 to 4096\n");
        return 2;
    }
    int port;
    int s = datagram_socket("127.0.0.1", &peer, &port);
    struct pending *pending = calloc((size_t)window, sizeof *pending);
    for (long i = 0; i < window; i++) pending[i].user = -1;

    long next = 0, done = 0, accepted = 0, refused = 0, lost = 0, again = 0;
    char text[2048], answer[DATAGRAM];
    double begin = now();
    while (done < count) {
        double t = now();
        for (long slot = 0; slot < window; slot++) {
            struct pending *p = &pending[slot];
            bool send_it = false;
            if (p->user < 0) {
                if (next == count) continue;
                p->user = next++;
                p->first = t;
                send_it = true;
            } else if (t - p->first > GIVE_UP_S) {
                lost++, done++;
                p->user = -1;
                continue;
            } else if (t - p->last > AGAIN_MS / 1e3) {
                again++;
                send_it = true;
            }
            if (!send_it) continue;
            p->last = t;
            int length = snprintf(text, sizeof text,
                "REGISTER sip:%s SIP/2.0\r\n"
                "Via: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK-%ld-%ld-%ld\r\n"
                "Max-Forwards: 70\r\n"
                "From: <sip:user%06ld@%s>;tag=t%ld\r\n"
                "To: <sip:user%06ld@%s>\r\n"
                "Call-ID: register-%06ld\r\n"
                "CSeq: %ld REGISTER\r\n"
                "Contact: <sip:user%06ld@127.0.0.1:%d;transport=udp>\r\n"
                "Expires: 3600\r\n"
                "User-Agent: register\r\n"
                "Content-Length: 0\r\n\r\n",
                domain, port, slot, p->user, cseq, p->user, domain, p->user, p->user, domain, p->user, cseq, p->user, CONTACT_PORT);
            if (send(s, text, (size_t)length, 0) < 0 && errno != EAGAIN && errno != ECONNREFUSED) fail("send");
        }
        struct pollfd ready = {.fd = s, .events = POLLIN};
        poll(&ready, 1, 100);
        for (;;) {
            ssize_t got = recv(s, answer, sizeof answer - 1, 0);
            if (got < 0) break;
            answer[got] = 0;
            int status = status_of(answer);
            const char *branch = strstr(answer, "branch=z9hG4bK-");
            long slot, user, number;
            if (status < 200 || !branch || sscanf(branch + 15, "%ld-%ld-%ld", &slot, &user, &number) != 3) continue;
            if (slot < 0 || slot >= window || number != cseq || pending[slot].user != user) continue;
            pending[slot].user = -1;
            done++;
            if (status < 300) accepted++;
            else refused++;
        }
    }
    printf("{\"accepted\": %ld, \"refused\": %ld, \"lost\": %ld, \"retransmissions\": %ld, \"seconds\": %.6f}\n", accepted, refused, lost,
           again, now() - begin);
    return 0;
}
