using System.Runtime.InteropServices;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>memory_op: what a domain may learn and change of its own memory (public/memory.h).</summary>
internal sealed class MemoryCalls(IHypercallHost host)
{
    private const int CommandBits = 6; // the start extent of a continued call stands above
    private const uint RamType = 1;
    private const ulong MachineTableBytes = 1UL << 38; // MACH2PHYS_VIRT_END

    // As Xen: of more a continued call could not say where it was.
    private const ulong MostExtents = uint.MaxValue >> CommandBits;

    /// <summary>memory_op(command, argument).</summary>
    public long Operation(ref HypercallCall call)
    {
        DomainMemory memory = call.Domain.Memory;
        switch (CommandOf(call))
        {
            case MemoryOp.MaximumRamPage:
                return memory.Last.Value;
            case MemoryOp.CurrentReservation:
                return OfItself(ref call, call.Domain.AssignedFrames);
            case MemoryOp.MaximumReservation:
                return OfItself(ref call, memory.RamFrames);
            case MemoryOp.MachphysMapping:
                return call.TryWrite(call.A1, new MachphysRange(
                    memory.MachineToPhysicalBase.Value, memory.MachineToPhysicalBase.Value + MachineTableBytes, (ulong)memory.Last.Value))
                    ? 0 : HypercallCall.Error(XenErrno.EFAULT);
            case MemoryOp.MemoryMap:
                return Map(ref call);
            case MemoryOp.DecreaseReservation or MemoryOp.PopulatePhysmap or MemoryOp.IncreaseReservation:
                return Reservation(ref call);
            default:
                return MemoryQueries.Operation(ref call, CommandOf(call));
        }
    }

    /// <summary>An answer that the caller may have of itself alone.</summary>
    private static long OfItself(ref HypercallCall call, long answer)
    {
        if (!call.TryRead(call.A1, out ushort domain))
            return HypercallCall.Error(XenErrno.EFAULT);
        return call.IsSelf(domain) ? answer : HypercallCall.Error(call.RefusalFor(domain));
    }

    /// <summary>memory_map: one range of RAM, if there is room for it.</summary>
    private static long Map(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out MapRequest request))
            return HypercallCall.Error(XenErrno.EFAULT);
        if (request.Entries == 0)
            return 0;
        Span<byte> entry = stackalloc byte[20];
        entry.Clear();
        _ = MemoryMarshal.TryWrite(entry[8..], (ulong)call.Domain.Memory.RamFrames << 12);
        _ = MemoryMarshal.TryWrite(entry[16..], RamType);
        return call.Domain.Guest.TryWrite(call.Vcpu.Index, userMode: false, request.Buffer, entry) && call.TryWrite(call.A1, 1u)
            ? 0 : HypercallCall.Error(XenErrno.EFAULT);
    }

    /// <summary>Walks the extents of a reservation; answers how many were done, and goes on later when others wait.</summary>
    private long Reservation(ref HypercallCall call)
    {
        ulong start = call.A0 >> CommandBits;
        if (!call.TryRead(call.A1, out Extents request) || !call.IsSelf(request.Domain) || request.Order != 0)
            return (long)start;
        if (request.Count > MostExtents || start >= request.Count)
            return (long)start;
        bool isGrowing = CommandOf(call) != MemoryOp.DecreaseReservation;
        // One that goes on has the rest of what it was granted.
        if (isGrowing && (start == 0 || call.Domain.Balloon.Granted == 0))
            Ask(call.Domain, (long)(request.Count - start));
        ulong index = start;
        for (; index < request.Count; index++)
        {
            if (index != start && call.ShouldStop)
            {
                call.A0 = (ulong)CommandOf(call) | (index << CommandBits);
                call.Continues = true;
                break;
            }

            if (!(isGrowing ? Take(ref call, request.Start, index) : GiveBack(ref call, request.Start, index)))
                break;
        }

        host.Release(call.Domain, call.Domain.Balloon.Settle(keepsGrant: call.Continues));
        return (long)index;
    }

    private static bool GiveBack(ref HypercallCall call, ulong list, ulong index) =>
        call.TryRead(list + (index * 8), out ulong number)
        && call.Domain.Balloon.TryGiveBack(new Mfn((long)(number & (ulong.MaxValue >> 13))));

    /// <summary>
    /// populate_physmap says as which pseudo-physical frame; increase_reservation does not, and need not be told which frame came.
    /// </summary>
    private static bool Take(ref HypercallCall call, ulong list, ulong index)
    {
        Balloon balloon = call.Domain.Balloon;
        bool isPopulating = CommandOf(call) == MemoryOp.PopulatePhysmap;
        ulong pfn = DomainMemory.InvalidPfn;
        Mfn next = balloon.Next;
        if ((isPopulating && !call.TryRead(list + (index * 8), out pfn)) || next == Mfn.None)
            return false;
        if ((isPopulating || list != 0) && !call.TryWrite(list + (index * 8), (ulong)next.Value))
            return false;
        balloon.TakeNext(pfn);
        return true;
    }

    /// <summary>
    /// Asks for as many frames as the call can use. The memory policy is asked once for all of them, while no domain is locked.
    /// </summary>
    private void Ask(Domain domain, long wanted)
    {
        long asked = Math.Min(wanted, domain.Balloon.Count) - domain.Balloon.Granted;
        if (asked <= 0)
            return;
        long granted = 0;
        domain.Gate.Exit();
        try
        {
            granted = host.Grant(domain, asked);
        }
        finally
        {
            domain.Gate.Enter();
            domain.Balloon.Grant(granted);
        }
    }

    private static MemoryOp CommandOf(in HypercallCall call) => (MemoryOp)(call.A0 & ((1 << CommandBits) - 1));

    private readonly record struct MachphysRange(ulong Start, ulong End, ulong MaxMfn);

    private readonly record struct MapRequest(uint Entries, ulong Buffer);

    private readonly record struct Extents(ulong Start, ulong Count, uint Order, uint Flags, ushort Domain);
}
