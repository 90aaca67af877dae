using Tmds.Linux;

namespace Tessera.Plugins.Cpu.Software.Native;

/// <summary>Memory that holds code, handlers of host faults, and the calling thread's CPU. What Tmds.LibC has no name for goes through its syscall(2), with x86-64's numbers.</summary>
internal static unsafe class NativeCalls
{
    // SAFETY: pointers are to locals of the calling method; the kernel keeps none of them after the call.
    public const int Read = 1;
    public const int Write = 2;
    public const int Execute = 4;
    public const int Shared = 1;
    public const int Private = 2;
    public const int Fixed = 0x10;
    public const int Anonymous = 0x20;
    public const int NoReserve = 0x4000;
    public const int SegmentationFault = 11;
    public const int BusError = 7;
    public const int IllegalInstruction = 4;
    public const int ArithmeticFault = 8;
    public const int AffinityBytes = 1024;

    /// <summary>SA_SIGINFO, SA_ONSTACK and SA_NODEFER: with details, on the runtime's alternate stack, and a fault in the handler is not held back.</summary>
    private const int FaultHandlerFlags = 4 | 0x0800_0000 | 0x4000_0000;
    private const int PopulateRead = 22;
    private const int PopulateWrite = 23;
    private const int SysMemoryFile = 319;
    private const int CloseOnExec = 1;

    /// <summary>MAP_FAILED.</summary>
    public static readonly nint Failed = -1;

    /// <summary>The calling thread's affinity, <see cref="AffinityBytes"/> long.</summary>
    public static bool TryGetAffinity(Span<byte> mask)
    {
        fixed (byte* pointer = mask)
            return LibC.sched_getaffinity(0, mask.Length, (cpu_set_t*)pointer) >= 0;
    }

    /// <summary>Sets the calling thread's affinity. 0, or errno.</summary>
    public static int SetAffinity(ReadOnlySpan<byte> mask)
    {
        fixed (byte* pointer = mask)
            return LibC.sched_setaffinity(0, mask.Length, (cpu_set_t*)pointer) >= 0 ? 0 : LibC.errno;
    }

    public static nint Map(nint address, nuint bytes, int protection, int flags, int file, nint offset) =>
        (nint)LibC.mmap((void*)address, (size_t)(ulong)bytes, protection, flags, file, offset);

    public static int Unmap(nint address, nuint bytes) => LibC.munmap((void*)address, (size_t)(ulong)bytes);

    public static int Protect(nint address, nuint bytes, int protection) => LibC.mprotect((void*)address, (size_t)(ulong)bytes, protection);

    /// <summary>A file that is only memory; negative when there is none to be had.</summary>
    public static int CreateMemoryFile()
    {
        fixed (byte* name = "tessera-code\0"u8)
            return (int)LibC.syscall(SysMemoryFile, name, CloseOnExec);
    }

    public static int SetLength(int file, long bytes) => LibC.ftruncate(file, bytes);

    /// <summary>Frees what a shared mapping has of its file, which is zeros there from then on.</summary>
    public static int Empty(nint address, nuint bytes) => LibC.madvise((void*)address, (size_t)(ulong)bytes, LibC.MADV_REMOVE);

    /// <summary>Touches pages in one call, to write or to run them. A kernel before 5.14 does not know how; each page's first touch does it then.</summary>
    public static void Populate(nint address, nuint bytes, bool write) => _ = LibC.madvise((void*)address, (size_t)(ulong)bytes, write ? PopulateWrite : PopulateRead);

    /// <summary>Who handles a signal now.</summary>
    public static ulong HandlerOf(int signal)
    {
        sigaction before;
        _ = LibC.sigaction(signal, null, &before);
        return (ulong)before.sa_handler;
    }

    /// <summary>Lets machine code handle the host's faults of one kind. 0, or errno.</summary>
    public static int HandleFaults(int signal, nint handler)
    {
        sigaction action = default;
        action.sa_handler = (void*)handler;
        action.sa_flags = FaultHandlerFlags;
        return LibC.sigaction(signal, &action, null) == 0 ? 0 : LibC.errno;
    }
}
