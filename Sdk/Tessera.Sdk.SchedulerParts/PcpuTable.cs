using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Sdk.SchedulerParts;

/// <summary>The physical CPUs as a policy sees them: what each runs, and which were asked to decide and have not yet.</summary>
/// <param name="machine">The machine.</param>
internal sealed class PcpuTable<T>(ISchedulerMachine machine)
    where T : VcpuRecord<T>
{
    private readonly T?[] _running = new T?[machine.PcpuCount];
    private readonly bool[] _requested = new bool[machine.PcpuCount];
    private int _idle = machine.PcpuCount;

    public int Count => _running.Length;

    /// <summary>How many run nothing.</summary>
    public int IdleCount => _idle;

    /// <summary>What a physical CPU runs; null when it idles.</summary>
    public T? this[int pcpu] => _running[pcpu];

    public bool IsRequested(int pcpu) => _requested[pcpu];

    /// <summary>A physical CPU begins to decide: until it has taken off what it ran, nobody need ask it.</summary>
    public void BeginDecision(int pcpu) => _requested[pcpu] = true;

    /// <summary>A physical CPU decides: takes off what it ran.</summary>
    public T? TakeOff(int pcpu)
    {
        _requested[pcpu] = false;
        T? record = _running[pcpu];
        if (record is null)
            return null;
        _running[pcpu] = null;
        _idle++;
        record.Pcpu = -1;
        return record;
    }

    public void Run(int pcpu, T record, Nanoseconds now)
    {
        _running[pcpu] = record;
        _idle--;
        record.BeginStint(pcpu, now);
    }

    /// <summary>A vCPU is removed: if it runs, its physical CPU counts as idle until it decides.</summary>
    public void Forget(T record)
    {
        if (record.Pcpu < 0)
            return;
        _running[record.Pcpu] = null;
        _idle++;
        record.Pcpu = -1;
    }

    public void Request(int pcpu)
    {
        if (_requested[pcpu])
            return;
        _requested[pcpu] = true;
        machine.RequestReschedule(new PcpuId(pcpu));
    }

    /// <summary>Asks one idle physical CPU of an affinity to decide, one not asked before.</summary>
    /// <returns>Whether there was one.</returns>
    public bool RequestIdle(CpuSet affinity)
    {
        if (_idle == 0)
            return false;
        for (int pcpu = 0; pcpu < _running.Length; pcpu++)
        {
            if (_running[pcpu] is null && !_requested[pcpu] && affinity.Contains(new PcpuId(pcpu)))
            {
                Request(pcpu);
                return true;
            }
        }

        return false;
    }

    /// <summary>Asks every idle physical CPU for which there is something in a queue: after a decision took what another was asked for.</summary>
    /// <param name="queues">The queues.</param>
    /// <param name="slot">Which of them.</param>
    /// <param name="except">The one that is deciding.</param>
    public void RequestIdleFor(AffinityQueues<T> queues, int slot, int except)
    {
        if (_idle == 0 || queues.CountIn(slot) == 0)
            return;
        for (int pcpu = 0; pcpu < _running.Length; pcpu++)
        {
            if (_running[pcpu] is null && pcpu != except && !_requested[pcpu] && queues.Head(pcpu, slot) is not null)
                Request(pcpu);
        }
    }
}
