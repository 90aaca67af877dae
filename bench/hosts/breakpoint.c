// Whether a hardware breakpoint strikes in a guest of this host's KVM, without Tessera: a guest in real mode, with DR0 at its second instruction, either gets
// there by way of its handler of vector 1, which says so at a port, or reaches the halt after it.
// gcc -static -O2 breakpoint.c -o breakpoint && ./breakpoint
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static int failed(const char *what) { perror(what); return 1; }

int main(void)
{
    static const unsigned char code[] = { 0x90, 0x90, 0xf4 };           // nop; nop; hlt
    static const unsigned char handler[] = { 0xb0, 0x01, 0xe6, 0x10 };  // mov al, 1; out 0x10, al
    int kvm = open("/dev/kvm", O_RDWR), vm, cpu;
    if (kvm < 0 || (vm = ioctl(kvm, KVM_CREATE_VM, 0)) < 0 || (cpu = ioctl(vm, KVM_CREATE_VCPU, 0)) < 0) return failed("kvm");
    unsigned char *memory = mmap(0, 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region region = { .memory_size = 0x10000, .userspace_addr = (unsigned long)memory };
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) return failed("memory");
    struct kvm_run *run = mmap(0, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    if (memory == MAP_FAILED || run == MAP_FAILED) return failed("mmap");
    memcpy(memory + 0x1000, code, sizeof code);
    memcpy(memory + 0x2000, handler, sizeof handler);
    memory[4] = 0x00, memory[5] = 0x20, memory[6] = memory[7] = 0;      // vector 1 is at 0:2000
    struct kvm_sregs segments;
    ioctl(cpu, KVM_GET_SREGS, &segments);
    segments.cs.base = segments.cs.selector = 0;
    struct kvm_regs registers = { .rip = 0x1000, .rsp = 0x8000, .rflags = 2 };
    struct kvm_debugregs debug = { .db = { 0x1001 }, .dr6 = 0xffff0ff0, .dr7 = 0x402 };
    if (ioctl(cpu, KVM_SET_SREGS, &segments) < 0 || ioctl(cpu, KVM_SET_REGS, &registers) < 0 || ioctl(cpu, KVM_SET_DEBUGREGS, &debug) < 0) return failed("registers");
    if (ioctl(cpu, KVM_RUN, 0) < 0) return failed("run");
    if (run->exit_reason == KVM_EXIT_IO && run->io.port == 0x10) puts("strikes");
    else if (run->exit_reason == KVM_EXIT_HLT) puts("does not strike");
    else printf("exit reason %u\n", run->exit_reason);
    return 0;
}
