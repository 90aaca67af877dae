using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Samples.Lottery;

/// <summary>The options of <see cref="LotteryScheduler"/>.</summary>
public sealed record LotteryOptions
{
    [Option("How long the winner of a draw runs.", Min = "100 us", Max = "1 s")]
    public Nanoseconds Quantum { get; init; } = Nanoseconds.FromMilliseconds(10);

    [Option("Where the random numbers start: the same seed draws the same winners.")]
    public long Seed { get; init; } = 1;
}

/// <summary>
/// Lottery scheduling: C. A. Waldspurger and W. E. Weihl, "Lottery scheduling: flexible proportional-share resource management"
/// (OSDI 1994). For each quantum a ticket is drawn from those of all waiting vCPUs; a vCPU has as many as its weight says. Who used
/// only a part of its quantum holds so many times more until it wins again (compensation tickets, at most a hundredfold).
/// </summary>
/// <remarks>
/// Shares are right on average: after n draws, a vCPU that is due the part p of them is off by √((1 − p)/np) of its share (one standard
/// deviation), and nobody waits for ever, but no bound is certain. Each physical CPU draws among those that wait for it, so with several
/// the heavy ones, which more often run already, get a little less. A draw is O(n) here; the paper has a tree for O(log n).
/// </remarks>
[SchedulerProperties(ShareErrorPercent = 40)]
[Plugin("lottery", PluginKind.Scheduler, "1.0.0", Summary = "Lottery scheduling with compensation tickets (Waldspurger and Weihl, 1994).", Options = typeof(LotteryOptions))]
public sealed class LotteryScheduler(LotteryOptions options) : IScheduler
{
    private const long Face = 1000;

    private readonly List<SchedulableVcpu> _waiting = [];
    private ISchedulerMachine _machine = null!;
    private ulong _random = (ulong)options.Seed;

    public void Attach(ISchedulerMachine machine) => _machine = machine;

    public void Add(SchedulableVcpu vcpu, Nanoseconds now) => vcpu.PolicyData = new Ticket();

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now) => _waiting.Remove(vcpu);

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        _waiting.Add(vcpu);
        AskIdle(vcpu);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now) => _waiting.Remove(vcpu);

    /// <summary>Schedule follows, and draws with compensation for the rest of its quantum.</summary>
    public void Yield(SchedulableVcpu vcpu, Nanoseconds now)
    {
    }

    public Decision Schedule(in SchedulingPoint point)
    {
        if (point.Current is { } current)
        {
            TicketOf(current).Value = Math.Clamp(Face * options.Quantum.Value / Math.Max(1, point.Ran.Value), Face, 100 * Face);
            if (point.CurrentRunnable)
                _waiting.Add(current);
        }

        SchedulableVcpu? winner = Draw(point.Pcpu);
        if (point.CurrentRunnable && point.Current is { } loser && loser != winner)
            AskIdle(loser);
        return new(winner, options.Quantum);
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now) => AskIdle(vcpu);

    public string Describe(SchedulableVcpu vcpu) => $"{(_waiting.Contains(vcpu) ? "in the draw" : "not in the draw")}, {vcpu.Weight} tickets worth {TicketOf(vcpu).Value / (double)Face:0.##} each";

    private static Ticket TicketOf(SchedulableVcpu vcpu) => (Ticket)vcpu.PolicyData!;

    /// <summary>Takes out the winner among those that may run on a physical CPU.</summary>
    private SchedulableVcpu? Draw(PcpuId pcpu)
    {
        ulong total = 0;
        foreach (SchedulableVcpu vcpu in _waiting)
            total += Stake(vcpu, pcpu);
        if (total == 0)
            return null;
        ulong ticket = Math.BigMul(NextRandom(), total, out _);
        int index = 0;
        for (ulong stake; ticket >= (stake = Stake(_waiting[index], pcpu)); index++)
            ticket -= stake;
        SchedulableVcpu winner = _waiting[index];
        _waiting[index] = _waiting[^1];
        _waiting.RemoveAt(_waiting.Count - 1);
        return winner;
    }

    private static ulong Stake(SchedulableVcpu vcpu, PcpuId pcpu) => vcpu.Affinity.Contains(pcpu) ? (ulong)(vcpu.Weight * TicketOf(vcpu).Value) : 0;

    /// <summary>SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the policy's own stream, the same on every machine.</summary>
    private ulong NextRandom()
    {
        ulong mixed = _random += 0x9E3779B97F4A7C15UL;
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9UL;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBUL;
        return mixed ^ (mixed >> 31);
    }

    private void AskIdle(SchedulableVcpu vcpu)
    {
        for (PcpuId pcpu = new(0); pcpu.Index < _machine.PcpuCount; pcpu = new(pcpu.Index + 1))
        {
            if (vcpu.Affinity.Contains(pcpu) && _machine.Running(pcpu) is null)
                _machine.RequestReschedule(pcpu);
        }
    }

    /// <summary>What one ticket of a vCPU counts, in thousandths.</summary>
    private sealed class Ticket
    {
        public long Value = Face;
    }
}
