using Tmds.Linux;

namespace Tessera.Engine.Software.Tests;

/// <summary>Host memory with a mebibyte that nobody may touch on either side.</summary>
internal sealed unsafe class GuardedMemory : IDisposable
{
    // SAFETY: one reservation of this class's own, unmapped in Dispose; only its middle is ever made accessible.
    private const int GuardBytes = 1 << 20;
    private const int PageBytes = 4096;
    private const int None = 0;
    private const int ReadOnly = 1;
    private const int ReadWrite = 3;

    /// <summary>MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE.</summary>
    private const int Where = 0x4022;
    private readonly byte* _reserved;
    private readonly int _pages;

    public GuardedMemory(int pages)
    {
        _pages = pages;
        _reserved = (byte*)LibC.mmap(null, Bytes, None, Where, -1, 0);
        Assert.That((nint)_reserved, Is.Not.EqualTo((nint)(-1)));
        for (int page = 0; page < pages; page++)
            Open(page, writable: true);
    }

    /// <summary>The first page.</summary>
    public byte* Start => _reserved + GuardBytes;

    /// <summary>An address on which the guard before it ends, or the one behind it begins.</summary>
    public ulong Edge(bool behind) => (ulong)Start + (behind ? (ulong)_pages * PageBytes : 0);

    private size_t Bytes => (size_t)(ulong)((2 * GuardBytes) + (_pages * PageBytes));

    /// <summary>A page by its number, whether it may be touched or not.</summary>
    public nint Page(int page) => (nint)Start + (page * PageBytes);

    /// <summary>Lets a page be read, and written or not.</summary>
    public void Open(int page, bool writable) => Protect(page, writable ? ReadWrite : ReadOnly);

    /// <summary>Whoever touches the page from now on faults.</summary>
    public void Close(int page) => Protect(page, None);

    public void Dispose() => _ = LibC.munmap(_reserved, Bytes);

    private void Protect(int page, int protection) => Assert.That(LibC.mprotect((void*)Page(page), (size_t)(ulong)PageBytes, protection), Is.Zero);
}
