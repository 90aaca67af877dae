using System.Runtime.InteropServices;
using Tessera.Experiments;
using Tmds.Linux;

namespace Tessera.Cli.Native;

/// <summary>A few machine instructions, callable: void f(long) in the System V convention.</summary>
internal sealed unsafe class HostCode : IDisposable
{
    private readonly void* _page;
    private readonly int _bytes;

    /// <summary>Copies position-independent code to pages of its own.</summary>
    public HostCode(ReadOnlySpan<byte> code)
    {
        _bytes = code.Length;
        _page = LibC.mmap(null, _bytes, LibC.PROT_READ | LibC.PROT_WRITE, LibC.MAP_PRIVATE | LibC.MAP_ANONYMOUS, -1, 0);
        if (_page == LibC.MAP_FAILED)
            throw new FailedException($"mmap: {Marshal.GetPInvokeErrorMessage(LibC.errno)}.");
        // SAFETY: the mapping was just made with room for the code; it is read-only and executable before its first call.
        code.CopyTo(new Span<byte>(_page, code.Length));
        if (LibC.mprotect(_page, _bytes, LibC.PROT_READ | LibC.PROT_EXEC) != 0)
            throw new FailedException($"mprotect: {Marshal.GetPInvokeErrorMessage(LibC.errno)}. The host forbids generated code.");
    }

    /// <summary>Calls it.</summary>
    public void Call(long argument) => ((delegate* unmanaged<long, void>)_page)(argument);

    /// <inheritdoc/>
    public void Dispose() => _ = LibC.munmap(_page, _bytes);
}
