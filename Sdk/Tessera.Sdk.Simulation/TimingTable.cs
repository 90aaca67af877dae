using System.Text;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Sdk.Simulation;

/// <summary>
/// A timing table in the manner of Genode's scheduler test: one physical CPU driven by hand, and rows of (time in µs, the domain
/// expected to run, the time expected until the next decision in µs). A row that does not hold shows all rows and the policy's state.
/// </summary>
public sealed class TimingTable : ISchedulerHost
{
    private readonly List<SchedulableVcpu> _vcpus = [];
    private readonly StringBuilder _history = new();
    private Nanoseconds _until = Nanoseconds.Never;

    /// <summary>Makes the table for a policy.</summary>
    public TimingTable(IScheduler policy) => Core = new(policy, "under-test", static () => new PlainScheduler(), new() { PcpuCount = 1 }, this);

    /// <summary>The scheduler core.</summary>
    public SchedulerCore Core { get; }

    /// <summary>Virtual time.</summary>
    public Nanoseconds Now { get; private set; }

    /// <summary>Whether the physical CPU was asked to decide since the last row.</summary>
    public bool Kicked { get; private set; }

    /// <summary>The moment of the next decision as the machine knows it now, after wakes may have moved it forward.</summary>
    public long DueMicroseconds => _until.Value / 1000;

    /// <summary>The first vCPU of a domain joins, asleep.</summary>
    /// <param name="domain">The domain's number.</param>
    /// <param name="weight">Its share weight.</param>
    /// <param name="options">The policy's per-domain options; null for its defaults.</param>
    public SchedulableVcpu Add(int domain, int weight = 256, object? options = null)
    {
        SchedulableVcpu vcpu = new(new SchedulableDomain(new DomainId((ushort)domain), weight, options));
        _vcpus.Add(vcpu);
        Core.Add(vcpu, Now);
        return vcpu;
    }

    /// <summary>A vCPU wakes at this instant.</summary>
    public void Wake(SchedulableVcpu vcpu, long microseconds) => Core.Wake(vcpu, MoveTo(microseconds));

    /// <summary>The running vCPU blocks; the next row shows who runs instead.</summary>
    public void Sleep(SchedulableVcpu vcpu, long microseconds) => Core.Sleep(vcpu, MoveTo(microseconds));

    /// <summary>At this instant the physical CPU decides.</summary>
    /// <param name="microseconds">The instant.</param>
    /// <param name="domain">The domain that must run then; 0 for none.</param>
    /// <param name="timeout">The time until the next decision; -1 for none.</param>
    /// <exception cref="TimingTableException">It is otherwise.</exception>
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
        throw new TimingTableException($"at {microseconds} µs: expected d{domain} for {timeout} µs, got d{runs} for {left} µs\n{_history}{state}");
    }

    /// <inheritdoc/>
    void ISchedulerHost.Kick(PcpuId pcpu) => Kicked = true;

    /// <inheritdoc/>
    void ISchedulerHost.Shorten(PcpuId pcpu, Nanoseconds until) => _until = until;

    private Nanoseconds MoveTo(long microseconds)
    {
        Nanoseconds instant = Nanoseconds.FromMicroseconds(microseconds);
        if (instant < Now)
            throw new InvalidOperationException($"The clock is at {Now} and does not go back to {instant}.");
        return Now = instant;
    }
}

/// <summary>A row of a <see cref="TimingTable"/> did not hold.</summary>
/// <param name="message">The row, what was found, the rows before and the policy's state.</param>
public sealed class TimingTableException(string message) : Exception(message);
