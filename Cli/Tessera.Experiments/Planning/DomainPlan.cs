using System.Net;
using Tessera.Guests;
using Tessera.Images;
using Tessera.Sdk;
using Tessera.Sdk.Devices;

namespace Tessera.Experiments.Planning;

/// <summary>A domain to run: everything looked up and loaded.</summary>
public sealed record DomainPlan
{
    /// <summary>The name.</summary>
    public required string Name { get; init; }

    /// <summary>Which item of the configuration it came from; equal ones are shown together.</summary>
    public required int Group { get; init; }

    /// <summary>The guest's name or the kernel's file.</summary>
    public required string Guest { get; init; }

    /// <summary>Which built-in guest it is; <see cref="GuestKind.None"/> for others.</summary>
    public GuestKind Builtin { get; init; }

    /// <summary>A built-in guest's options record; null for others and for those without options.</summary>
    public object? GuestOptions { get; init; }

    /// <summary>The kernel.</summary>
    public required KernelImage Image { get; init; }

    /// <summary>The initial RAM disk; empty for none.</summary>
    public ReadOnlyMemory<byte> Initrd { get; init; }

    /// <summary>The command line.</summary>
    public string CommandLine { get; init; } = "";

    /// <summary>Memory in bytes.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>The most memory it may ever have, in bytes; no less than it starts with.</summary>
    public long MaxMemoryBytes { get; init; }

    /// <summary>The share weight in force.</summary>
    public required int Weight { get; set; }

    /// <summary>The scheduler's per-domain options in force; null for its defaults. A swap must leave nothing of the old plugin here.</summary>
    public object? SchedulerOptions { get; set; }

    /// <summary>Where it may run now.</summary>
    public CpuSet Affinity { get; set; } = CpuSet.All;

    /// <summary>When it starts, after the machine.</summary>
    public Nanoseconds StartDelay { get; init; }

    /// <summary>Its disks.</summary>
    public IReadOnlyList<DiskPlan> Disks { get; init; } = [];

    /// <summary>Its network interfaces.</summary>
    public IReadOnlyList<NicPlan> Nics { get; init; } = [];

    /// <summary>Whether a line of user space on its console says that it is up; else it is up once started.</summary>
    public required bool SpeaksWhenUp { get; init; }
}

/// <summary>A disk to attach: everything looked up and bound.</summary>
/// <param name="Name">Its name in the guest.</param>
/// <param name="IsReadOnly">Whether the guest may only read it.</param>
/// <param name="PersistentGrants">Whether frontends may keep their grants.</param>
/// <param name="Backends">The backend, and the layers over it.</param>
public sealed record DiskPlan(string Name, bool IsReadOnly, bool PersistentGrants, IReadOnlyList<ChosenPlugin> Backends);

/// <summary>A network interface to attach: everything looked up and bound.</summary>
/// <param name="Number">Its number in the domain, from 0.</param>
/// <param name="Address">Its address.</param>
/// <param name="BytesPerSecond">The most it may send; 0 for no bound.</param>
/// <param name="AntiSpoofing">Whether it may send in its own name only.</param>
/// <param name="Addresses">The domain's IP addresses; none when any may be used.</param>
/// <param name="Backends">The backend, and the layers over it.</param>
public sealed record NicPlan(int Number, MacAddress Address, long BytesPerSecond, bool AntiSpoofing, IReadOnlyList<IPAddress> Addresses, IReadOnlyList<ChosenPlugin> Backends);
