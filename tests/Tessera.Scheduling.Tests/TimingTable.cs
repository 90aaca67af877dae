using System.Text;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Scheduling.Tests;

/// <summary>
/// A timing table in the manner of Genode's scheduler test: one physical CPU driven by hand, and rows of (time in µs, the domain
/// expected to run, the time expected until the next decision in µs). A row that does not hold dumps the policy's state.
/// </summary>
internal sealed class TimingTable : ISchedulerHost
{
    private readonly List<SchedulableVcpu> _vcpus = [];
    private readonly StringBuilder _history = new();
    private Nanoseconds _until = Nanoseconds.Never;

    public TimingTable(IScheduler policy) => Core = new(policy, "under-test", Policies.RoundRobin, new() { PcpuCount = 1 }, this);

    public SchedulerCore Core { get; }

    public Nanoseconds Now { get; private set; }

    public bool Kicked { get; private set; }

    public SchedulableVcpu Add(int domain, int weight = 256, object? options = null)
    {
        SchedulableVcpu vcpu = new(new(new DomainId((ushort)domain), 0), weight, options);
        _vcpus.Add(vcpu);
        Core.Add(vcpu, Now);
        return vcpu;
    }

    public void Wake(SchedulableVcpu vcpu, long microseconds) => Core.Wake(vcpu, MoveTo(microseconds));

    /// <summary>The running vCPU blocks; the next row shows who runs instead.</summary>
    public void Sleep(SchedulableVcpu vcpu, long microseconds) => Core.Sleep(vcpu, MoveTo(microseconds));

    /// <summary>At this instant the physical CPU decides; domain 0 means idle, and a timeout of -1 means none.</summary>
    public void Row(long microseconds, int domain, long timeout)
    {
        MoveTo(microseconds);
        Kicked = false;
        Dispatch dispatch = Core.Schedule(new PcpuId(0), Now);
        _until = dispatch.Until;
        int runs = dispatch.Vcpu?.Id.Domain.Value ?? 0;
        long left = dispatch.Until == Nanoseconds.Never ? -1 : (dispatch.Until - Now).Value / 1000;
        _history.AppendLine($"  {microseconds} µs: d{runs} for {left} µs");
        if (runs == domain && left == timeout)
            return;
        string state = string.Join('\n', _vcpus.Where(vcpu => vcpu.State != RunState.Offline).Select(vcpu => $"  {vcpu}: {Core.Describe(vcpu)}"));
        Assert.Fail($"at {microseconds} µs: expected d{domain} for {timeout} µs, got d{runs} for {left} µs\n{_history}{state}");
    }

    /// <summary>The moment of the next decision as the machine knows it now, after wakes may have moved it forward.</summary>
    public long DueMicroseconds => _until.Value / 1000;

    public void Kick(PcpuId pcpu) => Kicked = true;

    public void Shorten(PcpuId pcpu, Nanoseconds until) => _until = until;

    private Nanoseconds MoveTo(long microseconds)
    {
        Nanoseconds instant = Nanoseconds.FromMicroseconds(microseconds);
        if (instant < Now)
            throw new InvalidOperationException($"The clock is at {Now} and does not go back to {instant}.");
        return Now = instant;
    }
}
