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
/// the heavy ones, which more often run already, get a little less. A draw is O(log n), and again for each drawn that may not run there.
/// </remarks>
[SchedulerProperties(ShareErrorPercent = 40)]
[Plugin("lottery", PluginKind.Scheduler, "1.0.0", Summary = "Lottery scheduling with compensation tickets (Waldspurger and Weihl, 1994).", Options = typeof(LotteryOptions))]
public sealed class LotteryScheduler(LotteryOptions options) : IScheduler
{
    /// <summary>What a ticket without compensation counts.</summary>
    private const long Face = 1000;

    private readonly TicketTree _waiting = new();
    private readonly List<SchedulableVcpu> _elsewhere = [];
    private ISchedulerMachine _machine = null!;
    private ulong _random = (ulong)options.Seed;

    public void Attach(ISchedulerMachine machine) => _machine = machine;

    public void Add(SchedulableVcpu vcpu, Nanoseconds now) => vcpu.PolicyData = new Ticket(_waiting.Seat(vcpu));

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now) => _waiting.Clear(TicketOf(vcpu).Seat);

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Join(vcpu);
        _machine.RequestIdle(vcpu.Affinity);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now) => Leave(vcpu);

    public Decision Schedule(in SchedulingPoint point)
    {
        if (point.Current is { } current)
        {
            TicketOf(current).Worth = Math.Clamp(Face * options.Quantum.Value / Math.Max(1, point.Ran.Value), Face, 100 * Face);
            if (point.CurrentRunnable)
                Join(current);
        }

        SchedulableVcpu? winner = Draw(point.Pcpu);
        if (point.CurrentRunnable && point.Current is { } loser && loser != winner)
            _machine.RequestIdle(loser.Affinity);
        return new(winner, options.Quantum);
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        if (_waiting[TicketOf(vcpu).Seat] == 0)
            return;
        Join(vcpu);
        _machine.RequestIdle(vcpu.Affinity);
    }

    public string Describe(SchedulableVcpu vcpu) =>
        $"{_waiting[TicketOf(vcpu).Seat]} of {_waiting.Total} in the draw, {vcpu.Domain.Weight} tickets worth {TicketOf(vcpu).Worth} each";

    private static Ticket TicketOf(SchedulableVcpu vcpu) => (Ticket)vcpu.PolicyData!;

    private void Join(SchedulableVcpu vcpu) => _waiting[TicketOf(vcpu).Seat] = (ulong)(vcpu.Domain.Weight * TicketOf(vcpu).Worth);

    private void Leave(SchedulableVcpu vcpu) => _waiting[TicketOf(vcpu).Seat] = 0;

    /// <summary>Takes out the winner among those that may run on a physical CPU: who may not is set aside and the draw repeated.</summary>
    private SchedulableVcpu? Draw(PcpuId pcpu)
    {
        SchedulableVcpu? winner = null;
        while (winner is null && _waiting.Total > 0)
        {
            SchedulableVcpu drawn = _waiting.Holder(Math.BigMul(NextRandom(), _waiting.Total, out _));
            Leave(drawn);
            if (drawn.Affinity.Contains(pcpu))
                winner = drawn;
            else
                _elsewhere.Add(drawn);
        }

        foreach (SchedulableVcpu vcpu in _elsewhere)
            Join(vcpu);
        _elsewhere.Clear();
        return winner;
    }

    /// <summary>SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the policy's own stream, the same on every machine.</summary>
    private ulong NextRandom()
    {
        ulong mixed = _random += 0x9E3779B97F4A7C15UL;
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9UL;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBUL;
        return mixed ^ (mixed >> 31);
    }

    private sealed class Ticket(int seat)
    {
        public readonly int Seat = seat;

        /// <summary>What one ticket of the vCPU counts.</summary>
        public long Worth = Face;
    }
}
