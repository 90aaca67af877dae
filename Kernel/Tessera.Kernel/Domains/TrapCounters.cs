using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Domains;

/// <summary>How often a vCPU trapped, by kind, vector and hypercall. Written by its physical CPU, read by anybody.</summary>
internal sealed class TrapCounters
{
    public const int Hypercalls = 64;

    private static readonly string[] ExceptionNames =
    [
        "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "vector 9", "#TS", "#NP", "#SS", "#GP", "#PF", "vector 15",
        "#MF", "#AC", "#MC", "#XM", "#VE", "#CP",
    ];

    public long[] ByHypercall { get; } = new long[Hypercalls];

    public long[] ByVector { get; } = new long[32];

    public long Syscalls;
    public long Preemptions;
    public long Upcalls;
    public long Emulated;

    /// <summary>All hypercalls.</summary>
    public long AllHypercalls => Sum(ByHypercall);

    /// <summary>All traps, hypercalls included.</summary>
    public long AllTraps => AllHypercalls + Syscalls + Preemptions + Upcalls + Emulated + Sum(ByVector);

    /// <summary>Counts by name, without the zeros.</summary>
    public IReadOnlyDictionary<string, long> TrapsByKind()
    {
        SortedDictionary<string, long> traps = new(StringComparer.Ordinal);
        Put(traps, "hypercall", ByHypercall.Sum());
        Put(traps, "syscall", Syscalls);
        Put(traps, "preempted", Preemptions);
        Put(traps, "upcall", Upcalls);
        Put(traps, "emulated", Emulated);
        for (int vector = 0; vector < ByVector.Length; vector++)
            Put(traps, vector < ExceptionNames.Length ? ExceptionNames[vector] : $"vector {vector}", ByVector[vector]);
        return traps;
    }

    /// <summary>Hypercalls by their names in the ABI, without the zeros.</summary>
    public IReadOnlyDictionary<string, long> HypercallsByName()
    {
        SortedDictionary<string, long> calls = new(StringComparer.Ordinal);
        for (int number = 0; number < Hypercalls; number++)
            Put(calls, Enum.IsDefined((Hypercall)number) ? Snake(((Hypercall)number).ToString()) : $"hypercall_{number}", ByHypercall[number]);
        return calls;
    }

    private static long Sum(long[] counts)
    {
        long sum = 0;
        foreach (long count in counts)
            sum += count;
        return sum;
    }

    private static void Put(SortedDictionary<string, long> counts, string name, long count)
    {
        if (count > 0)
            counts[name] = count;
    }

    private static string Snake(string name) =>
        string.Concat(name.Select((c, index) => char.IsUpper(c) && index > 0 ? "_" + char.ToLowerInvariant(c) : $"{char.ToLowerInvariant(c)}"));
}
