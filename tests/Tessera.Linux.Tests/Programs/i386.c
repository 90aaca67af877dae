// A 32-bit program without a C library: int 0x80 for write, sched_yield and exit.
static long call(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}

void _start(void)
{
    static const char hello[] = "hello from i386\n", kept[] = "every register kept\n";
    call(4, 1, (long)hello, sizeof hello - 1);
    long good = 1;
    for (int i = 0; i < 20; i++) {
        long si = i * 7, di = i * 11;
        __asm__ volatile("int $0x80" : "+S"(si), "+D"(di) : "a"(158) : "memory");
        good &= si == i * 7 && di == i * 11;
    }
    if (good)
        call(4, 1, (long)kept, sizeof kept - 1);
    call(1, !good, 0, 0);
    __builtin_unreachable();
}
