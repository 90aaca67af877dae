using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Kernel.Tests;

/// <summary>An engine that runs nothing: domains are built and called by hand, without /dev/kvm. It remembers which foreign frames each machine shows.</summary>
internal sealed class HandEngine(long counterShift = 0, byte[]? hypercallInstruction = null) : ICpuEngine
{
    public EngineFacts Facts { get; } = new()
    {
        Name = "by hand",
        Strategy = "The test makes the calls.",
        ReservedFrames = 16,
        HypercallInstruction = hypercallInstruction ?? [0x0f, 0x05],
        FreeSlots = [258],
        HardwareCpuidLeaks = false,
        Findings = [],
    };

    public IEngineThread EnterThread(int hostCpu) => new Idle();

    /// <summary>Called when a domain's machine is made.</summary>
    public Action? Creating { get; set; }

    public IGuestMachine CreateMachine(GuestMachineLayout layout)
    {
        Creating?.Invoke();
        return new HandGuestMachine(layout, counterShift);
    }

    public void Dispose()
    {
    }

    private sealed class Idle : IEngineThread
    {
        public void Kick()
        {
        }

        public void Dispose()
        {
        }
    }
}

/// <summary>A machine that only keeps account.</summary>
internal sealed class HandGuestMachine(GuestMachineLayout layout, long counterShift)
    : IGuestMachine, IShowsForeignFrames, ITracksWrites, ILogsDirtyFrames
{
    /// <summary>How often each frame was written, as it was told.</summary>
    public Dictionary<Mfn, int> Written { get; } = [];

    /// <summary>Frames that may be written at any time, and for how many reasons.</summary>
    public Dictionary<Mfn, int> Open { get; } = [];

    /// <summary>Foreign frames that it shows now: where they lie here, and whether they are read-only.</summary>
    public Dictionary<Mfn, (nint Page, bool IsReadOnly)> Shown { get; } = [];

    public int Room { get; set; } = int.MaxValue;

    public IReadOnlyList<RootEntry> RootEntries { get; } = [new(257, 0x1063)];

    public IGuestCpu CreateCpu(int index) => new Cpu(counterShift);

    /// <summary>Entries that were changed since its CPUs were last made to follow.</summary>
    public HashSet<ulong> Unfollowed { get; } = [];

    public void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry) => _ = Unfollowed.Add(entryAddress);

    /// <summary>Is told what they are about to follow.</summary>
    public Action<IEnumerable<ulong>>? Synchronizing { get; set; }

    public void Synchronize()
    {
        Synchronizing?.Invoke(Unfollowed);
        Unfollowed.Clear();
    }

    /// <summary>What its guest code has written, while there is a log.</summary>
    public HashSet<Mfn>? Dirty { get; private set; }

    public void StartLog() => Dirty = [];

    public void StopLog() => Dirty = null;

    public void TakeLog(Mfn first, Span<ulong> bitmap)
    {
        bitmap.Clear();
        foreach (Mfn frame in Dirty!)
            bitmap[(int)(frame.Value - first.Value) / 64] |= 1UL << (int)((frame.Value - first.Value) % 64);
        Dirty.Clear();
    }

    public void MemoryWritten(Mfn frame) => Written[frame] = Written.GetValueOrDefault(frame) + 1;

    public void WritesBegin(Mfn frame) => Open[frame] = Open.GetValueOrDefault(frame) + 1;

    public void WritesEnd(Mfn frame)
    {
        if (Open.GetValueOrDefault(frame) == 0)
            Assert.Fail("an end without a beginning");
        else if (--Open[frame] == 0)
            _ = Open.Remove(frame);
    }

    public bool TryShow(MemoryRegion region)
    {
        Assert.That(layout.Regions.Any(own => region.First.Value >= own.First.Value && region.First.Value < own.First.Value + own.Frames), Is.False, "an own frame was shown");
        if (Shown.Count >= Room)
            return false;
        Shown.Add(region.First, (region.HostAddress, region.IsReadOnly));
        return true;
    }

    public void Hide(Mfn frame) => Assert.That(Shown.Remove(frame), Is.True, "a frame that is not shown was hidden");

    public void Dispose()
    {
    }

    private sealed class Cpu(long counterShift) : IGuestCpu, IShiftsCounter
    {
        private GuestCpuState _state;

        public long CounterShift => counterShift;

        public ref GuestCpuState State => ref _state;

        public Trap Run(IEngineThread thread, Nanoseconds deadline) => throw new InvalidOperationException("Nothing runs here.");

        public void SetDescriptorTables(in GuestDescriptorTables tables)
        {
        }

        public void Dispose()
        {
        }
    }
}
