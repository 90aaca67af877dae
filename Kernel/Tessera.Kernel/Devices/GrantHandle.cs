using System.Buffers;
using Tessera.Kernel.Grants;
using Tessera.Sdk;

namespace Tessera.Kernel.Devices;

/// <summary>
/// A granted page mapped into the VMM for a backend: 4096 bytes that stay where they are until <see cref="Release"/>, even if their domain dies meanwhile. The
/// guest may change them at any time, so copy before you check. Got from <see cref="GrantAccess"/>, which uses handles again.
/// </summary>
/// <remarks>One owner at a time, any thread. After Release the handle and every span or memory taken from it must not be touched: it may already be another grant's.</remarks>
internal sealed unsafe class GrantHandle : MemoryManager<byte>
{
    /// <summary>Bytes of a page.</summary>
    public const int PageBytes = 4096;

    private readonly GrantAccess _access;
    private GrantPin _pin;
    private byte* _page;

    internal GrantHandle(GrantAccess access) => _access = access;

    /// <summary>The guest's number of the grant.</summary>
    public GrantRef Reference => new(_pin.Reference);

    /// <summary>Nothing may be written: <see cref="Span"/> and <see cref="Memory"/> throw.</summary>
    public bool IsReadOnly => _pin.IsReadOnly;

    /// <summary>Where the page lies in this process, for calls that take addresses.</summary>
    public nint Address => (nint)Page;

    /// <summary>The page, for writing too.</summary>
    /// <exception cref="InvalidOperationException">Mapped for reading, or released.</exception>
    public Span<byte> Span => new(WritablePage, PageBytes);

    /// <summary>The page for reading.</summary>
    public ReadOnlySpan<byte> ReadOnlySpan => new(Page, PageBytes);

    /// <summary>The page for asynchronous calls that write it.</summary>
    /// <exception cref="InvalidOperationException">Mapped for reading, or released.</exception>
    public override Memory<byte> Memory => WritablePage == null ? default : CreateMemory(PageBytes);

    /// <summary>The page for asynchronous calls that read it.</summary>
    public ReadOnlyMemory<byte> ReadOnlyMemory => CreateMemory(PageBytes);

    /// <summary>The next handle in its access's list of free ones.</summary>
    internal GrantHandle? NextFree { get; set; }

    // SAFETY: the pin keeps the domain's memory mapped until Release, which forgets the address first.
    private byte* Page => _page != null ? _page : throw new InvalidOperationException("The grant was released.");

    private byte* WritablePage => !_pin.IsReadOnly ? Page : throw new InvalidOperationException($"Grant {_pin.Reference} is mapped for reading only.");

    /// <summary>Ends the mapping; the guest sees the grant unused.</summary>
    /// <exception cref="InvalidOperationException">Released already.</exception>
    public void Release()
    {
        _ = Page;
        _page = null;
        GrantPin pin = _pin;
        _pin = default;
        GrantTable.Unpin(pin);
        _access.TakeBack(this);
    }

    /// <inheritdoc/>
    public override Span<byte> GetSpan() => new(Page, PageBytes);

    /// <inheritdoc/>
    public override MemoryHandle Pin(int elementIndex = 0) => new(Page + elementIndex);

    /// <inheritdoc/>
    public override void Unpin()
    {
    }

    internal void Begin(in GrantPin pin)
    {
        _pin = pin;
        _page = pin.Address;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_page != null)
            Release();
    }
}
