/* What bench/engines/run measures of disks and networks, the same static program in each guest:
     devices disk FILE      reads of 4 KiB at random past the guest's cache, 1 and 32 under way
     devices serve          takes one TCP connection to its end
     devices meet ADDRESS   pings ADDRESS, then sends to whoever serves there
   Each line it prints is "engine-bench NAME VALUE UNIT", the last "engine-bench end" or "engine-bench failed WHAT". */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <netinet/ip_icmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, DEPTH = 32, PORT = 5001, PINGS = 2000, PIECE = 128 << 10 };
static const double SECONDS = 4;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what)
{
    printf("engine-bench failed %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t random_state = 88172645463325252ULL;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void reads(int disk, uint64_t blocks, int depth)
{
    char *memory = aligned_alloc(BLOCK, BLOCK * DEPTH);
    aio_context_t context = 0;
    struct iocb requests[DEPTH], *submitted[DEPTH];
    struct io_event done[DEPTH];
    if (syscall(SYS_io_setup, DEPTH, &context) != 0)
        fail("io_setup");
    for (int i = 0; i < depth; i++) {
        requests[i] = (struct iocb){.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = disk, .aio_buf = (uint64_t)(memory + i * BLOCK), .aio_nbytes = BLOCK, .aio_data = i};
        submitted[i] = &requests[i];
    }
    long ready = depth, finished = 0;
    double begun = now(), end;
    while ((end = now()) - begun < SECONDS) {
        for (int i = 0; i < ready; i++)
            submitted[i]->aio_offset = next_random() % blocks * BLOCK;
        if (syscall(SYS_io_submit, context, ready, submitted) != ready)
            fail("io_submit");
        ready = syscall(SYS_io_getevents, context, 1, DEPTH, done, NULL);
        if (ready < 1)
            fail("io_getevents");
        for (int i = 0; i < ready; i++) {
            if (done[i].res != BLOCK) {
                errno = done[i].res < 0 ? -done[i].res : EIO;
                fail("a read");
            }
            submitted[i] = &requests[done[i].data];
        }
        finished += ready;
    }
    printf("engine-bench read-4K-%d %.0f /s\n", depth, finished / (end - begun));
    syscall(SYS_io_destroy, context);
    free(memory);
}

static void disk(const char *path)
{
    uint64_t bytes;
    int file = open(path, O_RDONLY | O_DIRECT);
    if (file < 0 || ioctl(file, BLKGETSIZE64, &bytes) != 0)
        fail(path);
    reads(file, bytes / BLOCK, 1);
    reads(file, bytes / BLOCK, DEPTH);
}

static struct sockaddr_in at(const char *address)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = inet_addr(address)};
}

static void serve(void)
{
    static char data[PIECE];
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in own = at("0.0.0.0");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&own, sizeof own) != 0 || listen(listener, 1) != 0)
        fail("listen");
    int taken = accept(listener, NULL, NULL);
    if (taken < 0)
        fail("accept");
    while (read(taken, data, sizeof data) > 0)
        ;
    if (write(taken, "", 1) != 1)
        fail("answer");
    read(taken, data, 1);
}

static int16_t sum(const void *bytes, int count)
{
    uint32_t total = 0;
    for (const uint16_t *at = bytes; count > 0; count -= 2)
        total += *at++;
    total = (total >> 16) + (total & 0xffff);
    return ~(total + (total >> 16));
}

/* One ping of 56 bytes: whether it was answered within a second. */
static int ping(int link, struct sockaddr_in *to, uint16_t number)
{
    struct {
        struct icmphdr head;
        char data[56];
    } asked = {.head = {.type = ICMP_ECHO, .un.echo = {.id = 77, .sequence = number}}};
    char answer[512];
    asked.head.checksum = sum(&asked, sizeof asked);
    if (sendto(link, &asked, sizeof asked, 0, (void *)to, sizeof *to) < 0)
        return 0;
    for (;;) {
        ssize_t length = recv(link, answer, sizeof answer, 0);
        if (length < 0)
            return 0;
        struct icmphdr *head = (void *)(answer + (answer[0] & 15) * 4);
        if (head->type == ICMP_ECHOREPLY && head->un.echo.id == 77 && head->un.echo.sequence == number)
            return 1;
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void meet(const char *address)
{
    static double took[PINGS];
    static char data[PIECE];
    struct sockaddr_in to = at(address);
    struct timeval second = {.tv_sec = 1};
    int link = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), lost = 0;
    if (link < 0 || setsockopt(link, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second) != 0)
        fail("socket");
    for (int tries = 0; !ping(link, &to, 65535); tries++) {
        if (tries == 120)
            fail("no answer");
        usleep(200000);
    }
    for (int i = 0; i < PINGS; i++) {
        double begun = now();
        lost += !ping(link, &to, i);
        took[i] = now() - begun;
    }
    qsort(took, PINGS, sizeof *took, compare);
    printf("engine-bench ping %.1f us\n", took[PINGS / 2] * 1e6);
    if (lost != 0)
        printf("%d pings were lost\n", lost);

    int stream = socket(AF_INET, SOCK_STREAM, 0);
    for (int tries = 0; connect(stream, (void *)&to, sizeof to) != 0; tries++) {
        if (tries == 120)
            fail("connect");
        usleep(200000);
    }
    uint64_t sent = 0;
    double begun = now();
    while (now() - begun < SECONDS) {
        ssize_t written = write(stream, data, sizeof data);
        if (written <= 0)
            fail("send");
        sent += written;
    }
    shutdown(stream, SHUT_WR);
    if (read(stream, data, 1) != 1)
        fail("answer");
    printf("engine-bench tcp %.0f Mbit/s\n", sent * 8 / 1e6 / (now() - begun));
}

int main(int count, char **arguments)
{
    setbuf(stdout, NULL);
    if (count == 3 && strcmp(arguments[1], "disk") == 0)
        disk(arguments[2]);
    else if (count == 3 && strcmp(arguments[1], "meet") == 0)
        meet(arguments[2]);
    else if (count == 2 && strcmp(arguments[1], "serve") == 0)
        serve();
    else
        return 2;
    puts("engine-bench end");
    return 0;
}
