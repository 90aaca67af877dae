using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Conformance.Tests;

/// <summary>
/// A plain weighted-fair policy that keeps every promise there is: reservations run first, by deadline, then the least served by weight; a cap holds
/// over all time. The broken ones differ from it in one thing each.
/// </summary>
[Plugin("honest", PluginKind.Scheduler, "1.0.0", DomainOptions = typeof(HonestOptions))]
[SchedulerProperties(
    ShareErrorPercent = 3, StarvationBoundMs = 60, WakeLatencyBoundMs = 45, CapOption = nameof(HonestOptions.Cap), PeriodOption = nameof(HonestOptions.Period), SliceOption = nameof(HonestOptions.Slice), DeadlineUtilisation = 1)]
internal class HonestScheduler : IScheduler
{
    private static readonly Nanoseconds Slice = Nanoseconds.FromMilliseconds(5);

    protected ISchedulerMachine Machine { get; private set; } = null!;

    protected List<SchedulableVcpu> Queue { get; } = [];

    public void Attach(ISchedulerMachine machine) => Machine = machine;

    public virtual void Add(SchedulableVcpu vcpu, Nanoseconds now) => vcpu.PolicyData = new Account();

    public virtual void Remove(SchedulableVcpu vcpu, Nanoseconds now) => Queue.Remove(vcpu);

    public virtual void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Account account = Of(vcpu);
        if (account.Deadline <= now)
            Renew(account, ReservationOf(vcpu), now, now);
        account.Served = Int128.Max(account.Served, LeastServed());
        Enqueue(vcpu, first: true);
        AskForCpu(vcpu);
    }

    public virtual void Sleep(SchedulableVcpu vcpu, Nanoseconds now) => Queue.Remove(vcpu);

    public virtual void Yield(SchedulableVcpu vcpu, Nanoseconds now) => Of(vcpu).Yielded = true;

    public virtual Decision Schedule(in SchedulingPoint point)
    {
        if (point.Current is { } current)
        {
            Charge(current, point);
            if (point.CurrentRunnable)
                Enqueue(current, first: false);
        }

        SchedulableVcpu? next = Choose(point);
        if (next is not null)
            Take(next);
        if (point.Current is { } ran)
            Of(ran).Yielded = false;
        if (point.CurrentRunnable && point.Current is { } preempted && preempted != next)
            Machine.RequestIdle(preempted.Affinity);

        return new(next, SliceOf(next, point));
    }

    public virtual void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        if (Queue.Contains(vcpu))
            Machine.RequestIdle(vcpu.Affinity);
    }

    public Entitlement EntitlementOf(SchedulableVcpu vcpu)
    {
        double limit = CapOf(vcpu) is > 0 and var cap ? cap / 100.0 : 1;
        return ReservationOf(vcpu) is { } own
            ? new(WeightOf(vcpu), own.Slice.Value / (double)own.Period.Value, limit, own.Period)
            : new(WeightOf(vcpu), 0, limit, limit < 1 ? Nanoseconds.FromSeconds(1) : Nanoseconds.Zero);
    }

    public string Describe(SchedulableVcpu vcpu) => $"served {Of(vcpu).Served}, {(Queue.Contains(vcpu) ? "queued" : "not queued")}";

    protected static Account Of(SchedulableVcpu vcpu) => (Account)vcpu.PolicyData!;

    protected virtual int WeightOf(SchedulableVcpu vcpu) => vcpu.Domain.Weight;

    protected virtual bool MayRun(SchedulableVcpu vcpu, PcpuId pcpu) => vcpu.Affinity.Contains(pcpu);

    protected virtual int CapOf(SchedulableVcpu vcpu) => (vcpu.Domain.Options as HonestOptions)?.Cap ?? 0;

    protected virtual HonestOptions? ReservationOf(SchedulableVcpu vcpu) => vcpu.Domain.Options is HonestOptions { Slice.Value: > 0 } reserved ? reserved : null;

    /// <summary>Among equals, who woke goes first and who ran goes last.</summary>
    protected virtual void Enqueue(SchedulableVcpu vcpu, bool first) => Queue.Insert(first ? 0 : Queue.Count, vcpu);

    protected virtual void Take(SchedulableVcpu vcpu) => Queue.Remove(vcpu);

    protected virtual void Charge(SchedulableVcpu vcpu, in SchedulingPoint point)
    {
        Account account = Of(vcpu);
        account.Served += (Int128)point.Ran.Value * 256 * 1024 / WeightOf(vcpu);
        account.CpuTime += point.Ran;
        account.Used += point.Ran;
    }

    protected virtual SchedulableVcpu? Choose(in SchedulingPoint point)
    {
        SchedulableVcpu? best = null;
        SchedulableVcpu? earliest = null;
        foreach (SchedulableVcpu candidate in Queue)
        {
            if (!MayRun(candidate, point.Pcpu))
                continue;
            if (Capped(candidate, point.Now))
                Machine.RequestRescheduleAt(point.Pcpu, point.Now + Nanoseconds.FromMilliseconds(1));
            else if (Behind(candidate, point.Now))
                earliest = earliest is null || DeadlineOf(candidate) < DeadlineOf(earliest) ? candidate : earliest;
            else if (best is null || Before(candidate, best))
                best = candidate;
        }

        return earliest ?? best;
    }

    protected virtual Nanoseconds DeadlineOf(SchedulableVcpu vcpu) => Of(vcpu).Deadline;

    protected virtual void AskForCpu(SchedulableVcpu vcpu)
    {
        if (Machine.RequestIdle(vcpu.Affinity))
            return;
        for (int index = 0; index < Machine.PcpuCount; index++)
        {
            if (vcpu.Affinity.Contains(new PcpuId(index)))
                Machine.RequestReschedule(new PcpuId(index));
        }
    }

    protected virtual Nanoseconds SliceOf(SchedulableVcpu? next, in SchedulingPoint point) => next is not null && (CapOf(next) > 0 || ReservationOf(next) is not null) ? Nanoseconds.FromMilliseconds(1) : Slice;

    private static bool Before(SchedulableVcpu left, SchedulableVcpu right)
    {
        Account one = Of(left);
        Account other = Of(right);
        return one.Yielded != other.Yielded ? other.Yielded : one.Served < other.Served;
    }

    private bool Capped(SchedulableVcpu vcpu, Nanoseconds now) => CapOf(vcpu) is > 0 and var cap && Of(vcpu).CpuTime.Value * 100.0 > cap * (double)now.Value;

    private bool Behind(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Account account = Of(vcpu);
        if (ReservationOf(vcpu) is not { } reserved)
            return false;
        if (account.Deadline <= now)
            Renew(account, reserved, account.Deadline, now);
        return account.Used < reserved.Slice;
    }

    /// <summary>The period that contains this instant, of those counted from another.</summary>
    private static void Renew(Account account, HonestOptions? reserved, Nanoseconds from, Nanoseconds now)
    {
        if (reserved is null)
            return;
        account.Used = Nanoseconds.Zero;
        account.Deadline = from + new Nanoseconds((((now - from).Value / reserved.Period.Value) + 1) * reserved.Period.Value);
    }

    private Int128 LeastServed()
    {
        Int128? least = null;
        foreach (SchedulableVcpu vcpu in Queue)
            least = least is { } so && so < Of(vcpu).Served ? so : Of(vcpu).Served;
        for (int index = 0; index < Machine.PcpuCount && least is null; index++)
        {
            if (Machine.Running(new PcpuId(index)) is { } running)
                least = Of(running).Served;
        }

        return least ?? 0;
    }

    protected sealed class Account
    {
        public Int128 Served { get; set; }

        public Nanoseconds CpuTime { get; set; }

        /// <summary>The end of its period, and what it used in it.</summary>
        public Nanoseconds Deadline { get; set; }

        public Nanoseconds Used { get; set; }

        public bool Yielded { get; set; }
    }
}

internal sealed record HonestOptions
{
    public int Cap { get; init; }

    public Nanoseconds Period { get; init; }

    public Nanoseconds Slice { get; init; }
}
