using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;

namespace Tessera.Plugins.Schedulers.Eevdf;

/// <summary>The runnable vCPUs of one physical CPU, the running one included, and their virtual time.</summary>
/// <remarks>
/// V is kept as the average of the served times, weighted: the paper's lags add up to zero, and w_i (V − s_i) summed over all is zero
/// just for that V (Linux does the same). So V needs no correction when vCPUs come and go with a lag, and as nobody's eligible time is
/// after its served time, somebody is always eligible.
/// No overflow: served times are kept in 1/2^20 ns of a vCPU of weight 1, charges are cut at 2^44 ns (5 hours; only a jump of the clock is
/// longer), and the sum is kept relative to V: below 2^44 · 2^20 · 2^31 (a weight) · 2^20 (vCPUs) = 2^115.
/// </remarks>
internal sealed class RunQueue(int pcpu)
{
    /// <summary>Virtual time in units of 1/2^20 ns at weight 1: at the usual weights of some hundreds, thousandths of a nanosecond.</summary>
    public const int ScaleBits = 20;

    private const long LongestCharge = 1L << 44;

    /// <summary>Below this many nanoseconds a charge fits 64-bit arithmetic.</summary>
    private const long Narrow = 1L << 43;

    private readonly VcpuHeap<EevdfVcpu> _eligible = new(EevdfVcpu.Eligible);
    private readonly VcpuHeap<EevdfVcpu> _pending = new(EevdfVcpu.Pending);

    /// <summary>The sum of w_i (s_i − V) with V as of the last <see cref="Settle"/>.</summary>
    private Int128 _sum;

    public int Pcpu { get; } = pcpu;

    /// <summary>The weight of all runnable ones.</summary>
    public long Weight { get; private set; }

    /// <summary>How many of the queued could run elsewhere.</summary>
    public int Movable { get; private set; }

    /// <summary>V, as of the last <see cref="Settle"/>.</summary>
    public Int128 VirtualTime { get; private set; }

    /// <summary>How far CPU time moves virtual time on.</summary>
    public static Int128 Advance(long cpuTime, long weight) =>
        cpuTime < Narrow ? (Int128)((ulong)(cpuTime << ScaleBits) / (ulong)weight) : ((Int128)cpuTime << ScaleBits) / weight;

    public void Reserve(int count)
    {
        _eligible.Reserve(count);
        _pending.Reserve(count);
    }

    /// <summary>Brings V up to date with what was charged.</summary>
    public void Settle()
    {
        if (Weight == 0)
            return;
        Int128 step = _sum / Weight;
        if (_sum < step * Weight)
            step--;
        VirtualTime += step;
        _sum -= step * Weight;
    }

    /// <summary>A vCPU becomes runnable here, with its lag, and makes a request.</summary>
    public void Join(EevdfVcpu vcpu)
    {
        Settle();

        // Its coming moves the average: this far from V before, it is its lag from V after.
        vcpu.Served = Weight == 0 ? VirtualTime : VirtualTime - (vcpu.Lag * (Weight + vcpu.Weight) / Weight / vcpu.Weight);
        _sum += (vcpu.Served - VirtualTime) * vcpu.Weight;
        Weight += vcpu.Weight;
        vcpu.Home = Pcpu;
        vcpu.BeginRequest();
        Settle();
    }

    /// <summary>A vCPU stops being runnable here; at most a request's length of lag is remembered.</summary>
    public void Leave(EevdfVcpu vcpu)
    {
        Settle();
        Int128 most = (Int128)vcpu.Request << ScaleBits;
        vcpu.Lag = Int128.Clamp((VirtualTime - vcpu.Served) * vcpu.Weight, -most, most);
        _sum -= (vcpu.Served - VirtualTime) * vcpu.Weight;
        Weight -= vcpu.Weight;
        if (Weight == 0)
            _sum = 0;
        Settle();
        vcpu.Served = VirtualTime - (vcpu.Lag / vcpu.Weight);
    }

    /// <summary>A vCPU that slept since it left this queue: what it owed is paid as far as V has passed the service it had.</summary>
    public void PayDebt(EevdfVcpu vcpu)
    {
        if (vcpu.Lag < 0)
            vcpu.Lag = Int128.Clamp((VirtualTime - vcpu.Served) * vcpu.Weight, vcpu.Lag, 0);
    }

    public void Charge(EevdfVcpu vcpu, long ran)
    {
        ran = Math.Min(ran, LongestCharge);
        Int128 step = Advance(ran, vcpu.Weight);
        vcpu.Served += step;
        _sum += step * vcpu.Weight;
        vcpu.Used += ran;
        if (vcpu.Used >= vcpu.Request)
            vcpu.BeginRequest();
    }

    public void Enqueue(EevdfVcpu vcpu)
    {
        if (vcpu.EligibleAt <= VirtualTime)
            _eligible.Add(vcpu, vcpu.Deadline);
        else
            _pending.Add(vcpu, vcpu.EligibleAt);
        if (vcpu.Movable)
            Movable++;
    }

    public void Dequeue(EevdfVcpu vcpu)
    {
        _eligible.Remove(vcpu);
        _pending.Remove(vcpu);
        if (vcpu.Movable)
            Movable--;
    }

    /// <summary>The queued vCPU with the earliest deadline of those that are eligible; or null.</summary>
    public EevdfVcpu? EarliestEligible()
    {
        while (_pending.Count > 0 && _pending.TopKey <= VirtualTime)
        {
            EevdfVcpu vcpu = _pending.Top!;
            _pending.Remove(vcpu);
            _eligible.Add(vcpu, vcpu.Deadline);
        }

        // One that joined with a lag has moved V back: whoever is no longer eligible is sorted out when its turn comes.
        while (_eligible.Top is { } first)
        {
            if (first.EligibleAt <= VirtualTime)
                return first;
            _eligible.Remove(first);
            _pending.Add(first, first.EligibleAt);
        }

        return null;
    }

    /// <summary>The queued vCPU that will be eligible first; or null.</summary>
    public EevdfVcpu? NextEligible => _pending.Top;

    /// <summary>A queued vCPU that may run on another CPU; or null.</summary>
    public EevdfVcpu? FindFor(PcpuId pcpu) => Movable == 0 ? null : FindIn(_eligible, pcpu) ?? FindIn(_pending, pcpu);

    private static EevdfVcpu? FindIn(VcpuHeap<EevdfVcpu> heap, PcpuId pcpu)
    {
        for (int place = 0; place < heap.Count; place++)
        {
            if (heap[place].Vcpu.Affinity.Contains(pcpu))
                return heap[place];
        }

        return null;
    }
}
