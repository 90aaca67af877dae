// What 32-bit programs rest on, without a C library: thread-local data by a segment, signals, the vDSO's way into the kernel, fork, and 64-bit code between.
static long call(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(8) : "memory");
    return result;
}

static void say(const char *what, unsigned long value)
{
    char line[80];
    int n = 0;
    while (*what)
        line[n++] = *what++;
    for (int shift = 28; shift >= 0; shift -= 4)
        line[n++] = "0123456789abcdef"[value >> shift & 15];
    line[n++] = '\n';
    call(4, 1, (long)line, n);
}

struct descriptor { unsigned entry, base, limit, flags; };
struct action { void (*handler)(int, void *, void *); unsigned flags; void (*restorer)(void); unsigned mask[2]; };

static volatile int signals, faults;
static unsigned local[4] = {0x11111111, 0x22222222, 0x33333333, 0};

__attribute__((naked)) static void restore(void) { __asm__("mov $173, %eax; int $0x80"); }

static void on_signal(int number, void *info, void *context) { signals += number; }

static void on_fault(int number, void *info, void *context)
{
    faults++;
    // uc_mcontext.eip behind flags, link and stack (20 bytes): gs fs es ds edi esi ebp esp ebx edx ecx eax trapno err eip
    ((unsigned *)context)[5 + 14] += 2;
}

static long through_vdso(unsigned entry, long number)
{
    long result;
    __asm__ volatile("call *%1" : "=a"(result) : "r"(entry), "a"(number) : "memory", "ecx", "edx");
    return result;
}

static unsigned in_64_bit_code(unsigned a)
{
    unsigned result;
    __asm__ volatile(
        "ljmp $0x33, $1f\n"
        "1: .byte 0x48, 0xbb, 0, 0, 0, 0, 1, 0, 0, 0\n" // mov rbx, 1 << 32
        ".byte 0x48, 0x01, 0xd8\n"                      // add rax, rbx
        ".byte 0x48, 0xc1, 0xe8, 0x04\n"                // shr rax, 4
        ".byte 0x6a, 0x23, 0x68\n .long 2f\n"           // push 0x23, push 2f: eight bytes each
        ".byte 0x48, 0xcb\n"                            // lretq
        "2: mov %%eax, %0" : "=r"(result) : "a"(a) : "ebx", "memory", "cc");
    return result;
}

static void body(unsigned *stack)
{
    unsigned *vector = stack + 1 + stack[0] + 1, entry = 0;
    while (*vector++)
        ;
    for (; vector[0]; vector += 2)
        if (vector[0] == 32)
            entry = vector[1];

    struct descriptor tls = {-1u, (unsigned)&local[1], 0xfffff, 0x51};
    say("set_thread_area ", call(243, (long)&tls, 0, 0));
    unsigned at, below, selector = tls.entry * 8 + 3;
    __asm__ volatile("mov %2, %%gs; mov %%gs:0, %0; mov %%gs:-4, %1" : "=&r"(at), "=&r"(below) : "r"(selector));
    say("gs:0 ", at);
    say("gs:-4 ", below);

    struct action act = {on_signal, 0x04000004, restore, {0, 0}};
    say("rt_sigaction ", call(174, 10, (long)&act, 0));
    long self = call(20, 0, 0, 0);
    for (int i = 0; i < 100; i++)
        call(37, self, 10, 0);
    say("signals ", signals);
    act.handler = on_fault;
    call(174, 11, (long)&act, 0);
    for (int i = 0; i < 10; i++)
        __asm__ volatile("movl (%0), %%eax" : : "r"(8) : "eax", "memory");
    say("faults ", faults);
    __asm__ volatile("mov %%gs:0, %0" : "=r"(at));
    say("gs:0 ", at);

    int same = 1;
    for (int i = 0; i < 100; i++)
        same &= through_vdso(entry, 20) == self;
    say("vdso ", entry != 0 && same);
    say("64-bit code ", in_64_bit_code(0xfeedf00d));

    int status = 0;
    long child = call(2, 0, 0, 0);
    if (!child) {
        __asm__ volatile("mov %%gs:-4, %0" : "=r"(below));
        call(1, below & 0xff, 0, 0);
    }
    call(7, child, (long)&status, 0);
    say("child ", status);
    call(1, 0, 0, 0);
    __builtin_unreachable();
}

__attribute__((naked)) void _start(void) { __asm__("mov %%esp, %%eax; push %%eax; call %P0" : : "i"(body)); }
