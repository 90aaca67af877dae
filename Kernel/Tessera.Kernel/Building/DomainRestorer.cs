using System.Runtime.InteropServices;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Hypercalls;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Snapshots;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Building;

/// <summary>
/// Makes a domain that was just put together the one of a snapshot. A snapshot is data: what it says of tables is not believed, but asked of the MMU as the guest itself would ask;
/// registers pass the checks of the hypercalls that set them. So whatever it holds, the domain is one that a hostile guest could have made of itself.
/// </summary>
internal sealed class DomainRestorer(Domain domain, EngineFacts engine)
{
    // What is kept beside frames has bounds of its own, the store's outbox above all; of frames, lists of those given back and pinned.
    private const long MostState = 16 << 20;
    private const long MostStateOfFrame = 32;

    private readonly DomainMemory _memory = domain.Memory;
    private readonly Vcpu _vcpu = domain.Vcpus[0];

    /// <summary>Does it; the domain goes on when it is started.</summary>
    /// <exception cref="SnapshotException">The snapshot is damaged, or does not fit this domain or engine.</exception>
    public void Restore(Stream stream, XenStore store, StoreServer server)
    {
        SnapshotStream input = SnapshotStream.Read(stream);
        StateReader reader = input.ReadState(Math.Min(MostState + (MostStateOfFrame * _memory.TotalFrames), Array.MaxLength));
        CheckFit(reader);
        ReadFrames(input);
        ReadMachineToPhysical(input);
        input.Verify();

        bool isSuspended = reader.Flag("whether it suspended itself");
        Time.MachineClock clock = domain.Host.Clock;
        clock.Calibrate();
        domain.TimeAhead = new Nanoseconds(reader.Number("its time", 0, long.MaxValue / 2)) - clock.Now;
        RingPorts ports = Rings.Connect(domain, OwnFrame(reader, "its store ring"), OwnFrame(reader, "its console ring"), store, server);
        domain.ArchitecturalIopl = reader.Flag("its I/O level's kind");
        domain.ExtendedCr3 = reader.Flag("whether its roots may lie anywhere");
        long code = reader.Number("what its shutdown is reported as", -1, int.MaxValue);
        domain.ShutdownCode = code < 0 ? null : (ShutdownReason)code;
        DomainBuilder.FindReportPage(domain);
        RestoreTables(reader);
        Rings.PublishMemory(domain, store);
        _vcpu.Restore(reader);
        if (isSuspended)
            (_vcpu.Context.RunstateArea, _vcpu.Context.TimeArea) = (0, 0);
        else
            RestoreInfo(reader);
        SetTime(clock);
        Check(SegmentOps.TryReload(_vcpu), "its descriptor tables");
        CheckRegisters();
        if (isSuspended)
            Wake(ports);
        else
            RestoreLinks(reader);
        reader.End();
    }

    private void CheckFit(StateReader reader)
    {
        long frames = reader.Number("its memory", 1, long.MaxValue >> 12);
        if (frames != _memory.RamFrames)
        {
            throw new SnapshotException(
                $"Domain '{domain.Name}': the snapshot is of {frames << 12} bytes of memory, and the configuration says {_memory.RamFrames << 12}. Give it as much as the saved domain had.");
        }

        long slot = reader.Number("its machine-to-physical table's slot", 0, PageTableEntry.EntriesPerTable - 1);
        if (!reader.Bytes("its hypercall instruction", 16).SequenceEqual((byte[])[.. engine.HypercallInstruction]) || slot != _memory.MachineToPhysicalSlot)
            throw new SnapshotException($"Domain '{domain.Name}': the engine {engine.Name} enters the VMM in another way than that of the snapshot. Restore it on the engine that it was saved on.");
    }

    private unsafe void ReadFrames(SnapshotStream input)
    {
        long last = -1;
        while (true)
        {
            long index = input.ReadNumber("its frames");
            if (index == DomainSaver.End)
                return;
            if (index <= last || index >= _memory.TotalFrames)
                throw StateReader.Wrong("a frame's number", $"{index} behind {last}, of {_memory.TotalFrames}");
            last = index;
            // SAFETY: one whole frame, which the VMM holds as writable for the domain's life.
            Span<byte> place = index < _memory.RamFrames ? _memory.BeforeBoot(index, 4096) : new Span<byte>(domain.Writes.Page(DomainMemory.First + index), 4096);
            input.Read(place, "a frame's contents");
        }
    }

    private void ReadMachineToPhysical(SnapshotStream input)
    {
        Span<ulong> chunk = stackalloc ulong[512];
        for (long first = 0; first < _memory.TotalFrames; first += chunk.Length)
        {
            int count = (int)Math.Min(chunk.Length, _memory.TotalFrames - first);
            input.Read(MemoryMarshal.AsBytes(chunk[..count]), "its machine-to-physical table");
            for (int index = 0; index < count; index++)
                _memory.SetPfn(DomainMemory.First + (first + index), chunk[index]);
        }
    }

    private Mfn OwnFrame(StateReader reader, string what) => DomainMemory.First + reader.Number(what, 0, _memory.RamFrames - 1);

    /// <summary>Counts and types follow from validating again what is pinned or a root.</summary>
    private void RestoreTables(StateReader reader)
    {
        for (int left = reader.Count("the number of frames given back", int.MaxValue); left > 0; left--)
        {
            Mfn frame = new(reader.Number("a frame given back", DomainMemory.First.Value, DomainMemory.First.Value + _memory.RamFrames - 1));
            if (!domain.Balloon.TryRestore(frame))
                throw StateReader.Wrong("a frame given back", $"{frame}, which is in use");
        }

        // Whatever the snapshot had in them: the host keeps nothing of it.
        lock (domain.Gate)
            _ = domain.Balloon.Settle(keepsGrant: false);
        for (int left = reader.Count("the number of pinned tables", int.MaxValue); left > 0; left--)
        {
            Mfn frame = new(reader.Number("a pinned table", 0, long.MaxValue));
            uint level = (uint)reader.Number("a pinned table's level", (long)FrameType.L1, (long)FrameType.L4);
            Ask((uint)MmuExtOp.PinL1Table + level - (uint)FrameType.L1, frame, "a pinned table");
        }

        Ask((uint)MmuExtOp.NewBaseptr, new Mfn(reader.Number("its page-table root", 0, long.MaxValue)), "its page-table root");
        bool hasUser = reader.Flag("whether it has a root for user mode");
        Mfn user = new(reader.Number("its root for user mode", 0, long.MaxValue));
        if (hasUser)
            Ask((uint)MmuExtOp.NewUserBaseptr, user, "its root for user mode");
        domain.FinishMmuWork();
    }

    private void Ask(uint command, Mfn frame, string what)
    {
        XenErrno error;
        while ((error = domain.Mmu.Extended(vcpu: 0, command, frame, Mfn.None)) == XenErrno.ERESTART)
            domain.FinishMmuWork();
        Check(error, $"{what}, {frame},");
    }

    private static void Check(XenErrno error, string what)
    {
        if (error != XenErrno.Success)
            throw StateReader.Wrong(what, $"refused by the MMU ({error})");
    }

    private unsafe void RestoreInfo(StateReader reader)
    {
        bool isRegistered = reader.Flag("whether vcpu_info was registered");
        Mfn frame = new(reader.Number("vcpu_info's frame", 0, long.MaxValue));
        int offset = (int)reader.Number("vcpu_info's place", 0, 4096 - VcpuInfo.Size);
        if (!isRegistered)
            return;
        if (offset % 8 != 0 || !domain.Writes.TryBegin(frame))
            throw StateReader.Wrong("vcpu_info's place", $"{offset} in {frame}");
        // SAFETY: as for one that is registered: the frame is the domain's own, writes to it end with the domain, and the structure lies inside it.
        _vcpu.Context.Info.Restore(domain.Writes.Page(frame) + offset, frame);
    }

    /// <summary>The guest's time goes on from where it was, and its wall clock is the host's.</summary>
    private void SetTime(Time.MachineClock clock)
    {
        domain.Shared.SetWallClock(clock.WallAtStart - TimeSpan.FromTicks(domain.TimeAhead.Value / 100));
        clock.FillTimeInfo(_vcpu.Context.Info.Time, _vcpu.CounterShift, domain.TimeAhead);
        if (_vcpu.Context.TimeArea != 0 && !_vcpu.TryWriteTime(_vcpu.Context.TimeArea))
            _vcpu.Context.TimeArea = 0;
    }

    /// <summary>What the guest's own ways to its registers would not let it set is not set this way either.</summary>
    private void CheckRegisters()
    {
        ref GuestCpuState state = ref _vcpu.Cpu.State;
        bool isUser = _vcpu.Context.UserMode;
        state.Root = domain.Mmu.Root(0, isUser);
        if (state.Root == Mfn.None)
            throw StateReader.Wrong("the mode", "user mode, for which it has no page tables");
        TrapOps.Harmless(_vcpu);
        ReadOnlySpan<ulong> debug = [state.Dr0, state.Dr1, state.Dr2, state.Dr3, 0, 0, (uint)state.Dr6, state.Dr7];
        foreach (int number in (ReadOnlySpan<int>)[0, 1, 2, 3, 6, 7])
        {
            if (DebugRegisters.Set(ref state, (ulong)number, debug[number]) != XenErrno.Success)
                throw StateReader.Wrong($"DR{number}", $"0x{debug[number]:x}, which a guest cannot set");
        }
    }

    private void RestoreLinks(StateReader reader)
    {
        domain.Grants.Restore(reader);
        VcpuAlarms alarms = VcpuAlarms.Read(reader);
        domain.Watchdogs.Restore(reader, _vcpu);
        domain.Events.Restore(reader);
        _vcpu.Arm(alarms);
        domain.Store!.Restore(reader);
        domain.Console.Restore(reader);
    }

    /// <summary>SCHEDOP_shutdown(suspend) has returned 0: the guest is in another domain, finds its rings by start_info and makes the rest anew.</summary>
    private void Wake(RingPorts ports)
    {
        ulong frame = _vcpu.Cpu.State.Rdx;
        Span<byte> info = stackalloc byte[StartInfo.PtBase];
        DomainBuilder.FillStartInfo(domain, ports, info);
        if (!domain.Writes.TryWrite(frame << 12, info))
            throw new SnapshotException($"Domain '{domain.Name}': it did not say where its start_info is when it suspended itself (rdx 0x{frame:x}). Its kernel does not know Xen's suspension.");
        _vcpu.Context.Info.EventsMasked = true;
    }
}
