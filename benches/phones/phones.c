/* Phones for the media bench: each has an RTP socket and an RTCP socket of its own on 127.0.0.1, sends a packet of real sound every
 * 20 ms with its own SSRC, sequence numbers and timestamps, and counts what comes back.
 *
 * Phones are spread evenly over the 20 ms in steps of a millisecond. A phone reads what has come just before it sends, without epoll:
 * nobody is woken by what the program under test sends, so that this costs it what a network card would have it pay, and no more.
 *
 *     cc -O2 -Wall -Wextra -o phones phones.c -lm && ./phones COUNT LOWEST_PORT HIGHEST_PORT
 *
 * Prints "ports P P P ..." and "ready 1", and then answers each line from standard input with one line:
 *
 *     frames SET FILE                        payloads to send, each after its length (16 bits, this machine's order): "ok"
 *     phone I PORT PAYLOAD_TYPE UNITS SET    phone I sends SET to 127.0.0.1:PORT, UNITS of timestamp a packet: "ok"
 *     start                                  all phones that were told where to begin to send: "ok"
 *     mark                                   counts from here on: "ok"
 *     report                                 what was counted, as a JSON object
 *     keep COUNT / save I FILE               keep the next payloads that come / write those of phone I in the form of `frames`: "ok"
 *     quit                                   ends, as the end of standard input does
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SETS = 16, BATCH = 8, DATAGRAM = 2048, HEADER = 12, STEPS = 20, STEP_NS = 1000000, LONGEST = 1400, LINE = 4096 };
/* Silence of G.711 is one octet over and over, and that of the others a few. */
enum { SOUNDING_OCTETS = 8 };
/* Behind by so many steps there is no use in catching up. */
enum { BEHIND_STEPS = 200 };
/* Of SCHED_FIFO: above that of ringback's media threads, and below the kernel's own threads. */
enum { PRIORITY = 40 };

struct frames {
    size_t count;
    uint16_t *lengths;
    uint8_t (*bytes)[LONGEST];
};

struct phone {
    int rtp, rtcp;
    int port;
    bool talks;
    struct sockaddr_in to;
    uint8_t payload_type;
    uint32_t units;
    const struct frames *set;
    size_t next;
    uint16_t sequence;
    uint32_t timestamp, ssrc;

    /* The stream that comes. */
    bool hears;
    uint32_t heard_ssrc;
    uint64_t base, highest;
    uint64_t received, sounding;
    struct frames kept;
};

static struct phone *phones;
static size_t phone_count;
static struct frames sets[SETS];
static bool started;
static size_t keep;

static struct {
    uint64_t sent, unsent, octets_received, foreign, streams, steps, late_steps, skipped_steps, latest_ns;
    double cpu, wall;
} counted;

static double clock_seconds(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

static uint64_t clock_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(EXIT_FAILURE);
}

static void *zeroed(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) fail("phones");
    return memory;
}

static int bound(int port) {
    struct sockaddr_in own = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (fd < 0) fail("socket");
    if (bind(fd, (struct sockaddr *)&own, sizeof own) == 0) return fd;
    close(fd);
    return -1;
}

/* Pairs of ports that nobody has. */
static void open_phones(int lowest, int highest) {
    int port = (lowest + 1) / 2 * 2;
    for (size_t i = 0; i < phone_count; i++) {
        struct phone *phone = &phones[i];
        for (;; port += 2) {
            if (port + 1 > highest) {
                fprintf(stderr, "only %zu of %zu pairs of ports are free from %d to %d\n", i, phone_count, lowest, highest);
                exit(EXIT_FAILURE);
            }
            if ((phone->rtp = bound(port)) < 0) continue;
            if ((phone->rtcp = bound(port + 1)) >= 0) break;
            close(phone->rtp);
        }
        phone->port = port;
        port += 2;
        phone->sequence = (uint16_t)(rand() & 0x7fff);
        phone->timestamp = (uint32_t)rand();
        phone->ssrc = (uint32_t)rand() ^ (uint32_t)(i << 16);
    }
}

static bool is_sounding(const uint8_t *payload, size_t length) {
    uint64_t seen[4] = {0};
    int distinct = 0;
    for (size_t i = 0; i < length && distinct < SOUNDING_OCTETS; i++) {
        uint64_t bit = 1ull << (payload[i] & 63), *word = &seen[payload[i] >> 6];
        distinct += !(*word & bit);
        *word |= bit;
    }
    return distinct >= SOUNDING_OCTETS;
}

static void keep_payload(struct phone *phone, const uint8_t *payload, size_t length) {
    struct frames *kept = &phone->kept;
    if (kept->count >= keep || length > LONGEST) return;
    if (!kept->bytes) {
        kept->bytes = zeroed(keep, LONGEST);
        kept->lengths = zeroed(keep, sizeof *kept->lengths);
    }
    memcpy(kept->bytes[kept->count], payload, length);
    kept->lengths[kept->count++] = (uint16_t)length;
}

static void hear(struct phone *phone, const uint8_t *packet, size_t length) {
    if (length < HEADER || packet[0] >> 6 != 2 || (packet[1] & 0x7f) != phone->payload_type) {
        counted.foreign++;
        return;
    }
    uint16_t sequence = (uint16_t)(packet[2] << 8 | packet[3]);
    uint32_t ssrc = (uint32_t)packet[8] << 24 | (uint32_t)packet[9] << 16 | (uint32_t)packet[10] << 8 | packet[11];
    if (!phone->hears || phone->heard_ssrc != ssrc) {
        phone->hears = true;
        phone->heard_ssrc = ssrc;
        phone->base = phone->highest = sequence + 65536u;
        counted.streams++;
    } else {
        uint64_t extended = phone->highest + (uint64_t)(int64_t)(int16_t)(sequence - (uint16_t)phone->highest);
        if (extended > phone->highest) phone->highest = extended;
    }
    phone->received++;
    counted.octets_received += length;
    if (keep) keep_payload(phone, packet + HEADER, length - HEADER);
    phone->sounding += is_sounding(packet + HEADER, length - HEADER);
}

static void receive(struct phone *phone) {
    static uint8_t datagrams[BATCH][DATAGRAM];
    static struct iovec vectors[BATCH];
    static struct mmsghdr headers[BATCH];
    int count;
    do {
        for (int i = 0; i < BATCH; i++) {
            vectors[i] = (struct iovec){datagrams[i], DATAGRAM};
            headers[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &vectors[i], .msg_iovlen = 1}};
        }
        count = recvmmsg(phone->rtp, headers, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < count; i++) hear(phone, datagrams[i], headers[i].msg_len);
    } while (count == BATCH);
}

static void receive_rtcp(struct phone *phone) {
    uint8_t scrap[DATAGRAM];
    while (recv(phone->rtcp, scrap, sizeof scrap, MSG_DONTWAIT) > 0) {
    }
}

static void send_packet(struct phone *phone) {
    uint8_t packet[HEADER + LONGEST];
    size_t length = phone->set->lengths[phone->next];
    packet[0] = 0x80;
    packet[1] = phone->payload_type;
    packet[2] = (uint8_t)(phone->sequence >> 8);
    packet[3] = (uint8_t)phone->sequence;
    uint32_t words[2] = {htonl(phone->timestamp), htonl(phone->ssrc)};
    memcpy(packet + 4, words, sizeof words);
    memcpy(packet + HEADER, phone->set->bytes[phone->next], length);
    phone->next = (phone->next + 1) % phone->set->count;
    phone->sequence++;
    phone->timestamp += phone->units;
    if (send(phone->rtp, packet, HEADER + length, MSG_DONTWAIT) > 0)
        counted.sent++;
    else
        counted.unsent++;
}

static void step(size_t number) {
    for (size_t i = number; i < phone_count; i += STEPS) {
        struct phone *phone = &phones[i];
        if (!phone->talks) continue;
        receive(phone);
        if (started) send_packet(phone);
    }
}

static void mark(void) {
    memset(&counted, 0, sizeof counted);
    for (size_t i = 0; i < phone_count; i++) {
        struct phone *phone = &phones[i];
        receive(phone);
        receive_rtcp(phone);
        phone->received = phone->sounding = 0;
        phone->base = phone->highest + 1;
    }
    memset(&counted, 0, sizeof counted);
    counted.cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    counted.wall = clock_seconds(CLOCK_MONOTONIC);
}

static void report(void) {
    double cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - counted.cpu, wall = clock_seconds(CLOCK_MONOTONIC) - counted.wall;
    uint64_t received = 0, sounding = 0, expected = 0, least = UINT64_MAX, talking = 0;
    for (size_t i = 0; i < phone_count; i++) {
        struct phone *phone = &phones[i];
        if (!phone->talks) continue;
        receive(phone);
        talking++;
        received += phone->received;
        sounding += phone->sounding;
        if (phone->hears) expected += phone->highest + 1 - phone->base;
        if (phone->received < least) least = phone->received;
    }
    printf("{\"phones\": %lu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, \"sent\": %lu, \"unsent\": %lu, \"received\": %lu, "
           "\"expected\": %lu, \"sounding\": %lu, \"least\": %lu, \"octets_received\": %lu, \"foreign\": %lu, \"new_streams\": %lu, "
           "\"steps\": %lu, \"late_steps\": %lu, \"skipped_steps\": %lu, \"latest_ms\": %.3f}\n",
           talking, wall, cpu, counted.sent, counted.unsent, received, expected, sounding, talking ? least : 0,
           counted.octets_received, counted.foreign, counted.streams, counted.steps, counted.late_steps, counted.skipped_steps,
           (double)counted.latest_ns * 1e-6);
}

static bool load(struct frames *set, const char *path) {
    FILE *file = fopen(path, "rb");
    uint16_t length;
    if (!file) return false;
    set->count = 0;
    while (fread(&length, sizeof length, 1, file) == 1 && length <= LONGEST) {
        set->bytes = realloc(set->bytes, (set->count + 1) * sizeof *set->bytes);
        set->lengths = realloc(set->lengths, (set->count + 1) * sizeof *set->lengths);
        if (!set->bytes || !set->lengths) fail("phones");
        if (fread(set->bytes[set->count], 1, length, file) != length) break;
        set->lengths[set->count++] = length;
    }
    fclose(file);
    return set->count > 0;
}

static bool save(const struct frames *set, const char *path) {
    FILE *file = fopen(path, "wb");
    if (!file) return false;
    for (size_t i = 0; i < set->count; i++) {
        fwrite(&set->lengths[i], sizeof set->lengths[i], 1, file);
        fwrite(set->bytes[i], 1, set->lengths[i], file);
    }
    return fclose(file) == 0 && set->count > 0;
}

static bool command(const char *line) {
    char path[LINE];
    unsigned index, port, payload_type, units, set;
    if (sscanf(line, "frames %u %4000s", &set, path) == 2) return set < SETS && load(&sets[set], path);
    if (sscanf(line, "phone %u %u %u %u %u", &index, &port, &payload_type, &units, &set) == 5) {
        if (index >= phone_count || set >= SETS || !sets[set].count || port > 65535) return false;
        struct phone *phone = &phones[index];
        phone->to = (struct sockaddr_in){
            .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        phone->payload_type = (uint8_t)payload_type;
        phone->units = units;
        phone->set = &sets[set];
        phone->next = index * 37 % sets[set].count;
        phone->talks = connect(phone->rtp, (struct sockaddr *)&phone->to, sizeof phone->to) == 0;
        return phone->talks;
    }
    if (sscanf(line, "keep %u", &index) == 1) {
        keep = index;
        return true;
    }
    if (sscanf(line, "save %u %4000s", &index, path) == 2) return index < phone_count && save(&phones[index].kept, path);
    if (!strcmp(line, "start")) return started = true;
    if (!strcmp(line, "mark")) return mark(), true;
    return false;
}

/* What stands on standard input; false at its end. */
static bool listen_to_commands(void) {
    static char buffer[LINE * 4];
    static size_t filled;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&input, 1, 0) <= 0) return true;
    ssize_t count = read(STDIN_FILENO, buffer + filled, sizeof buffer - filled - 1);
    if (count <= 0) return false;
    filled += (size_t)count;
    buffer[filled] = 0;
    char *line = buffer, *end;
    while ((end = strchr(line, '\n'))) {
        *end = 0;
        if (!strcmp(line, "quit")) return false;
        if (!strcmp(line, "report"))
            report();
        else
            puts(command(line) ? "ok" : "refused");
        fflush(stdout);
        line = end + 1;
    }
    filled -= (size_t)(line - buffer);
    memmove(buffer, line, filled);
    return filled < sizeof buffer - 1;
}

int main(int argc, char **argv) {
    struct rlimit files;
    if (argc != 4) return fprintf(stderr, "usage: phones COUNT LOWEST_PORT HIGHEST_PORT\n"), EXIT_FAILURE;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    srand((unsigned)clock_ns());
    phone_count = (size_t)atol(argv[1]);
    phones = zeroed(phone_count, sizeof *phones);
    open_phones(atoi(argv[2]), atoi(argv[3]));
    printf("ports");
    for (size_t i = 0; i < phone_count; i++) printf(" %d", phones[i].port);
    puts("\nready 1");
    fflush(stdout);

    struct sched_param first = {.sched_priority = PRIORITY};
    if (sched_setscheduler(0, SCHED_FIFO, &first) < 0) perror("phones: without real-time priority");

    uint64_t due = clock_ns();
    for (size_t number = 0;; number = (number + 1) % STEPS) {
        uint64_t now = clock_ns();
        if (now > due) {
            uint64_t late = now - due;
            if (late > counted.latest_ns) counted.latest_ns = late;
            counted.late_steps += late > 5 * STEP_NS;
            if (late > (uint64_t)BEHIND_STEPS * STEP_NS) {
                /* Whole rounds, so that a phone's packets stay 20 ms apart but for one gap. */
                uint64_t rounds = late / (STEPS * STEP_NS);
                counted.skipped_steps += rounds * STEPS;
                due += rounds * STEPS * STEP_NS;
            }
        } else {
            struct timespec until = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        }
        counted.steps++;
        step(number);
        static size_t next_rtcp;
        for (size_t i = 0; i < 1 + phone_count / 1000; i++) receive_rtcp(&phones[next_rtcp++ % (phone_count ? phone_count : 1)]);
        if (!listen_to_commands()) return EXIT_SUCCESS;
        due += STEP_NS;
    }
}
