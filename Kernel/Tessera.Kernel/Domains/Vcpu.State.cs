using System.Runtime.InteropServices;
using Tessera.Kernel.Snapshots;
using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Domains;

// Saving and restoring. A restored vCPU starts as one that was just woken, whether it had blocked or polled, as Xen's do.
internal sealed partial class Vcpu
{
    private const int GeneralRegisters = 26; // RAX to DR7
    private const int Selectors = 6;
    private const int MostVectorBytes = 1 << 16;

    /// <summary>Writes registers, vector state, context and run states.</summary>
    /// <exception cref="SnapshotException">The engine does not give the vector state.</exception>
    public void Save(StateWriter writer)
    {
        ref GuestCpuState state = ref Cpu.State;
        foreach (ulong register in Registers(ref state))
            writer.Word(register);
        foreach (ushort selector in SelectorsOf(ref state))
            writer.Number(selector);
        writer.Flag(state.TaskSwitched);
        ICapturesCpu vectors = Capturing();
        byte[] area = new byte[vectors.CaptureBytes];
        vectors.Capture(area);
        writer.Bytes(area);
        Context.Save(writer);
        Runstate.Save(writer);
    }

    /// <summary>Reads them. Root, mode of code and descriptor tables are left to whoever restores the domain's tables.</summary>
    /// <exception cref="SnapshotException">They cannot be, or not on this engine.</exception>
    public void Restore(StateReader reader)
    {
        ref GuestCpuState state = ref Cpu.State;
        state = default;
        foreach (ref ulong register in Registers(ref state))
            register = reader.Word("a register");
        foreach (ref ushort selector in SelectorsOf(ref state))
            selector = (ushort)reader.Number("a selector", 0, ushort.MaxValue);
        state.TaskSwitched = reader.Flag("CR0.TS");
        ReadOnlySpan<byte> area = reader.Bytes("the vector state", MostVectorBytes);
        try
        {
            Capturing().Restore(area);
        }
        catch (ArgumentException exception)
        {
            throw new SnapshotException($"The snapshot's vector state does not fit here: {exception.Message} Restore it on a host and engine with what its own had.", exception);
        }

        Context.Restore(reader);
        Runstate.Restore(reader, Domain.Host.Clock.Now);
    }

    /// <summary>Its alarms, in the guest's time. One that is going off now is not missed: <see cref="Arm(in VcpuAlarms)"/>.</summary>
    public VcpuAlarms Alarms() => new(DeadlineOf(Timer), Period.Value, DeadlineOf(PeriodicTimer));

    /// <summary>Arms them; the timer's interrupt is raised once, for what may have been under way when they were taken. Its event channel is there already.</summary>
    public void Arm(in VcpuAlarms alarms)
    {
        Arm(Timer, alarms.Timer);
        Period = new Nanoseconds(alarms.Period);
        if (Period > Nanoseconds.Zero)
            Arm(PeriodicTimer, Math.Clamp(alarms.Periodic, (Domain.Now - Period).Value, (Domain.Now + Period).Value));
        Domain.Events.RaiseVirq(Index, Virq.Timer);
    }

    private static Span<ulong> Registers(ref GuestCpuState state) => MemoryMarshal.CreateSpan(ref state.Rax, GeneralRegisters);

    private static Span<ushort> SelectorsOf(ref GuestCpuState state) => MemoryMarshal.CreateSpan(ref state.Cs, Selectors);

    private ICapturesCpu Capturing() => Cpu as ICapturesCpu
        ?? throw new SnapshotException("This CPU engine does not give its CPUs' vector state, so that no domain can be saved or restored. Take one that does: --engine software.");

    private long DeadlineOf(Alarm alarm) => alarm.Queue is null ? Nanoseconds.Never.Value : Domain.ToGuest(alarm.Deadline).Value;

    private void Arm(Alarm alarm, long deadline)
    {
        if (deadline != Nanoseconds.Never.Value)
            Domain.Host.Arm(this, alarm, Domain.ToMachine(new(deadline)));
    }
}

/// <summary>A vCPU's alarms, in the guest's time, ns; <see cref="Nanoseconds.Never"/> for one that is not armed.</summary>
/// <param name="Timer">When the single-shot timer goes off.</param>
/// <param name="Period">The periodic timer's period; 0 when it was stopped.</param>
/// <param name="Periodic">When it goes off next.</param>
internal readonly record struct VcpuAlarms(long Timer, long Period, long Periodic)
{
    public void Save(StateWriter writer)
    {
        writer.Number(Timer);
        writer.Number(Period);
        writer.Number(Periodic);
    }

    /// <exception cref="SnapshotException">They cannot be.</exception>
    public static VcpuAlarms Read(StateReader reader)
    {
        long timer = reader.Number("the timer", long.MinValue, long.MaxValue), period = reader.Number("the periodic timer's period", 0, long.MaxValue);
        return period == 0 || period >= Vcpu.ShortestPeriod.Value
            ? new VcpuAlarms(timer, period, reader.Number("the periodic timer", long.MinValue, long.MaxValue))
            : throw StateReader.Wrong("the periodic timer's period", $"{period} ns");
    }
}
