using System.Runtime.InteropServices;

namespace Tessera.Cli.Native;

/// <summary>A few machine instructions, callable: void f(long) in the System V convention.</summary>
internal sealed unsafe partial class HostCode : IDisposable
{
    private const int ReadWrite = 3;
    private const int ReadExecute = 5;
    private const int PrivateAnonymous = 0x22;

    private readonly nint _page;
    private readonly nuint _bytes;

    /// <summary>Copies position-independent code to pages of its own.</summary>
    public HostCode(ReadOnlySpan<byte> code)
    {
        _bytes = (nuint)code.Length;
        _page = Mmap(0, _bytes, ReadWrite, PrivateAnonymous, -1, 0);
        if (_page == -1)
            throw new FailedException($"mmap: errno {Marshal.GetLastPInvokeError()}.");
        // SAFETY: the mapping was just made with room for the code; it is read-only and executable before its first call.
        code.CopyTo(new Span<byte>((void*)_page, code.Length));
        if (Mprotect(_page, _bytes, ReadExecute) != 0)
            throw new FailedException($"mprotect: errno {Marshal.GetLastPInvokeError()}. The host forbids generated code.");
    }

    /// <summary>Calls it.</summary>
    public void Call(long argument) => ((delegate* unmanaged<long, void>)_page)(argument);

    /// <inheritdoc/>
    public void Dispose() => _ = Munmap(_page, _bytes);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Mmap(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int Mprotect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Munmap(nint address, nuint length);
}
