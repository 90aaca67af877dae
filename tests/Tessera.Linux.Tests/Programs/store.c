/* Speaks the store's wire protocol through /dev/xen/xenbus: read, write, list, watch, transact, flood. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIRECTORY = 1, READ = 2, WATCH = 4, BEGIN = 6, END = 7, WRITE = 11, EVENT = 15, ERROR = 16 };

struct header { uint32_t type, request, transaction, length; };

static int device;
static char payload[4097];

static void exactly(void *buffer, size_t wanted)
{
    for (size_t done = 0; done < wanted;) {
        ssize_t count = read(device, (char *)buffer + done, wanted - done);
        if (count <= 0) {
            perror("read");
            exit(2);
        }
        done += count;
    }
}

static struct header next(void)
{
    struct header header;
    exactly(&header, sizeof header);
    exactly(payload, header.length);
    payload[header.length] = 0;
    return header;
}

static int events;

/* An event may come before the answer to the request that caused it. */
static int is_event(struct header header)
{
    if (header.type != EVENT)
        return 0;
    printf("event %s\n", payload);
    fflush(stdout);
    events++;
    return 1;
}

/* Sends first and second, each with its zero byte where there is one to send, and waits for the answer. */
static struct header ask(uint32_t type, uint32_t transaction, const char *first, const char *second, int second_ends)
{
    char message[sizeof(struct header) + 4096];
    size_t one = strlen(first) + 1, two = second ? strlen(second) + second_ends : 0;
    struct header header = { type, 0, transaction, one + two };
    memcpy(message, &header, sizeof header);
    memcpy(message + sizeof header, first, one);
    if (second)
        memcpy(message + sizeof header + one, second, two);
    if (write(device, message, sizeof header + one + two) < 0) {
        perror("write");
        exit(2);
    }
    do
        header = next();
    while (is_event(header));
    return header;
}

static int report(struct header header)
{
    if (header.type == ERROR) {
        printf("error %s\n", payload);
        return 0;
    }
    for (uint32_t index = 0; index + 1 < header.length; index++)
        if (!payload[index])
            payload[index] = ' ';
    puts(payload);
    return 0;
}

int main(int argc, char **argv)
{
    const char *verb = argv[1];
    device = open("/dev/xen/xenbus", O_RDWR);
    if (device < 0 || argc < 3) {
        perror("/dev/xen/xenbus");
        return 2;
    }
    if (!strcmp(verb, "read"))
        return report(ask(READ, 0, argv[2], NULL, 0));
    if (!strcmp(verb, "list"))
        return report(ask(DIRECTORY, 0, argv[2], NULL, 0));
    if (!strcmp(verb, "write"))
        return report(ask(WRITE, 0, argv[2], argv[3], 0));
    if (!strcmp(verb, "flood")) {
        int count = atoi(argv[2]), written = 0;
        for (int index = 0; index < count; index++) {
            char number[16];
            sprintf(number, "%d", index);
            written += ask(WRITE, 0, "data/flood", number, 0).type == WRITE;
        }
        printf("%d written\n", written);
        return 0;
    }
    if (!strcmp(verb, "transact")) {
        ask(BEGIN, 0, "", NULL, 0);
        uint32_t transaction = strtoul(payload, NULL, 10);
        for (int index = 2; index < argc; index++)
            ask(WRITE, transaction, argv[index], "t", 0);
        return report(ask(END, transaction, "T", NULL, 0));
    }
    if (!strcmp(verb, "watch")) {
        ask(WATCH, 0, argv[2], "token", 1);
        while (events < 2)
            is_event(next());
        return 0;
    }
    return 2;
}
