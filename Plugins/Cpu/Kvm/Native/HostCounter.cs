using System.Runtime.InteropServices;
using Tmds.Linux;

namespace Tessera.Plugins.Cpu.Kvm.Native;

/// <summary>The host's time-stamp counter: .NET has no intrinsic for RDTSC.</summary>
internal sealed unsafe class HostCounter : IDisposable
{
    private const int PageSize = 4096;

    private readonly MappingHandle _page;
    private readonly delegate* unmanaged[SuppressGCTransition]<ulong> _read;

    /// <summary>Prepares the one-page routine.</summary>
    public HostCounter()
    {
        _page = MappingHandle.Anonymous(PageSize);
        // lfence; rdtsc; shl rdx,32; or rax,rdx; ret
        ReadOnlySpan<byte> code = [0x0f, 0xae, 0xe8, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xc3];
        // SAFETY: the page was just mapped writable and is larger than the code; it turns read-only and executable before its first call.
        code.CopyTo(new Span<byte>((void*)_page.Address, PageSize));
        if (LibC.mprotect((void*)_page.Address, PageSize, LibC.PROT_READ | LibC.PROT_EXEC) != 0)
        {
            int errno = LibC.errno;
            _page.Dispose();
            throw new Sdk.Cpu.EngineException($"mprotect of a page of generated code failed: {Marshal.GetPInvokeErrorMessage(errno)}.", "Let this process run generated code, which .NET needs too.");
        }

        _read = (delegate* unmanaged[SuppressGCTransition]<ulong>)_page.Address;
    }

    /// <summary>The counter now, in ticks.</summary>
    public ulong Read() => _read();

    /// <inheritdoc/>
    public void Dispose() => _page.Dispose();
}
