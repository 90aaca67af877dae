using Tessera.Kernel.Grants;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Devices;

/// <summary>Whether a backend only reads what a grant shows, or writes it too.</summary>
internal enum GrantMode
{
    /// <summary>Reading; every grant allows it.</summary>
    Read,

    /// <summary>Reading and writing; a read-only grant is refused, and so is a page or descriptor table.</summary>
    Write,
}

/// <summary>
/// A backend's way to what one domain granted to it: pages mapped as handles, or bytes copied. Only what the domain granted to the backend's domain, in this
/// moment, is reached; a revoked or forged reference is an error. Any thread; allocates only when more handles are held at once than ever before.
/// </summary>
/// <param name="table">Whose grants.</param>
/// <param name="backend">Who they were granted to; 0 for backends in the VMM.</param>
internal sealed unsafe class GrantAccess(GrantTable table, DomainId backend = default)
{
    private readonly Lock _gate = new();
    private GrantHandle? _free;

    /// <summary>Maps a whole page until the handle is released. The same grant may be mapped several times.</summary>
    /// <returns>Okay with a handle; else why not, in Xen's words, with null.</returns>
    public GrantStatus TryMap(GrantRef reference, GrantMode mode, out GrantHandle? handle)
    {
        handle = null;
        GrantStatus status = table.TryPin(backend.Value, reference.Value, mode == GrantMode.Read, GrantUse.Map, out GrantPin pin);
        if (status != GrantStatus.Okay)
            return status;
        lock (_gate)
        {
            handle = _free;
            if (handle is not null)
                (_free, handle.NextFree) = (handle.NextFree, null);
        }

        handle ??= new GrantHandle(this);
        handle.Begin(pin);
        return GrantStatus.Okay;
    }

    /// <summary>Copies out of a grant: private bytes, which the guest cannot change afterwards.</summary>
    /// <returns>BadCopyArg when the range leaves the page, GeneralError when it leaves a sub-page grant, and the other statuses of <see cref="TryMap"/>.</returns>
    public GrantStatus TryRead(GrantRef reference, int offset, Span<byte> destination)
    {
        GrantStatus status = TryBegin(reference, isReadOnly: true, offset, destination.Length, out GrantPin pin);
        if (status != GrantStatus.Okay)
            return status;
        // SAFETY: TryBegin checked the range against the page, and the pin keeps it mapped.
        new ReadOnlySpan<byte>(pin.Address + offset, destination.Length).CopyTo(destination);
        GrantTable.Unpin(pin);
        return GrantStatus.Okay;
    }

    /// <summary>Copies into a grant.</summary>
    /// <returns>As <see cref="TryRead"/>; GeneralError for a read-only grant and for a page or descriptor table.</returns>
    public GrantStatus TryWrite(GrantRef reference, int offset, ReadOnlySpan<byte> source)
    {
        GrantStatus status = TryBegin(reference, isReadOnly: false, offset, source.Length, out GrantPin pin);
        if (status != GrantStatus.Okay)
            return status;
        // SAFETY: as in TryRead; the pin holds the frame as writable memory.
        source.CopyTo(new Span<byte>(pin.Address + offset, source.Length));
        GrantTable.Unpin(pin);
        return GrantStatus.Okay;
    }

    internal void TakeBack(GrantHandle handle)
    {
        lock (_gate)
        {
            handle.NextFree = _free;
            _free = handle;
        }
    }

    private GrantStatus TryBegin(GrantRef reference, bool isReadOnly, int offset, int length, out GrantPin pin)
    {
        pin = default;
        if (offset < 0 || (long)offset + length > GrantHandle.PageBytes)
            return GrantStatus.BadCopyArg;
        GrantStatus status = table.TryPin(backend.Value, reference.Value, isReadOnly, GrantUse.Copy, out pin);
        if (status != GrantStatus.Okay || (offset >= pin.Offset && offset + length <= pin.Offset + pin.Length))
            return status;
        GrantTable.Unpin(pin);
        return GrantStatus.GeneralError;
    }
}
