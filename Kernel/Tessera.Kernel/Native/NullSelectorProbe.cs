using System.Runtime.InteropServices;
using Tmds.Linux;

namespace Tessera.Kernel.Native;

/// <summary>
/// Whether loading a null selector clears the segment's base on this processor. Where guests are not told that it does, Linux loads
/// every segment twice at a context switch, by hypercall. A hypervisor below this host may hide the bit in CPUID that says so.
/// </summary>
internal static unsafe class NullSelectorProbe
{
    private const int PageSize = 4096;
    private const ulong HardwareCapabilities2 = 26;
    private const ulong FsGsBaseInUserMode = 2;

    /// <summary>Tries it with GS, which user space of x86-64 Linux does not use. False where it cannot be tried.</summary>
    public static bool ClearsBase()
    {
        if ((AuxiliaryValue(HardwareCapabilities2) & FsGsBaseInUserMode) == 0)
            return false;
        void* page = LibC.mmap(null, PageSize, LibC.PROT_READ | LibC.PROT_WRITE, LibC.MAP_PRIVATE | LibC.MAP_ANONYMOUS, -1, 0);
        if (page == LibC.MAP_FAILED)
            return false;
        // mov eax,1; wrgsbase rax; xor ecx,ecx; mov gs,cx; rdgsbase rax; wrgsbase rcx; ret
        ReadOnlySpan<byte> code = [0xb8, 1, 0, 0, 0, 0xf3, 0x48, 0x0f, 0xae, 0xd8, 0x31, 0xc9, 0x8e, 0xe9, 0xf3, 0x48, 0x0f, 0xae, 0xc8, 0xf3, 0x48, 0x0f, 0xae, 0xd9, 0xc3];
        // SAFETY: the page was just mapped writable and is larger than the code; it turns executable before it is called, once. The code
        // leaves every register that a callee must keep as it was, and GS as user space has it: null, base 0.
        code.CopyTo(new Span<byte>(page, PageSize));
        bool clears = LibC.mprotect(page, PageSize, LibC.PROT_READ | LibC.PROT_EXEC) == 0 && ((delegate* unmanaged[SuppressGCTransition]<ulong>)page)() == 0;
        _ = LibC.munmap(page, PageSize);
        return clears;
    }

    /// <summary>What the kernel said at the program's start: pairs of numbers (proc(5), auxv).</summary>
    private static ulong AuxiliaryValue(ulong type)
    {
        ReadOnlySpan<ulong> vector = MemoryMarshal.Cast<byte, ulong>(File.ReadAllBytes("/proc/self/auxv"));
        for (int at = 0; at + 1 < vector.Length; at += 2)
        {
            if (vector[at] == type)
                return vector[at + 1];
        }

        return 0;
    }
}
