using System.Runtime.InteropServices;

namespace Tessera.Kernel.Native;

/// <summary>
/// Whether loading a null selector clears the segment's base on this processor. Where guests are not told that it does, Linux loads
/// every segment twice at a context switch, by hypercall. A hypervisor below this host may hide the bit in CPUID that says so.
/// </summary>
internal static unsafe partial class NullSelectorProbe
{
    private const int PageSize = 4096;
    private const int ReadWrite = 3;
    private const int ReadExecute = 5;
    private const int PrivateAnonymous = 0x22;
    private const nuint HardwareCapabilities2 = 26;
    private const nuint FsGsBaseInUserMode = 2;

    /// <summary>Tries it with GS, which user space of x86-64 Linux does not use. False where it cannot be tried.</summary>
    public static bool ClearsBase()
    {
        if ((GetAuxiliaryValue(HardwareCapabilities2) & FsGsBaseInUserMode) == 0)
            return false;
        nint page = Mmap(0, PageSize, ReadWrite, PrivateAnonymous, -1, 0);
        if (page == -1)
            return false;
        // mov eax,1; wrgsbase rax; xor ecx,ecx; mov gs,cx; rdgsbase rax; wrgsbase rcx; ret
        ReadOnlySpan<byte> code = [0xb8, 1, 0, 0, 0, 0xf3, 0x48, 0x0f, 0xae, 0xd8, 0x31, 0xc9, 0x8e, 0xe9, 0xf3, 0x48, 0x0f, 0xae, 0xc8, 0xf3, 0x48, 0x0f, 0xae, 0xd9, 0xc3];
        // SAFETY: the page was just mapped writable and is larger than the code; it turns executable before it is called, once. The code
        // leaves every register that a callee must keep as it was, and GS as user space has it: null, base 0.
        code.CopyTo(new Span<byte>((void*)page, PageSize));
        bool clears = Mprotect(page, PageSize, ReadExecute) == 0 && ((delegate* unmanaged[SuppressGCTransition]<ulong>)page)() == 0;
        _ = Munmap(page, PageSize);
        return clears;
    }

    [LibraryImport("libc", EntryPoint = "getauxval")]
    private static partial nuint GetAuxiliaryValue(nuint type);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Mmap(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int Mprotect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Munmap(nint address, nuint length);
}
