using System.Globalization;
using System.Reflection;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Sdk.Conformance;

/// <summary>What a policy under test promises. Null or false: not promised, not checked.</summary>
public sealed record SchedulerDeclaration
{
    /// <summary>The policy's name in the report.</summary>
    public required string Name { get; init; }

    /// <summary>No physical CPU idles while a vCPU waits that may run there.</summary>
    public bool WorkConserving { get; init; } = true;

    /// <summary>It schedules several physical CPUs.</summary>
    public bool MultiCpu { get; init; } = true;

    /// <summary>Affinities are kept, also when they change.</summary>
    public bool Affinity { get; init; } = true;

    /// <summary>The greatest error of a CPU-bound vCPU's share by weight, as a part of that share (0.02 is 2 %).</summary>
    public double? ShareError { get; init; }

    /// <summary>The longest a runnable vCPU waits among <see cref="VcpusPerPcpu"/> CPU-bound ones of equal weight on a physical CPU.</summary>
    public Nanoseconds? StarvationBound { get; init; }

    /// <summary>The longest from wake to running of a vCPU that needs 0.5 ms every 20 ms beside <see cref="VcpusPerPcpu"/> CPU-bound ones.</summary>
    public Nanoseconds? WakeLatencyBound { get; init; }

    /// <summary>How many vCPUs with default options the promises hold for on each physical CPU.</summary>
    public int VcpusPerPcpu { get; init; } = 8;

    /// <summary>Makes the per-domain options that cap a vCPU at so many percent of a physical CPU.</summary>
    public Func<int, object>? CapOptions { get; init; }

    /// <summary>Makes the per-domain options that reserve a slice in each period (first the period, then the slice).</summary>
    public Func<Nanoseconds, Nanoseconds, object>? ReservationOptions { get; init; }

    /// <summary>Up to which utilisation of one physical CPU periodic tasks with reservations meet every deadline, 0 to 1.</summary>
    public double? DeadlineUtilisation { get; init; }

    /// <summary>Makes per-domain options with all defaults; null when the policy has none.</summary>
    public Func<object>? DefaultOptions { get; init; }

    /// <summary>Reads the declaration from a plugin class: <see cref="PluginAttribute"/> and <see cref="SchedulerPropertiesAttribute"/>.</summary>
    /// <param name="plugin">The class; without properties it promises nothing beyond that of every policy.</param>
    /// <exception cref="ArgumentException">A named option does not exist.</exception>
    public static SchedulerDeclaration Of(Type plugin)
    {
        PluginAttribute? description = plugin.GetCustomAttribute<PluginAttribute>();
        string name = description?.Name ?? plugin.Name;
        Type? options = description?.DomainOptions;
        Func<object>? defaults = options is null ? null : () => Activator.CreateInstance(options)!;
        if (plugin.GetCustomAttribute<SchedulerPropertiesAttribute>() is not { } promised)
            return new() { Name = name, WorkConserving = false, Affinity = true, DefaultOptions = defaults };
        return new()
        {
            Name = name,
            WorkConserving = promised.WorkConserving,
            MultiCpu = promised.MultiCpu,
            Affinity = promised.Affinity,
            ShareError = promised.ShareErrorPercent > 0 ? promised.ShareErrorPercent / 100 : null,
            StarvationBound = Milliseconds(promised.StarvationBoundMs),
            WakeLatencyBound = Milliseconds(promised.WakeLatencyBoundMs),
            VcpusPerPcpu = Math.Max(1, promised.VcpusPerPcpu),
            CapOptions = promised.CapOption is { } cap ? Setter(plugin, options, cap) is var set ? percent => set(defaults!(), percent) : null : null,
            ReservationOptions = promised is { PeriodOption: { } period, SliceOption: { } slice } ? Reservation(plugin, options, period, slice) : null,
            DeadlineUtilisation = promised.DeadlineUtilisation > 0 ? promised.DeadlineUtilisation : null,
            DefaultOptions = defaults,
        };
    }

    private static Nanoseconds? Milliseconds(double value) => value > 0 ? Nanoseconds.FromSeconds(value / 1e3) : null;

    private static Func<Nanoseconds, Nanoseconds, object> Reservation(Type plugin, Type? options, string period, string slice)
    {
        Func<object, object, object> setPeriod = Setter(plugin, options, period);
        Func<object, object, object> setSlice = Setter(plugin, options, slice);
        return (length, part) => setSlice(setPeriod(Activator.CreateInstance(options!)!, length), part);
    }

    private static Func<object, object, object> Setter(Type plugin, Type? options, string name)
    {
        PropertyInfo property = options?.GetProperty(name)
            ?? throw new ArgumentException($"{plugin.Name}: its SchedulerProperties name the per-domain option {name}, which {options?.Name ?? "a policy without DomainOptions"} does not have.");
        return (record, value) =>
        {
            property.SetValue(record, value is int number && property.PropertyType != typeof(int) ? Convert.ChangeType(number, property.PropertyType, CultureInfo.InvariantCulture) : value);
            return record;
        };
    }
}
