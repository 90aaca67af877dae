namespace Tessera.Plugins.Schedulers.Bvt;

/// <summary>
/// The greatest weight that makes sense on several CPUs. A vCPU runs on one CPU at a time, so on P of them it can use at most 1/P
/// of the whole; charged at a weight that entitles it to more, its virtual time would fall behind the others' for ever, and so
/// would the scheduler virtual time that newcomers start from. Weights above the cap are charged as the cap: the share is the same
/// one CPU, and virtual times stay together.
/// </summary>
/// <remarks>
/// Weight readjustment of Chandra, Adler, Goyal and Shenoy, "Surplus Fair Scheduling" (OSDI 2000). Only the P − 1 heaviest can be
/// too heavy, so a wake or sleep costs O(P + log d) plus the sleeping heavier ones among d distinct weights.
/// </remarks>
/// <param name="pcpus">P.</param>
internal sealed class WeightCap(int pcpus)
{
    // Parallel lists, ascending by weight: few distinct weights, changed only when vCPUs come, go or are adjusted.
    private readonly List<int> _weights = [];
    private readonly List<int> _members = [];
    private readonly List<int> _runnable = [];
    private long _total;
    private bool _enabled = true;

    public int RunnableCount { get; private set; }

    /// <summary>The cap times 2^<see cref="VirtualTime.WeightBits"/>; <see cref="long.MaxValue"/> when nobody is too heavy.</summary>
    public long Value8 { get; private set; } = long.MaxValue;

    public bool Enabled
    {
        get => _enabled;
        set
        {
            _enabled = value;
            Compute();
        }
    }

    public void Join(int weight)
    {
        int index = _weights.BinarySearch(weight);
        if (index < 0)
        {
            index = ~index;
            _weights.Insert(index, weight);
            _members.Insert(index, 0);
            _runnable.Insert(index, 0);
        }

        _members[index]++;
    }

    public void Leave(int weight)
    {
        int index = _weights.BinarySearch(weight);
        if (--_members[index] > 0)
            return;
        _weights.RemoveAt(index);
        _members.RemoveAt(index);
        _runnable.RemoveAt(index);
    }

    public void Woke(int weight) => Count(weight, 1);

    public void Slept(int weight) => Count(weight, -1);

    private void Count(int weight, int change)
    {
        _runnable[_weights.BinarySearch(weight)] += change;
        RunnableCount += change;
        _total += change * (long)weight;
        Compute();
    }

    private void Compute()
    {
        Value8 = long.MaxValue;
        if (pcpus == 1 || !_enabled || RunnableCount == 0)
            return;
        if (RunnableCount <= pcpus)
        {
            // Everyone has a CPU: all run at the same pace.
            Value8 = (long)_weights[_runnable.FindIndex(static count => count > 0)] << VirtualTime.WeightBits;
            return;
        }

        long rest = _total;
        int cpus = pcpus;
        for (int index = _weights.Count - 1; index >= 0; index--)
        {
            for (int count = _runnable[index]; count > 0; count--)
            {
                // More vCPUs than CPUs remain at each step, so this stops at one CPU at the latest.
                if ((Int128)_weights[index] * cpus <= rest)
                {
                    if (cpus < pcpus)
                        Value8 = (rest << VirtualTime.WeightBits) / cpus;
                    return;
                }

                rest -= _weights[index];
                cpus--;
            }
        }
    }
}
