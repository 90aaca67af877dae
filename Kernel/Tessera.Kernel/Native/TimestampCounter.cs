using System.Runtime.InteropServices;

namespace Tessera.Kernel.Native;

/// <summary>Reads the time-stamp counter, which guests read too: .NET has no intrinsic for RDTSC.</summary>
internal sealed unsafe partial class TimestampCounter : IDisposable
{
    private const int PageSize = 4096;
    private const int ReadWrite = 3;
    private const int ReadExecute = 5;
    private const int PrivateAnonymous = 0x22;

    private readonly nint _page;
    private readonly delegate* unmanaged[SuppressGCTransition]<ulong> _read;

    /// <summary>Prepares the one-page routine.</summary>
    public TimestampCounter()
    {
        _page = Mmap(0, PageSize, ReadWrite, PrivateAnonymous, -1, 0);
        if (_page == -1)
            throw new InvalidOperationException($"mmap: errno {Marshal.GetLastPInvokeError()}.");
        // lfence; rdtsc; shl rdx,32; or rax,rdx; ret
        ReadOnlySpan<byte> code = [0x0f, 0xae, 0xe8, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xc3];
        // SAFETY: the page was just mapped writable and is larger than the code; it turns read-only and executable before its first call.
        code.CopyTo(new Span<byte>((void*)_page, PageSize));
        if (Mprotect(_page, PageSize, ReadExecute) != 0)
            throw new InvalidOperationException($"mprotect: errno {Marshal.GetLastPInvokeError()}. The host forbids generated code, which .NET itself needs too.");
        _read = (delegate* unmanaged[SuppressGCTransition]<ulong>)_page;
    }

    /// <summary>The counter now.</summary>
    public ulong Read() => _read();

    /// <inheritdoc/>
    public void Dispose() => _ = Munmap(_page, PageSize);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Mmap(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int Mprotect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Munmap(nint address, nuint length);
}
