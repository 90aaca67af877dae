using Tessera.Kernel.Domains;
using Tessera.Kernel.Grants;
using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>GNTTABOP_copy: between two pages, each either granted to the caller or the caller's own.</summary>
internal static unsafe class GrantCopyCalls
{
    private const int PageBytes = 4096;

    /// <summary>One gnttab_copy.</summary>
    public static bool Copy(ref HypercallCall call, ulong address) =>
        call.TryRead(address, out CopyRequest request)
        && call.TryWrite(address, request with { Status = (short)Copy(ref call, in request) });

    private static GrantStatus Copy(ref HypercallCall call, in CopyRequest request)
    {
        GrantCopyFlags flags = (GrantCopyFlags)request.Flags;
        if (request.SourceOffset + request.Length > PageBytes || request.DestinationOffset + request.Length > PageBytes)
            return GrantStatus.BadCopyArg;
        Side source = default;
        Side destination = default;
        GrantStatus status = Claim(ref call, request.Source, request.SourceDomain, (flags & GrantCopyFlags.SourceGref) != 0, isReadOnly: true, ref source);
        if (status == GrantStatus.Okay)
            status = Claim(ref call, request.Destination, request.DestinationDomain, (flags & GrantCopyFlags.DestGref) != 0, isReadOnly: false, ref destination);
        if (status == GrantStatus.Okay)
        {
            if (source.Holds(request.SourceOffset, request.Length) && destination.Holds(request.DestinationOffset, request.Length))
            {
                // SAFETY: both ranges were just checked to lie inside their pages, which are held until Release; they may be the same page.
                Buffer.MemoryCopy(source.Address + request.SourceOffset, destination.Address + request.DestinationOffset, PageBytes - request.DestinationOffset, request.Length);
            }
            else
            {
                status = GrantStatus.GeneralError;
            }
        }

        source.Release(call.Domain);
        destination.Release(call.Domain);
        return status;
    }

    private static GrantStatus Claim(ref HypercallCall call, ulong number, ushort domain, bool isGrant, bool isReadOnly, ref Side side)
    {
        if (isGrant)
        {
            if (domain == 0)
                return GrantCalls.OfDomain0((uint)number);
            if (call.Domain.Grants.Find(domain) is not GrantTable table)
                return GrantStatus.BadDomain;
            GrantStatus status = table.TryPin(call.Domain.Id.Value, (uint)number, isReadOnly, GrantUse.Copy, out side.Pin);
            if (status != GrantStatus.Okay)
                return status;
            side.IsPinned = true;
            side.Address = side.Pin.Address;
            (side.Offset, side.Length) = (side.Pin.Offset, side.Pin.Length);
            return GrantStatus.Okay;
        }

        if (domain != DomainIds.Self)
            return call.RefusalFor(domain) == XenErrno.ESRCH ? GrantStatus.BadDomain : GrantStatus.PermissionDenied;
        DomainMemory memory = call.Domain.Memory;
        Mfn frame = number <= long.MaxValue >> 12 ? new Mfn((long)number) : Mfn.None;
        if (!memory.Has(frame))
            return GrantStatus.BadPage;
        if (!isReadOnly && !call.Domain.Writes.TryBegin(frame))
            return GrantStatus.GeneralError;
        (side.Frame, side.IsWritten, side.Length) = (frame, !isReadOnly, PageBytes);
        side.Address = memory.PageForWriting(frame);
        return GrantStatus.Okay;
    }

    /// <summary>One page of a copy while it is held. An own page needs no hold for reading: the caller is alive.</summary>
    private struct Side
    {
        public GrantPin Pin;
        public bool IsPinned;
        public bool IsWritten;
        public Mfn Frame;
        public int Offset;
        public int Length;

        // SAFETY: valid while IsPinned, or while the calling domain runs its hypercall.
        public byte* Address;

        public readonly bool Holds(int offset, int length) => offset >= Offset && offset + length <= Offset + Length;

        public readonly void Release(Domain caller)
        {
            if (IsPinned)
                GrantTable.Unpin(Pin);
            if (IsWritten)
                caller.Writes.End(Frame);
        }
    }

    private readonly record struct CopyRequest(
        ulong Source, ushort SourceDomain, ushort SourceOffset, uint SourcePadding,
        ulong Destination, ushort DestinationDomain, ushort DestinationOffset, uint DestinationPadding,
        ushort Length, ushort Flags, short Status, ushort Padding);
}
