using System.Diagnostics;
using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Plugins.Cpu.Kvm.Paging;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Kvm.Probing;

/// <summary>Measures what each kind of trap costs: one trap a sample, from before the entry to after the exit.</summary>
internal sealed class TrapCostRun(KvmHost host, int slot, PagingStrategy strategy, KvmThread thread)
{
    private const int Samples = 1500;
    private const int WarmUp = 50;
    private const int VcpuSamples = 20;

    private readonly List<TrapCost> _costs = [];
    private readonly double[] _times = new double[Samples];

    /// <summary>All of them.</summary>
    public IReadOnlyList<TrapCost> Measure()
    {
        using ScratchGuest guest = new(host, slot, strategy, thread, cpus: 1);
        ref GuestCpuState state = ref guest.Cpu.State;
        MeasureBareExit(guest);
        MeasureLoop(guest, "hypercall instruction", 0xe6, EngineArea.Port);
        MeasureLoop(guest, "syscall through its stub", 0x0f, 0x05);
        state.Rbx = 0x7000;
        MeasureLoop(guest, "#PF (page not present)", 0x48, 0x8b, 0x03);
        MeasureLoop(guest, "#UD (ud2)", 0x0f, 0x0b);
        MeasureLoop(guest, "#GP (cli)", 0xfa);
        MeasureRootChange(guest);
        MeasureNotification(guest);
        MeasureImmediateExit(guest);
        MeasureMachine();
        return _costs;
    }

    /// <summary>KVM_RUN on an endless loop of the exiting instruction with nothing changed between: the floor for everything else.</summary>
    private void MeasureBareExit(ScratchGuest guest)
    {
        guest.Completes(0xe6, EngineArea.Port, 0xeb, 0xfc);
        StopTimer();
        for (int sample = -WarmUp; sample < Samples; sample++)
        {
            long start = Stopwatch.GetTimestamp();
            _ = guest.Cpu.Vcpu.Run();
            Record(sample, start);
        }

        Add("bare exit (out in ring 3, KVM_RUN and back)", Samples);
    }

    private void MeasureLoop(ScratchGuest guest, string trap, params ReadOnlySpan<byte> code)
    {
        guest.Place(code);
        for (int sample = -WarmUp; sample < Samples; sample++)
        {
            guest.Cpu.State.Rip = ScratchGuest.CodeAddress;
            long start = Stopwatch.GetTimestamp();
            _ = guest.Run();
            Record(sample, start);
        }

        Add(trap, Samples);
    }

    private void MeasureRootChange(ScratchGuest guest)
    {
        const int Other = ScratchGuest.FirstSpareL4;
        guest.Words(ScratchGuest.L4).CopyTo(guest.Words(Other));
        guest.Place(0xe6, EngineArea.Port);
        for (int sample = -WarmUp; sample < Samples; sample++)
        {
            guest.Cpu.State.Rip = ScratchGuest.CodeAddress;
            guest.Cpu.State.Root = ScratchGuest.Frame((sample & 1) == 0 ? Other : ScratchGuest.L4);
            long start = Stopwatch.GetTimestamp();
            _ = guest.Run();
            Record(sample, start);
        }

        guest.Cpu.State.Root = ScratchGuest.Frame(ScratchGuest.L4);
        Add("hypercall instruction with another page-table root", Samples);
    }

    private void MeasureNotification(ScratchGuest guest)
    {
        ulong a = ScratchGuest.Frame(ScratchGuest.DataA).Address | ScratchGuest.Rights;
        ulong b = ScratchGuest.Frame(ScratchGuest.DataB).Address | ScratchGuest.Rights;
        guest.Place(0x48, 0x8b, 0x03, 0xe6, EngineArea.Port);
        guest.Cpu.State.Rbx = ScratchGuest.DataAddress;
        for (int sample = -WarmUp; sample < Samples; sample++)
        {
            guest.Cpu.State.Rip = ScratchGuest.CodeAddress;
            guest.Change(ScratchGuest.L1, 1, (sample & 1) == 0 ? b : a);
            long start = Stopwatch.GetTimestamp();
            _ = guest.Run();
            Record(sample, start);
        }

        Add("hypercall instruction after one page-table downgrade, page touched", Samples);
    }

    private void MeasureImmediateExit(ScratchGuest guest)
    {
        StopTimer();
        guest.Cpu.Vcpu.ImmediateExit = true;
        for (int sample = -WarmUp; sample < Samples; sample++)
        {
            long start = Stopwatch.GetTimestamp();
            _ = guest.Cpu.Vcpu.Run();
            Record(sample, start);
        }

        guest.Cpu.Vcpu.ImmediateExit = false;
        Add("KVM_RUN with immediate_exit", Samples);
    }

    private void MeasureMachine()
    {
        for (int sample = 0; sample < VcpuSamples; sample++)
        {
            long start = Stopwatch.GetTimestamp();
            using ScratchGuest guest = new(host, slot, strategy, thread, cpus: 1);
            Record(sample, start);
        }

        Add("creation of a machine with one vCPU", VcpuSamples);
    }

    /// <summary>Runs past the engine's own loop must not be cut short by a deadline left armed.</summary>
    private void StopTimer()
    {
        thread.Arm(long.MaxValue);
        thread.ConsumeSignals();
    }

    private void Record(int sample, long start)
    {
        if (sample >= 0)
            _times[sample] = Stopwatch.GetElapsedTime(start).TotalNanoseconds;
    }

    private void Add(string trap, int samples)
    {
        Span<double> times = _times.AsSpan(0, samples);
        times.Sort();
        _costs.Add(new TrapCost(trap, times[samples / 2], times[0], samples));
    }
}
