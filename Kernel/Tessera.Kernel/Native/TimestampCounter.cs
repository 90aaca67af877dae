using System.Runtime.InteropServices;
using Tmds.Linux;

namespace Tessera.Kernel.Native;

/// <summary>Reads the time-stamp counter, which guests read too: .NET has no intrinsic for RDTSC.</summary>
internal sealed unsafe class TimestampCounter : IDisposable
{
    private const int PageSize = 4096;

    private readonly void* _page;
    private readonly delegate* unmanaged[SuppressGCTransition]<ulong> _read;

    /// <summary>Prepares the one-page routine.</summary>
    public TimestampCounter()
    {
        _page = LibC.mmap(null, PageSize, LibC.PROT_READ | LibC.PROT_WRITE, LibC.MAP_PRIVATE | LibC.MAP_ANONYMOUS, -1, 0);
        if (_page == LibC.MAP_FAILED)
            throw new InvalidOperationException($"mmap: {Marshal.GetPInvokeErrorMessage(LibC.errno)}.");
        // lfence; rdtsc; shl rdx,32; or rax,rdx; ret
        ReadOnlySpan<byte> code = [0x0f, 0xae, 0xe8, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xc3];
        // SAFETY: the page was just mapped writable and is larger than the code; it turns read-only and executable before its first call.
        code.CopyTo(new Span<byte>(_page, PageSize));
        if (LibC.mprotect(_page, PageSize, LibC.PROT_READ | LibC.PROT_EXEC) != 0)
            throw new InvalidOperationException($"mprotect: {Marshal.GetPInvokeErrorMessage(LibC.errno)}. The host forbids generated code, which .NET itself needs too.");
        _read = (delegate* unmanaged[SuppressGCTransition]<ulong>)_page;
    }

    /// <summary>The counter now.</summary>
    public ulong Read() => _read();

    /// <inheritdoc/>
    public void Dispose() => _ = LibC.munmap(_page, PageSize);
}
