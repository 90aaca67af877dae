using System.Runtime.InteropServices;
using Tessera.Kernel.Devices;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Snapshots;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Building;

/// <summary>
/// Writes a snapshot of a domain that rests: what each of its parts keeps, then its frames. A domain that suspended itself has given up its event channels, grants, timers and
/// rings, and makes them anew when it goes on (Xen's protocol of save and restore); of any other they are part of the snapshot.
/// </summary>
internal sealed class DomainSaver(Domain domain, EngineFacts engine)
{
    /// <summary>Stands for no more frames.</summary>
    public const long End = -1;

    private readonly DomainMemory _memory = domain.Memory;
    private readonly Vcpu _vcpu = domain.Vcpus[0];
    private readonly Dictionary<Mfn, byte[]> _live = [];

    /// <summary>Whether the domain suspended itself.</summary>
    private bool IsSuspended => domain.State == DomainState.Suspended;

    /// <summary>Does it, under the domain's gate, while no physical CPU is in the domain.</summary>
    /// <exception cref="SnapshotException">The domain cannot be saved as it is.</exception>
    public void Save(Stream stream)
    {
        domain.FinishMmuWork();
        CheckAlone();
        if (IsSuspended)
        {
            // It runs no more here: nobody writes its rings from now on.
            domain.Store!.Close();
            domain.Console.Close();
        }

        (Nanoseconds ran, long granted) = (_vcpu.Runstate.Since, domain.Grants.Taken);
        SnapshotStream output = SnapshotStream.Write(stream);
        output.WriteState(State());
        for (Mfn frame = DomainMemory.First; frame.Value <= _memory.Last.Value; frame += 1)
        {
            // What the VMM writes at any time was copied when the state was. A suspended domain gets such frames anew, but for its rings.
            bool isShared = frame.Value >= _memory.SharedInfoFrame.Value;
            ReadOnlySpan<byte> bytes = _live.TryGetValue(frame, out byte[]? copy) ? copy : isShared ? default : _memory.Frame(frame);
            if (!bytes.ContainsAnyExcept((byte)0))
                continue;
            output.WriteNumber(frame.Value - DomainMemory.First.Value);
            output.Write(bytes);
        }

        output.WriteNumber(End);
        WriteMachineToPhysical(output);
        CheckAlone();
        if (_vcpu.Runstate.Since != ran || _vcpu.IsOnPcpu)
            throw Cannot("it was resumed meanwhile", "Keep it paused until it is saved");
        if (!IsSuspended && domain.Grants.Taken != granted)
            throw InUse();
        output.Finish();
    }

    private StateWriter State()
    {
        StateWriter writer = new();
        writer.Number(_memory.RamFrames);
        writer.Number(_memory.MachineToPhysicalSlot);
        writer.Bytes([.. engine.HypercallInstruction]);
        writer.Flag(IsSuspended);
        writer.Number(domain.Now.Value);
        writer.Number(domain.Rings.Store.Value - DomainMemory.First.Value);
        writer.Number(domain.Rings.Console.Value - DomainMemory.First.Value);
        writer.Flag(domain.ArchitecturalIopl);
        writer.Flag(domain.ExtendedCr3);
        // What it said of its shutdown beforehand was said of this suspension.
        writer.Number(IsSuspended ? -1 : (long?)domain.ShutdownCode ?? -1);
        SaveTables(writer);
        _vcpu.Save(writer);
        if (IsSuspended)
            return writer;
        bool hasInfo = _vcpu.Context.Info.Frame != Mfn.None;
        writer.Flag(hasInfo);
        writer.Number(hasInfo ? _vcpu.Context.Info.Frame.Value : 0);
        writer.Number(hasInfo ? _vcpu.Context.Info.Offset : 0);
        domain.Grants.Save(writer);
        // One that goes off meanwhile is both in the queue and pending, never in neither.
        _vcpu.Alarms().Save(writer);
        domain.Watchdogs.Save(writer);
        // From here on nobody raises an event or touches a ring: they and the frames they lie in are of one moment.
        domain.Events.Save(writer, () => domain.Store!.Save(writer, () => domain.Console.Save(writer, CopyLive)));
        return writer;
    }

    private void SaveTables(StateWriter writer)
    {
        writer.Number(domain.Balloon.Count);
        foreach (Mfn frame in domain.Balloon.Frames)
            writer.Number(frame.Value);
        (Mfn Frame, FrameType Type)[] pinned = [.. domain.Frames.Pinned()];
        writer.Number(pinned.Length);
        foreach ((Mfn frame, FrameType type) in pinned)
        {
            writer.Number(frame.Value);
            writer.Number((int)type);
        }

        writer.Number(domain.Mmu.GuestRoot(0, userMode: false).Value);
        Mfn user = domain.Mmu.GuestRoot(0, userMode: true);
        writer.Flag(user != Mfn.None);
        writer.Number(user != Mfn.None ? user.Value : 0);
    }

    private void CopyLive()
    {
        foreach (Mfn frame in domain.WrittenByVmm)
            _live[frame] = _memory.Frame(frame).ToArray();
        if (_vcpu.Context.Info.Frame != Mfn.None)
            _live[_vcpu.Context.Info.Frame] = _memory.Frame(_vcpu.Context.Info.Frame).ToArray();
    }

    private void WriteMachineToPhysical(SnapshotStream output)
    {
        Span<ulong> chunk = stackalloc ulong[512];
        for (long first = 0; first < _memory.TotalFrames; first += chunk.Length)
        {
            int count = (int)Math.Min(chunk.Length, _memory.TotalFrames - first);
            for (int index = 0; index < count; index++)
                _ = _memory.TryGetPfn(DomainMemory.First + (first + index), out chunk[index]);
            output.Write(MemoryMarshal.AsBytes(chunk[..count]));
        }
    }

    private void CheckAlone()
    {
        if (domain.State is not (DomainState.Paused or DomainState.Suspended))
            throw Cannot($"it is {domain.State}", "Only one that is paused can be, or that suspended itself");
        if (domain.Mappings.Count != 0)
            throw Cannot($"it has mapped {domain.Mappings.Count} grants of others, which would not be there after it is restored", "Let it unmap them");
        if (IsSuspended)
            return;
        if (domain.Disks.Any<SplitDevice>(device => device.IsAttached) || domain.Nics.Any(nic => nic.IsAttached))
            throw Cannot("it has disks or network interfaces, whose backends would not be there after it is restored", "Detach them, or let it suspend itself");
        if (domain.Grants.Pins != 0)
            throw InUse();
    }

    private SnapshotException InUse() => Cannot("another domain uses its memory by a grant", "Let that one go first");

    private SnapshotException Cannot(string why, string cure) => new($"Domain '{domain.Name}' cannot be saved: {why}. {cure}.");
}
