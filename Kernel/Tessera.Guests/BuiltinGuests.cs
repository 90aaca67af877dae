namespace Tessera.Guests;

/// <summary>The guests that need no download: Xen 64-bit PV kernels of a few pages, assembled when asked for (docs/guests.md).</summary>
public static class BuiltinGuests
{
    private static readonly BuiltinGuest[] All =
    [
        new("spin", GuestKind.Spin, "counts units of CPU work", null, _ => SpinGuest.Build()),
        new("beat", GuestKind.Beat, "sleeps and wakes on a timer, records its wake-to-run latencies", typeof(BeatOptions), options => BeatGuest.Build((BeatOptions)options)),
        new("burst", GuestKind.Burst, "busy and asleep in turn, by period and duty", typeof(BurstOptions), options => BurstGuest.Build((BurstOptions)options)),
        new("paging", GuestKind.Paging, "builds, pins, changes and drops address spaces, checking each step", typeof(PagingOptions), options => PagingGuest.Build((PagingOptions)options)),
        new("fuzz", GuestKind.Fuzz, "attacks: random and malformed hypercalls, or one directed attack", typeof(FuzzOptions), options => Fuzz.FuzzGuest.Build((FuzzOptions)options)),
        new("probe", GuestKind.Probe, "asks the hypervisor a thousand things and writes each answer to its console", null, _ => Probe.ProbeGuest.Build()),
        new("hello", GuestKind.Hello, "writes a line to its console and powers off", typeof(HelloOptions), options => HelloGuest.Build((HelloOptions)options)),
    ];

    /// <summary>Their names.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. All.Select(guest => guest.Name)];

    /// <summary>The memory any of them runs in, bytes.</summary>
    public static long LeastMemoryBytes => 1L << 20;

    /// <summary>The guest of this name, or null.</summary>
    public static BuiltinGuest? Find(string name) => Array.Find(All, guest => guest.Name == name);

    /// <summary>The work of `spin` as machine code for the host's own CPU, to be compared with: position-independent, void f(long units) in the System V convention.</summary>
    public static byte[] SpinUnitsForHost() => SpinGuest.BuildForHost();

    /// <summary>A guest's kernel: a whole ELF64 file with Xen's notes, to be loaded as any other PV kernel.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="options">Its options record; null for the defaults.</param>
    /// <exception cref="ArgumentException">No such guest, or options of another one.</exception>
    public static byte[] Build(string name, object? options = null) =>
        (Find(name) ?? throw new ArgumentException($"There is no built-in guest \"{name}\"; there are {string.Join(", ", Names)}.", nameof(name))).Build(options);
}

/// <summary>One built-in guest.</summary>
public sealed class BuiltinGuest
{
    private readonly Func<object, byte[]> _build;

    internal BuiltinGuest(string name, GuestKind kind, string summary, Type? optionsType, Func<object, byte[]> build)
    {
        Name = name;
        Kind = kind;
        Summary = summary;
        OptionsType = optionsType;
        _build = build;
    }

    /// <summary>The name configurations use.</summary>
    public string Name { get; }

    /// <summary>What it writes in its report.</summary>
    public GuestKind Kind { get; }

    /// <summary>What it does, one line.</summary>
    public string Summary { get; }

    /// <summary>The record of its options, each with an <see cref="Sdk.Plugins.OptionAttribute"/>; null when it has none.</summary>
    public Type? OptionsType { get; }

    /// <summary>Assembles the kernel.</summary>
    /// <param name="options">An instance of <see cref="OptionsType"/>; null for the defaults.</param>
    /// <exception cref="ArgumentException">Options of another guest.</exception>
    public byte[] Build(object? options = null)
    {
        if (options is not null && options.GetType() != OptionsType)
            throw new ArgumentException($"`{Name}` takes {OptionsType?.Name ?? "no options"}, not {options.GetType().Name}.", nameof(options));
        return _build(options ?? (OptionsType is null ? new object() : Activator.CreateInstance(OptionsType)!));
    }
}
