using System.Runtime.InteropServices;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>memory_op: what a domain may learn and change of its own memory (public/memory.h).</summary>
internal sealed class MemoryCalls
{
    private const int CommandBits = 6; // the start extent of a continued call stands above
    private const uint RamType = 1;
    private const ulong MachineTableBytes = 1UL << 38; // MACH2PHYS_VIRT_END

    private readonly IHypercallHost _host;
    private readonly Func<Domain, Mfn, Mfn> _take;

    public MemoryCalls(IHypercallHost host) => (_host, _take) = (host, Take);

    /// <summary>memory_op(command, argument).</summary>
    public long Operation(ref HypercallCall call)
    {
        DomainMemory memory = call.Domain.Memory;
        switch ((MemoryOp)(call.A0 & ((1 << CommandBits) - 1)))
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
            case MemoryOp.DecreaseReservation:
                return Reservation(ref call, GiveBack);
            case MemoryOp.PopulatePhysmap or MemoryOp.IncreaseReservation:
                return Reservation(ref call, _take);
            default:
                return MemoryQueries.Operation(ref call, (MemoryOp)(call.A0 & ((1 << CommandBits) - 1)));
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
    private long Reservation(ref HypercallCall call, Func<Domain, Mfn, Mfn> step)
    {
        ulong start = call.A0 >> CommandBits;
        if (!call.TryRead(call.A1, out Extents request) || !call.IsSelf(request.Domain) || request.Order != 0 || start >= request.Count)
            return (long)start;
        for (ulong index = start; index < request.Count; index++)
        {
            if (index != start && call.ShouldStop && index < uint.MaxValue)
            {
                call.A0 = (call.A0 & ((1 << CommandBits) - 1)) | (index << CommandBits);
                call.Continues = true;
                return 0;
            }

            ulong address = request.Start + (index * 8);
            if (!call.TryRead(address, out ulong number))
                return (long)index;
            Mfn result = step(call.Domain, new Mfn((long)(number & (ulong.MaxValue >> 13))));
            if (result == Mfn.None || (result.Value >= 0 && step == _take && !call.TryWrite(address, (ulong)result.Value)))
                return (long)index;
        }

        return (long)Math.Min(request.Count, int.MaxValue);
    }

    /// <summary>A frame leaves the domain: it must be its own and hold no type.</summary>
    private static Mfn GiveBack(Domain domain, Mfn frame)
    {
        DomainMemory memory = domain.Memory;
        if (!memory.Has(frame) || frame.Value - DomainMemory.First.Value >= memory.RamFrames || domain.Frames.ReferencesOf(frame) != 0)
            return Mfn.None;
        // The type reference makes sure that nothing maps or types the frame, and keeps it so while it is away. One that is away
        // already, or a descriptor table, has it.
        TypeReference reference = domain.Frames.TakeType(frame, FrameType.Descriptors);
        if (reference == TypeReference.Taken)
            _ = domain.Frames.DropType(frame);
        if (reference != TypeReference.TakenFirst)
            return Mfn.None;
        domain.Ballooned.Push(frame);
        memory.SetPfn(frame, DomainMemory.InvalidPfn);
        domain.Writes.Discard(frame);
        return frame;
    }

    /// <summary>A frame comes back as the pseudo-physical frame asked for, when the memory policy grants it.</summary>
    private Mfn Take(Domain domain, Mfn wanted)
    {
        if (domain.Ballooned.Count == 0 || _host.FramesToGrant(domain, 1) == 0)
            return Mfn.None;
        Mfn frame = domain.Ballooned.Pop();
        _ = domain.Frames.DropType(frame);
        domain.Memory.SetPfn(frame, (ulong)wanted.Value);
        return frame;
    }

    private readonly record struct MachphysRange(ulong Start, ulong End, ulong MaxMfn);

    private readonly record struct MapRequest(uint Entries, ulong Buffer);

    private readonly record struct Extents(ulong Start, ulong Count, uint Order, uint Flags, ushort Domain);
}
