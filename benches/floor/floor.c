/* What the machine itself charges for a SIP call: a program that answers calls without being a SIP stack.
 *
 * An INVITE gets 180 and 200 (the same SDP for everybody), a BYE gets 200, an ACK nothing. A response is the status line, the
 * five header fields that a response repeats, copied as they came, and a fixed end. Nothing is remembered: no transaction, no
 * dialog, no retransmission. Whatever does more costs more.
 *
 *     cc -O2 -o floor floor.c && ./floor        prints "ready PORT" and serves UDP on 127.0.0.1:PORT until it is killed
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { DATAGRAM = 65536, RECEIVE_BUFFER = 8 << 20 };

static const char SDP[] =
    "v=0\r\n"
    "o=floor 1 1 IN IP4 127.0.0.1\r\n"
    "s=-\r\n"
    "c=IN IP4 127.0.0.1\r\n"
    "t=0 0\r\n"
    "m=audio 40000 RTP/AVP 0\r\n"
    "a=rtpmap:0 PCMU/8000\r\n";

struct message {
    char bytes[DATAGRAM];
    size_t length;
};

static void append(struct message *message, const char *bytes, size_t length) {
    if (length <= DATAGRAM - message->length) {
        memcpy(message->bytes + message->length, bytes, length);
        message->length += length;
    }
}

static void append_text(struct message *message, const char *text) { append(message, text, strlen(text)); }

static bool is_field(const char *line, size_t length, const char *name) {
    size_t n = strlen(name);
    return length > n && line[n] == ':' && strncasecmp(line, name, n) == 0;
}

/* Copies the fields that RFC 3261 §8.2.6.2 wants in a response, To with a tag where it has none. */
static void append_repeated_fields(struct message *response, const struct message *request) {
    const char *line = request->bytes, *end = request->bytes + request->length;
    for (;;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        if (!newline) return;
        line = newline + 1;
        const char *next = memchr(line, '\n', (size_t)(end - line));
        if (!next || next - line < 2) return; /* the empty line before the body */
        size_t length = (size_t)(next + 1 - line);
        if (is_field(line, length, "To")) {
            bool tagged = memmem(line, length, ";tag=", 5) != NULL;
            append(response, line, tagged ? length : length - 2);
            if (!tagged) append_text(response, ";tag=floor\r\n");
        } else if (is_field(line, length, "Via") || is_field(line, length, "From") || is_field(line, length, "Call-ID") ||
                   is_field(line, length, "CSeq")) {
            append(response, line, length);
        }
    }
}

struct server {
    int socket;
    int port;
    struct message request, response;
};

static void respond(struct server *server, const struct sockaddr_in *to, const char *status, const char *body) {
    struct message *response = &server->response;
    char end[160];
    response->length = 0;
    append_text(response, "SIP/2.0 ");
    append_text(response, status);
    append_text(response, "\r\n");
    append_repeated_fields(response, &server->request);
    snprintf(end, sizeof end, "Contact: <sip:floor@127.0.0.1:%d>\r\n%sContent-Length: %zu\r\n\r\n", server->port,
             *body ? "Content-Type: application/sdp\r\n" : "", strlen(body));
    append_text(response, end);
    append_text(response, body);
    sendto(server->socket, response->bytes, response->length, 0, (const struct sockaddr *)to, sizeof *to);
}

static bool is_request(const struct message *message, const char *method) {
    size_t n = strlen(method);
    return message->length > n && memcmp(message->bytes, method, n) == 0 && message->bytes[n] == ' ';
}

int main(void) {
    static struct server server;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t own_size = sizeof own;
    int buffer = RECEIVE_BUFFER;

    server.socket = socket(AF_INET, SOCK_DGRAM, 0);
    if (server.socket < 0 || bind(server.socket, (struct sockaddr *)&own, sizeof own) != 0 ||
        getsockname(server.socket, (struct sockaddr *)&own, &own_size) != 0) {
        perror("floor");
        return EXIT_FAILURE;
    }
    setsockopt(server.socket, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    server.port = ntohs(own.sin_port);
    printf("ready %d\n", server.port);
    fflush(stdout);

    for (;;) {
        struct sockaddr_in peer;
        socklen_t peer_size = sizeof peer;
        ssize_t length =
            recvfrom(server.socket, server.request.bytes, DATAGRAM, 0, (struct sockaddr *)&peer, &peer_size);
        if (length <= 0) continue;
        server.request.length = (size_t)length;
        if (is_request(&server.request, "INVITE")) {
            respond(&server, &peer, "180 Ringing", "");
            respond(&server, &peer, "200 OK", SDP);
        } else if (is_request(&server.request, "BYE")) {
            respond(&server, &peer, "200 OK", "");
        }
    }
}
