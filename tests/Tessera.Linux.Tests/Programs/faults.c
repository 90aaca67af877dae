// Signals, faults and debug exceptions as user space sees them: each line says what happened.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static volatile sig_atomic_t hits, traps;
static void *volatile where;
static char *page;
static sigjmp_buf back;

static void on_segv(int n, siginfo_t *info, void *c)
{
    hits++;
    where = info->si_addr;
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static void on_trap(int n, siginfo_t *info, void *c)
{
    traps++;
    if (traps > 50)
        ((ucontext_t *)c)->uc_mcontext.gregs[REG_EFL] &= ~0x100L;
}

static void on_fault(int n) { siglongjmp(back, n); }

static void *count(void *arg)
{
    for (int i = 0; i < 100000; i++)
        __atomic_add_fetch((long *)arg, 1, __ATOMIC_RELAXED);
    return arg;
}

int main(void)
{
    struct sigaction act = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &act, 0);
    page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 1000; i++) {
        page[i] = 1;
        mprotect(page, 4096, PROT_READ);
        page[i] = 2;
    }
    printf("mprotect faults: %d at the page: %d\n", hits, (char *)where >= page && (char *)where < page + 4096);

    act.sa_sigaction = on_trap;
    sigaction(SIGTRAP, &act, 0);
    __asm__ volatile("int3");
    printf("int3 traps: %d\n", traps);
    traps = 0;
    __asm__ volatile("pushfq; orq $0x100,(%%rsp); popfq; mov $1000,%%ecx; 1: dec %%ecx; jnz 1b" ::: "rcx", "cc", "memory");
    printf("single steps: %d\n", traps);

    signal(SIGILL, on_fault);
    signal(SIGFPE, on_fault);
    signal(SIGSEGV, on_fault);
    int got = sigsetjmp(back, 1);
    if (!got) __asm__ volatile("ud2");
    printf("ud2: %d\n", got);
    if (!(got = sigsetjmp(back, 1))) __asm__ volatile("xor %%ecx,%%ecx; xor %%edx,%%edx; mov $1,%%eax; div %%ecx" ::: "rax", "rcx", "rdx");
    printf("divide: %d\n", got);
    if (!(got = sigsetjmp(back, 1))) __asm__ volatile("hlt");
    printf("hlt: %d\n", got);
    if (!(got = sigsetjmp(back, 1))) __asm__ volatile("mov $0x4141414141414141,%%rax; mov (%%rax),%%rax" ::: "rax");
    printf("non-canonical: %d\n", got);
    if (!(got = sigsetjmp(back, 1))) __asm__ volatile("mov $0x7e,%%dx; out %%al,%%dx" ::: "rdx");
    printf("out 0x7e: %d\n", got);
    if (!(got = sigsetjmp(back, 1))) *(volatile char *)0xffff808000000000 = 1;
    printf("hypervisor range: %d\n", got);
    if (!(got = sigsetjmp(back, 1))) ((void (*)(void))page)();
    printf("execute data: %d\n", got);

    pthread_t threads[16];
    long sum = 0;
    for (int i = 0; i < 16; i++)
        pthread_create(&threads[i], 0, count, &sum);
    for (int i = 0; i < 16; i++)
        pthread_join(threads[i], 0);
    printf("threads: %ld\n", sum);

    int child = fork(), status, steps = 0;
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        getppid();
        _exit(7);
    }
    waitpid(child, &status, 0);
    while (WIFSTOPPED(status) && steps < 2000) {
        ptrace(PTRACE_SINGLESTEP, child, 0, 0);
        waitpid(child, &status, 0);
        steps++;
    }
    if (WIFSTOPPED(status)) {
        ptrace(PTRACE_CONT, child, 0, 0);
        waitpid(child, &status, 0);
    }
    printf("ptrace child exit: %d after steps: %d\n", WEXITSTATUS(status), steps > 20);

    // A hardware watchpoint on a variable of a traced child.
    static volatile long watched;
    child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        watched = 1;
        _exit(watched == 1 ? 9 : 8);
    }
    waitpid(child, &status, 0);
    long r1 = ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[0]), &watched);
    long r2 = ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[7]), 1L | 1 << 16 | 3 << 18);
    ptrace(PTRACE_CONT, child, 0, 0);
    waitpid(child, &status, 0);
    int hit = WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
    while (WIFSTOPPED(status)) {
        ptrace(PTRACE_CONT, child, 0, 0);
        waitpid(child, &status, 0);
    }
    printf("watchpoint: set %ld %ld hit %d exit %d\n", r1, r2, hit, WEXITSTATUS(status));

    int to[2], from[2];
    long turns = 0;
    char byte = 0;
    pipe(to);
    pipe(from);
    if ((child = fork()) == 0) {
        while (read(to[0], &byte, 1) == 1 && ++byte)
            write(from[1], &byte, 1);
        _exit(0);
    }
    for (byte = 1; turns < 500; turns++) {
        write(to[1], &byte, 1);
        read(from[0], &byte, 1);
        if (byte == 100) byte = 1;
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    printf("pipe turns: %ld byte: %d killed: %d\n", turns, byte, WTERMSIG(status));
    return 0;
}
