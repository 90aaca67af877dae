// Many processes, each with its own pattern in every vector register, verify it for some seconds while they are switched.
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static unsigned char pattern[64] __attribute__((aligned(64))), found[32][64] __attribute__((aligned(64)));

#define LOAD_YMM(n) __asm__ volatile("vmovdqa %0, %%ymm" #n ::"m"(*(const char(*)[64])pattern));
#define LOAD_ZMM(n) __asm__ volatile("vmovdqa64 %0, %%zmm" #n ::"m"(*(const char(*)[64])pattern));
#define STORE_YMM(n) __asm__ volatile("vmovdqa %%ymm" #n ", %0" : "=m"(*(char(*)[64])found[n]));
#define STORE_ZMM(n) __asm__ volatile("vmovdqa64 %%zmm" #n ", %0" : "=m"(*(char(*)[64])found[n]));
#define LOW(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
#define HIGH(F) F(16) F(17) F(18) F(19) F(20) F(21) F(22) F(23) F(24) F(25) F(26) F(27) F(28) F(29) F(30) F(31)

static int check(int registers, int width)
{
    for (int r = 0; r < registers; r++)
        if (memcmp(found[r], pattern, width))
            return 1;
    return 0;
}

__attribute__((target("avx2"))) static int run256(int rounds, int spin)
{
    LOW(LOAD_YMM)
    for (int i = 0; i < rounds; i++) {
        if (i % 4 == 0)
            __asm__ volatile("syscall" : : "a"(24L) : "rcx", "r11", "memory");
        for (volatile int s = 0; s < spin; s++) {}
    }
    LOW(STORE_YMM)
    return check(16, 32);
}

__attribute__((target("avx512f"))) static int run512(int rounds, int spin)
{
    LOW(LOAD_ZMM) HIGH(LOAD_ZMM)
    for (int i = 0; i < rounds; i++) {
        if (i % 4 == 0)
            __asm__ volatile("syscall" : : "a"(24L) : "rcx", "r11", "memory");
        for (volatile int s = 0; s < spin; s++) {}
    }
    LOW(STORE_ZMM) HIGH(STORE_ZMM)
    return check(32, 64);
}

int main(int argc, char **argv)
{
    int processes = atoi(argv[1]), seconds = atoi(argv[2]);
    int wide = __builtin_cpu_supports("avx512f"), avx = __builtin_cpu_supports("avx2");
    printf("avx2=%d avx512f=%d\n", avx, wide);
    fflush(stdout);
    if (!avx)
        return 0;
    for (int p = 0; p < processes; p++)
        if (fork() == 0) {
            struct timespec start, now;
            clock_gettime(CLOCK_MONOTONIC, &start);
            int bad = 0;
            unsigned seed = p + 1;
            do {
                for (int i = 0; i < 64; i++)
                    pattern[i] = (unsigned char)(p * 37 + i + seed);
                bad |= wide && (seed & 1) ? run512(8, 20000) : run256(8, 20000);
                seed++;
                clock_gettime(CLOCK_MONOTONIC, &now);
            } while (!bad && now.tv_sec - start.tv_sec < seconds);
            _exit(bad);
        }
    int failures = 0, status;
    while (wait(&status) > 0)
        failures += status != 0;
    printf("vector failures: %d\n", failures);
    return failures;
}
