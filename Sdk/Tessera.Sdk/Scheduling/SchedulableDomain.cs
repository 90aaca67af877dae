using System.Collections.Immutable;

namespace Tessera.Sdk.Scheduling;

/// <summary>A domain as schedulers see it: its parameters, which hold for all its vCPUs. The core writes it; policies read it.</summary>
public sealed class SchedulableDomain
{
    /// <summary>Makes the handle; done by the core's owner, and by tests.</summary>
    /// <param name="id">Which domain.</param>
    /// <param name="weight">Its share weight, at least 1; 256 is the customary default.</param>
    /// <param name="options">The policy's own options record of it, or null for the policy's defaults.</param>
    public SchedulableDomain(DomainId id, int weight = 256, object? options = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(weight, 1);
        Id = id;
        Weight = weight;
        Options = options;
    }

    /// <summary>Which domain.</summary>
    public DomainId Id { get; }

    /// <summary>Its share weight, at least 1: each of its vCPUs is scheduled by it.</summary>
    public int Weight { get; internal set; }

    /// <summary>
    /// The policy's options of this domain: the record its plugin attribute names as DomainOptions; null means its defaults.
    /// </summary>
    public object? Options { get; internal set; }

    /// <summary>
    /// Those of its vCPUs that are scheduled, in the order in which they joined. A policy that takes over finds all of them here from the
    /// first Add on.
    /// </summary>
    public ImmutableArray<SchedulableVcpu> Vcpus { get; internal set; } = [];

    /// <summary>The policy's options of this domain, or its defaults when the domain has none.</summary>
    /// <typeparam name="T">The record that the policy's plugin attribute names as DomainOptions.</typeparam>
    /// <param name="defaults">The policy's defaults.</param>
    /// <exception cref="ArgumentException">The options are another policy's.</exception>
    public T OptionsOr<T>(T defaults)
        where T : class => Options switch
        {
            null => defaults,
            T own => own,
            _ => throw new ArgumentException($"Domain {Id} has options of type {Options.GetType().Name}; this policy needs {typeof(T).Name}."),
        };

    /// <inheritdoc/>
    public override string ToString() => $"{Id} (weight {Weight})";
}
