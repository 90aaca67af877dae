namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>How the time-stamp counter of a new vCPU is brought to the host's. Hardware virtualization starts it near 0.</summary>
internal enum CounterMethod
{
    /// <summary>KVM_VCPU_TSC_OFFSET set to 0 (Linux 5.16): exact.</summary>
    Offset,

    /// <summary>The host's value written to MSR 0x10, and measured what is left: known to some hundred nanoseconds.</summary>
    Register,

    /// <summary>Nothing: RDTSC in the guest is the host's anyway.</summary>
    AsItIs,
}

/// <summary>How far a guest's counter is from the host's.</summary>
/// <param name="Ticks">Guest's less host's.</param>
/// <param name="Error">By how much that may be wrong at most, ticks.</param>
internal readonly record struct CounterShift(long Ticks, ulong Error)
{
    /// <summary>Whether a value that the guest read between two reads of the host's counter agrees with the shift.</summary>
    public bool Agrees(ulong guest, ulong before, ulong after)
    {
        ulong earliest = before + (ulong)Ticks - Error;
        return guest - earliest <= after + (ulong)Ticks + Error - earliest;
    }
}

/// <summary>A vCPU's counter as KVM lets it be set and read.</summary>
internal interface ICounterRegister
{
    /// <summary>Sets guest's less host's; false when KVM has no such attribute.</summary>
    bool TrySetOffset(ulong offset);

    /// <summary>Writes MSR 0x10.</summary>
    bool TryWrite(ulong value);

    /// <summary>Reads MSR 0x10.</summary>
    bool TryRead(out ulong value);
}

/// <summary>Brings a vCPU's time-stamp counter to the host's, and tells what is left between them.</summary>
internal static class GuestCounter
{
    private const int Reads = 8;

    /// <summary>Sets a counter in one way.</summary>
    /// <param name="register">The vCPU's.</param>
    /// <param name="host">Reads the host's counter.</param>
    /// <param name="method">The way.</param>
    /// <param name="shift">What is left.</param>
    /// <returns>False when KVM does not offer this way, or the counter does not keep its distance.</returns>
    public static bool TrySet(ICounterRegister register, Func<ulong> host, CounterMethod method, out CounterShift shift)
    {
        shift = default;
        return method switch
        {
            CounterMethod.Offset => register.TrySetOffset(0),
            CounterMethod.Register => register.TryWrite(host()) && TryMeasure(register, host, out shift),
            _ => true,
        };
    }

    /// <summary>The first way that works here, the most exact first; null when none does.</summary>
    /// <param name="works">Tries one; only asked as far as needed.</param>
    public static CounterMethod? Choose(Func<CounterMethod, bool> works)
    {
        foreach (CounterMethod method in Enum.GetValues<CounterMethod>())
        {
            if (works(method))
                return method;
        }

        return null;
    }

    /// <summary>Each read of the guest's counter between two of the host's bounds the distance from both sides; what all allow is left.</summary>
    private static bool TryMeasure(ICounterRegister register, Func<ulong> host, out CounterShift shift)
    {
        long least = long.MinValue;
        long most = long.MaxValue;
        shift = default;
        for (int read = 0; read < Reads; read++)
        {
            ulong before = host();
            if (!register.TryRead(out ulong guest))
                return false;
            ulong after = host();
            least = Math.Max(least, (long)(guest - after));
            most = Math.Min(most, (long)(guest - before));
        }

        if (least > most)
            return false;
        ulong width = (ulong)(most - least);
        shift = new CounterShift(least + (long)(width / 2), (width + 1) / 2);
        return true;
    }
}
