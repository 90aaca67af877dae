using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>
/// An engine whose guest code is a script: an entry takes the next step of the script and comes back with the trap and the registers that
/// it names. It runs no
/// instruction. A guest without a step left is an endless loop of one instruction.
/// </summary>
internal sealed class ScriptedEngine : ICpuEngine
{
    /// <summary>Three bytes, as no other engine's, so that nobody takes it for `syscall`.</summary>
    public static readonly byte[] EntryInstruction = [0x0f, 0x01, 0xd9];

    private const int Reserved = 16;

    public EngineFacts Facts { get; } = new()
    {
        Name = "scripted",
        Strategy = "The test says what guests do.",
        ReservedFrames = Reserved,
        HypercallInstruction = EntryInstruction,
        FreeSlots = [258],
        HardwareCpuidLeaks = false,
        CpuidFaults = true,
        OwnsTime = true,
        Findings = [],
    };

    /// <summary>The machines in the order of their creation.</summary>
    public List<ScriptedMachine> Machines { get; } = [];

    public IEngineThread EnterThread(int hostCpu) => hostCpu < Environment.ProcessorCount
        ? new ScriptedThread()
        : throw new EngineException($"There is no host CPU {hostCpu}.", $"Name one of 0 to {Environment.ProcessorCount - 1}.");

    public IGuestMachine CreateMachine(GuestMachineLayout layout)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(layout.MaxCpus, 1);
        long end = Reserved;
        foreach (MemoryRegion region in layout.Regions.OrderBy(region => region.First))
        {
            if (region.First.Value < end || region.HostAddress % 4096 != 0)
                throw new ArgumentException($"The region at {region.First} overlaps with what lies below it, or is not aligned.",
                    nameof(layout));
            end = region.First.Value + region.Frames;
        }

        Machines.Add(new ScriptedMachine(layout));
        return Machines[^1];
    }

    public void Dispose()
    {
    }
}

/// <summary>A thread: only whether it was kicked.</summary>
internal sealed class ScriptedThread : IEngineThread
{
    private readonly AutoResetEvent _kicks = new(false);

    public void Kick() => _ = _kicks.Set();

    /// <summary>Waits for a kick, and takes it.</summary>
    public bool WasKicked(TimeSpan within) => _kicks.WaitOne(within);

    public void Dispose() => _kicks.Dispose();
}

/// <summary>One domain's machine, which remembers what the VMM told it.</summary>
internal sealed class ScriptedMachine(GuestMachineLayout layout) : IGuestMachine, IShowsForeignFrames
{
    public GuestMachineLayout Layout => layout;

    public List<ScriptedCpu> Cpus { get; } = [];

    /// <summary>Foreign frames that it shows, and whether for reading alone.</summary>
    public Dictionary<Mfn, bool> Shown { get; } = [];

    public IReadOnlyList<RootEntry> RootEntries { get; } = [new(257, 0x1063)];

    public IGuestCpu CreateCpu(int index)
    {
        Cpus.Add(new ScriptedCpu(this));
        return Cpus[index];
    }

    public void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry)
    {
    }

    public void Synchronize()
    {
    }

    public bool TryShow(MemoryRegion region) => Shown.TryAdd(region.First, region.IsReadOnly);

    public void Hide(Mfn frame) => Assert.That(Shown.Remove(frame), Is.True, "a frame that is not shown was hidden");

    /// <summary>Whether a frame is of its own memory.</summary>
    public bool Has(Mfn frame) =>
        layout.Regions.Any(region => frame.Value >= region.First.Value && frame.Value < region.First.Value + region.Frames);

    public void Dispose()
    {
    }
}

/// <summary>One vCPU: does what its next step says.</summary>
internal sealed class ScriptedCpu(ScriptedMachine machine) : IGuestCpu, IGuestClock
{
    private GuestCpuState _state;

    public ref GuestCpuState State => ref _state;

    /// <summary>
    /// The next step: changes the registers, and says what trap that is and how long it took, in instructions. Null for none.
    /// </summary>
    public Func<ScriptedCpu, (Trap Trap, long Time)>? Next { get; set; }

    /// <summary>The VMM has entered it again since its last step.</summary>
    public bool IsBack { get; set; }

    /// <summary>The descriptor tables as the VMM set them: frames and descriptors.</summary>
    public (Mfn[] Gdt, int GdtEntries, Mfn[] Ldt, int LdtEntries) Tables { get; private set; } = ([], 0, [], 0);

    public Trap Run(IEngineThread thread, Nanoseconds deadline)
    {
        long left = Math.Max(0, deadline.Value - System.Diagnostics.Stopwatch.GetTimestamp());
        TimeSpan wait = Next is not null ? TimeSpan.Zero
            : deadline == Nanoseconds.Never ? Timeout.InfiniteTimeSpan
            : TimeSpan.FromTicks((left + 99) / 100);
        if (((ScriptedThread)thread).WasKicked(wait) || left == 0 || !TryStep(out (Trap Trap, long Time) step))
            return Preempted;
        return step.Trap;
    }

    public Trap Run(IEngineThread thread, ref long time, long until)
    {
        if (((ScriptedThread)thread).WasKicked(TimeSpan.Zero) || time >= until)
            return Preempted;
        if (TryStep(out (Trap Trap, long Time) step))
        {
            time += step.Time;
            return step.Trap;
        }

        IsBack = true;
        time = until;
        return Preempted;
    }

    public void SetDescriptorTables(in GuestDescriptorTables tables)
    {
        const int DescriptorsPerFrame = 512;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(tables.GdtEntries, tables.GdtFrames.Length * DescriptorsPerFrame);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(tables.LdtEntries, tables.LdtFrames.Length * DescriptorsPerFrame);
        foreach (Mfn frame in (Mfn[])[.. tables.GdtFrames, .. tables.LdtFrames])
        {
            if (!machine.Has(frame))
                throw new ArgumentOutOfRangeException(nameof(tables), frame, "It is not a frame of the machine.");
        }

        Tables = (tables.GdtFrames.ToArray(), tables.GdtEntries, tables.LdtFrames.ToArray(), tables.LdtEntries);
    }

    public void Dispose()
    {
    }

    private static Trap Preempted => new() { Kind = TrapKind.Preempted, IsInterruptible = true };

    private bool TryStep(out (Trap Trap, long Time) step)
    {
        Func<ScriptedCpu, (Trap Trap, long Time)>? next = Next;
        Next = null;
        step = next?.Invoke(this) ?? default;
        return next is not null;
    }
}
