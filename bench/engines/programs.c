/* What bench/engines/run measures inside a guest and on the host: one static program, no libraries but libc's.
   Each line it prints is "engine-bench NAME VALUE UNIT", the last "engine-bench end" or "engine-bench failed WHAT". */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile uint64_t sink;

static void fail(const char *what)
{
    printf("engine-bench failed %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static uint64_t random_state = 88172645463325252ULL;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void *memory(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (at == MAP_FAILED)
        fail("mmap");
    return at;
}

/* 1: integer arithmetic in registers. */
static void integer(void)
{
    uint64_t sum = 1;
    for (uint64_t i = 0; i < 300000000; i++)
        sum = sum * 6364136223846793005ULL + i;
    sink = sum;
}

/* 2: memset and memcpy of 1 MiB. */
static void copies(void)
{
    char *from = memory(1 << 20), *to = memory(1 << 20);
    for (int i = 0; i < 2000; i++) {
        memset(from, i, 1 << 20);
        memcpy(to, from, 1 << 20);
        __asm__ volatile("" ::: "memory");
    }
    sink = to[12345];
    munmap(from, 1 << 20);
    munmap(to, 1 << 20);
}

/* 3, 4: a chain of pointers in random order. */
static void chase(size_t bytes, long steps)
{
    size_t count = bytes / 64;
    char *base = memory(bytes);
    uint32_t *order = memory(count * 4);
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = count - 1; i > 0; i--) {
        size_t other = next_random() % (i + 1);
        uint32_t kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
    for (size_t i = 0; i < count; i++)
        *(void **)(base + order[i] * 64UL) = base + order[(i + 1) % count] * 64UL;
    double begun = now();
    void **at = (void **)base;
    for (long i = 0; i < steps; i++)
        at = *at;
    printf("engine-bench %s %.4f s\n", bytes > 1 << 20 ? "chase-64M" : "chase-L1", now() - begun);
    sink = (uint64_t)at;
    munmap(base, bytes);
    munmap(order, count * 4);
}

/* 5: SHA-256's compression function. */
static const uint32_t *sha_constants(void)
{
    static uint32_t k[64];
    uint64_t n = 0;
    for (uint64_t p = 2; n < 64; p++) {
        int prime = 1;
        for (uint64_t d = 2; d * d <= p; d++)
            prime &= p % d != 0;
        if (prime)
            k[n] = (uint32_t)(p * 2654435761u + n), n++;
    }
    return k;
}

static inline uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void sha(void)
{
    const uint32_t *k = sha_constants();
    uint32_t h[8] = {1, 2, 3, 4, 5, 6, 7, 8}, w[64];
    for (int block = 0; block < 1000000; block++) {
        for (int i = 0; i < 16; i++)
            w[i] = h[i & 7] ^ block ^ i;
        for (int i = 16; i < 64; i++)
            w[i] = (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10) + w[i - 7] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 16];
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], x = h[7];
        for (int i = 0; i < 64; i++) {
            uint32_t t1 = x + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i];
            uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            x = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += x;
    }
    sink = h[0];
}

/* 6: the library's qsort, with a function called for each comparison. */
static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void sort(void)
{
    size_t count = 1 << 21;
    int64_t *values = memory(count * 8);
    for (size_t i = 0; i < count; i++)
        values[i] = next_random();
    qsort(values, count, 8, compare);
    sink = values[77];
    munmap(values, count * 8);
}

/* 7: an interpreter of bytecode: a switch in a loop. */
static void interpreter(void)
{
    static const uint8_t code[] = {0, 1, 2, 3, 1, 4, 2, 5, 1, 3, 6};
    int64_t stack[16] = {0}, accumulator = 1;
    int top = 0;
    for (uint64_t at = 0, left = 60000000; left > 0; left--) {
        switch (code[at++]) {
        case 0: accumulator += 3; break;
        case 1: stack[top++ & 15] = accumulator; break;
        case 2: accumulator ^= stack[--top & 15]; break;
        case 3: accumulator *= 5; break;
        case 4: accumulator -= stack[(top - 1) & 15]; break;
        case 5: accumulator = accumulator << 1 | 1; break;
        default: at = 0; break;
        }
    }
    sink = accumulator;
}

/* 8: five bodies in doubles. */
static void nbody(void)
{
    double p[5][3], v[5][3] = {{0}}, m[5] = {39.5, .0377, .0113, .0017, .002};
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 3; j++)
            p[i][j] = (i * 7 + j * 3 + 1) * .61;
    for (int step = 0; step < 2000000; step++) {
        for (int i = 0; i < 5; i++)
            for (int j = i + 1; j < 5; j++) {
                double d[3], square = 0;
                for (int c = 0; c < 3; c++)
                    d[c] = p[i][c] - p[j][c], square += d[c] * d[c];
                double factor = .001 / (square * __builtin_sqrt(square));
                for (int c = 0; c < 3; c++)
                    v[i][c] -= d[c] * m[j] * factor, v[j][c] += d[c] * m[i] * factor;
            }
        for (int i = 0; i < 5; i++)
            for (int c = 0; c < 3; c++)
                p[i][c] += .001 * v[i][c];
    }
    sink = (uint64_t)(p[0][0] * 1e6);
}

/* 9: calls and returns. */
__attribute__((noinline)) static uint64_t fib(uint64_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

/* 10: calls through a table. */
__attribute__((noinline)) static uint64_t add(uint64_t x) { return x + 1; }
__attribute__((noinline)) static uint64_t twist(uint64_t x) { return x ^ x << 1; }
__attribute__((noinline)) static uint64_t turn(uint64_t x) { return x << 3 | x >> 61; }

static void virtual_calls(void)
{
    static uint64_t (*volatile table[3])(uint64_t) = {add, twist, turn};
    uint64_t x = 1;
    for (int i = 0; i < 60000000; i++)
        x = table[i % 3](x);
    sink = x;
}

/* 12: one word of each of 16 K pages. */
static void stride(void)
{
    size_t bytes = 64 << 20;
    char *base = memory(bytes);
    for (int round = 0; round < 200; round++)
        for (size_t at = 0; at < bytes; at += 4096)
            ++*(uint64_t *)(base + at);
    sink = base[4096];
    munmap(base, bytes);
}

static void spent(const char *name, double begun) { printf("engine-bench %s %.4f s\n", name, now() - begun); }

static void each(const char *name, double begun, long count, double scale, const char *unit)
{
    printf("engine-bench %s %.4f %s\n", name, (now() - begun) / count * scale, unit);
}

static void programs(void)
{
    double begun = now();
    integer();
    spent("integer", begun);
    begun = now();
    copies();
    spent("memset-memcpy", begun);
    chase(64 << 20, 8000000);
    chase(16 << 10, 100000000);
    begun = now();
    sha();
    spent("sha256", begun);
    begun = now();
    sort();
    spent("qsort", begun);
    begun = now();
    interpreter();
    spent("interpreter", begun);
    begun = now();
    nbody();
    spent("nbody", begun);
    begun = now();
    sink = fib(38);
    spent("fib", begun);
    begun = now();
    virtual_calls();
    spent("virtual-calls", begun);
    begun = now();
    for (int i = 0; i < 1000000; i++)
        syscall(SYS_getppid);
    spent("getppid-1M", begun);
    begun = now();
    stride();
    spent("stride", begun);
}

static void await(pid_t child)
{
    int status;
    if (child < 0)
        fail("fork");
    if (waitpid(child, &status, 0) != child || status != 0)
        fail("a child");
}

/* An address range whose pages come at the first touch, each by itself. */
static char *untouched(size_t pages)
{
    char *base = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        fail("mmap");
    madvise(base, pages * 4096, MADV_NOHUGEPAGE);
    return base;
}

static void touch(char *base, size_t pages)
{
    for (size_t i = 0; i < pages; i++)
        base[i * 4096] = 1;
}

static void system_calls(char *self)
{
    double begun = now();
    for (int i = 0; i < 200000; i++)
        syscall(SYS_getppid);
    each("getpid", begun, 200000, 1e6, "us");

    /* The second of two passes: in the first the host, and on a rented machine the host below it, may have to back memory that nobody has used before, which costs 5 to 10 us
       a page of their own. */
    size_t pages = 8192;
    for (int pass = 0; pass < 2; pass++) {
        begun = now();
        char *base = untouched(pages);
        touch(base, pages);
        if (pass == 1)
            each("page-fault", begun, pages, 1e6, "us");
        munmap(base, pages * 4096);
    }

    double unmapping = 0;
    for (int round = 0; round < 20; round++) {
        char *base = untouched(1000);
        touch(base, 1000);
        double from = now();
        munmap(base, 1000 * 4096);
        unmapping += now() - from;
    }
    printf("engine-bench munmap-1000 %.4f ms\n", unmapping / 20 * 1e3);

    begun = now();
    for (int i = 0; i < 300; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        await(child);
    }
    each("fork-exit", begun, 300, 1e3, "ms");

    begun = now();
    for (int i = 0; i < 200; i++) {
        pid_t child = fork();
        if (child == 0) {
            execl(self, self, "nothing", NULL);
            _exit(1);
        }
        await(child);
    }
    each("fork-exec-exit", begun, 200, 1e3, "ms");

    int there[2], back[2];
    if (pipe(there) != 0 || pipe(back) != 0)
        fail("pipe");
    char byte = 0;
    pid_t child = fork();
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1)
            if (write(back[1], &byte, 1) != 1)
                _exit(1);
        _exit(0);
    }
    close(there[0]);
    begun = now();
    for (int i = 0; i < 10000; i++)
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            fail("the pipe");
    each("pipe-round-trip", begun, 10000, 1e6, "us");
    close(there[1]);
    await(child);
}

int main(int count, char **arguments)
{
    setbuf(stdout, NULL);
    if (count > 1 && strcmp(arguments[1], "nothing") == 0)
        return 0;
    if (count < 2 || strcmp(arguments[1], "system") == 0)
        system_calls(arguments[0]);
    if (count < 2 || strcmp(arguments[1], "programs") == 0)
        programs();
    puts("engine-bench end");
    return 0;
}
