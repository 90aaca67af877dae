using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Guests;

/// <summary>Options of `beat`.</summary>
public sealed record BeatOptions
{
    /// <summary>Time from one wake to the next.</summary>
    [Option("Time from one wake to the next.", Min = "100 us", Max = "10 s")]
    public Nanoseconds Period { get; init; } = Nanoseconds.FromMilliseconds(10);
}

/// <summary>Options of `burst`.</summary>
public sealed record BurstOptions
{
    /// <summary>Time from the start of one burst to the start of the next.</summary>
    [Option("Time from the start of one burst to the start of the next.", Min = "1 ms", Max = "10 s")]
    public Nanoseconds Period { get; init; } = Nanoseconds.FromMilliseconds(100);

    /// <summary>Share of each period it is busy, in percent of elapsed time.</summary>
    [Option("Share of each period it is busy, in percent of elapsed time.", Min = "1", Max = "99")]
    public int Duty { get; init; } = 50;
}

/// <summary>Options of `paging`.</summary>
public sealed record PagingOptions
{
    /// <summary>Pages of data in each address space.</summary>
    [Option("Pages of data in each address space.", Min = "2", Max = "64")]
    public int Pages { get; init; } = 8;

    /// <summary>Rounds until it powers off; 0 goes on for ever.</summary>
    [Option("Rounds until it powers off; 0 goes on for ever.", Min = "0")]
    public long Rounds { get; init; }
}

/// <summary>Options of `hello`.</summary>
public sealed record HelloOptions
{
    /// <summary>The line it writes.</summary>
    [Option("The line it writes to its console; at most 200 characters of ASCII.")]
    public string Message { get; init; } = "Hello from a Tessera domain.";
}

/// <summary>What `fuzz` does.</summary>
public enum FuzzMode
{
    /// <summary>Random and malformed hypercalls.</summary>
    Random,

    /// <summary>Maps, attaches, pins and runs on frames that are not its own.</summary>
    MapForeign,

    /// <summary>Maps its page tables writable and stores into them.</summary>
    WriteTable,

    /// <summary>Executes a byte of its own page table as a privileged instruction, again and again.</summary>
    ExecuteTable,

    /// <summary>Registers trap handlers that do not exist, then traps.</summary>
    BadTrapTable,

    /// <summary>Switches to stacks that do not exist, then traps.</summary>
    BadStack,

    /// <summary>Reads, writes and jumps into the hypervisor's range, the VMM's own entry code among it.</summary>
    JumpStub,

    /// <summary>Returns with frames it may not have.</summary>
    BadIret,

    /// <summary>Executes privileged instructions without pause.</summary>
    HltStorm,

    /// <summary>Yields without pause.</summary>
    YieldStorm,

    /// <summary>Sends events to itself without pause.</summary>
    EventStorm,
}

/// <summary>Options of `fuzz`.</summary>
public sealed record FuzzOptions
{
    /// <summary>What it does.</summary>
    [Option("What it does.")]
    public FuzzMode Mode { get; init; }

    /// <summary>Seed of its random numbers (random), or the variant of the attack (the modes that end the domain).</summary>
    [Option("Seed of the random numbers, or the variant of an attack that ends the domain.", Min = "0")]
    public long Seed { get; init; } = 1;

    /// <summary>Calls (random) or rounds (the storms) until it powers off; 0 goes on for ever.</summary>
    [Option("Calls or rounds until it powers off; 0 goes on for ever.", Min = "0")]
    public long Count { get; init; } = 100_000;
}
