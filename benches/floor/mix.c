/* What the machine itself charges for mixing a conference of G.711: a frame of 20 ms decoded for each participant, all added up, and
 * for each the sum without its own part encoded. No packets, no buffers, no talker chosen, nothing but the arithmetic, written so that
 * the compiler can do several samples at a time.
 *
 *     cc -O3 -march=native -o mix mix.c && ./mix SIZE ROOMS SECONDS         prints nanoseconds of CPU a participant a frame
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAMPLES = 160 };

union number {
    float value;
    uint32_t bits;
};

/* ITU-T G.711 mu-law: sign, three bits of exponent, four of mantissa, all inverted; the magnitude has a bias of 132. Exponent and
 * mantissa stand where those of a float stand, with half a step added. */
static inline int32_t decoded(uint8_t code) {
    uint32_t inverted = code ^ 0xffu;
    union number magnitude = {.bits = ((inverted & 0x7f) << 19) + (134u << 23) + (1u << 18)};
    int32_t sample = (int32_t)magnitude.value - 132, sign = (int32_t)(inverted >> 7);
    return (sample ^ -sign) + sign;
}

static inline uint8_t encoded(int32_t sample) {
    int32_t sign = sample < 0 ? 0x80 : 0, magnitude = sample < 0 ? -sample : sample;
    union number biased = {.value = (float)((magnitude > 32635 ? 32635 : magnitude) + 132)};
    return (uint8_t)~(sign | (int32_t)((biased.bits - (134u << 23)) >> 19));
}

static void add(const uint8_t *restrict in, int16_t *restrict linear, int32_t *restrict sum) {
    for (int i = 0; i < SAMPLES; i++) linear[i] = (int16_t)decoded(in[i]);
    for (int i = 0; i < SAMPLES; i++) sum[i] += linear[i];
}

static void hear(const int32_t *restrict sum, const int16_t *restrict linear, uint8_t *restrict out) {
    for (int i = 0; i < SAMPLES; i++) {
        int32_t heard = sum[i] - linear[i];
        heard = heard > INT16_MAX ? INT16_MAX : heard;
        out[i] = encoded(heard < INT16_MIN ? INT16_MIN : heard);
    }
}

static void mix(size_t size, const uint8_t (*in)[SAMPLES], int16_t (*linear)[SAMPLES], uint8_t (*out)[SAMPLES]) {
    int32_t sum[SAMPLES] = {0};
    for (size_t p = 0; p < size; p++) add(in[p], linear[p], sum);
    for (size_t p = 0; p < size; p++) hear(sum, linear[p], out[p]);
}

static double cpu_seconds(void) {
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: mix SIZE ROOMS SECONDS\n"), EXIT_FAILURE;
    size_t size = (size_t)atol(argv[1]), rooms = (size_t)atol(argv[2]), all = size * rooms;
    double seconds = atof(argv[3]), spent;
    uint8_t(*in)[SAMPLES] = malloc(all * SAMPLES), (*out)[SAMPLES] = malloc(all * SAMPLES);
    int16_t(*linear)[SAMPLES] = malloc(all * SAMPLES * sizeof(int16_t));
    if (!all || !in || !out || !linear) return perror("mix"), EXIT_FAILURE;
    for (size_t p = 0; p < all; p++)
        for (int i = 0; i < SAMPLES; i++) in[p][i] = (uint8_t)rand();
    double start = cpu_seconds();
    uint64_t frames = 0;
    do {
        for (size_t room = 0; room < rooms; room++) mix(size, in + room * size, linear + room * size, out + room * size);
        frames++;
        spent = cpu_seconds() - start;
    } while (spent < seconds);
    unsigned sum = 0;
    for (size_t p = 0; p < all; p++) sum += out[p][p % SAMPLES];
    fprintf(stderr, "%u\n", sum); /* so that nothing is left out */
    printf("%.2f\n", spent / (double)frames / (double)all * 1e9);
}
