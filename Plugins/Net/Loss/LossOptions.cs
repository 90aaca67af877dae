using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Loss;

/// <summary>Options of a bad wire.</summary>
public sealed record LossOptions
{
    [Option("Which frames: out is what the domain sends, in what it gets. Two layers give each direction its own.")]
    public LossDirection Direction { get; init; } = LossDirection.Both;

    [Option("Frames lost, percent.", Min = "0", Max = "100")]
    public double Loss { get; init; }

    [Option("Frames that arrive twice, percent.", Min = "0", Max = "100")]
    public double Duplication { get; init; }

    [Option("How long every frame is under way.", Min = "0 s", Max = "60 s")]
    public Nanoseconds Delay { get; init; } = Nanoseconds.Zero;

    [Option("The most that is added to the delay, drawn evenly for each frame.", Min = "0 s", Max = "60 s")]
    public Nanoseconds Jitter { get; init; } = Nanoseconds.Zero;

    [Option("Whether a frame waits for those before it; without it, jitter reorders.")]
    public bool KeepOrder { get; init; }

    [Option("The most bytes a second; 0 for no bound. Frames queue for it.", Min = "0 B", Max = "1 TiB")]
    public ByteSize BytesPerSecond { get; init; }

    [Option("Memory for frames under way, in each direction; those beyond it are lost.", Min = "128 KiB", Max = "256 MiB")]
    public ByteSize Buffer { get; init; } = new(4 << 20);

    [Option("The same seed and address lose, repeat and delay the same frames, counted from the first.")]
    public long Seed { get; init; } = 1;
}

/// <summary>Frames of which direction.</summary>
public enum LossDirection
{
    /// <summary>All.</summary>
    Both,

    /// <summary>Those that the domain sends.</summary>
    Out,

    /// <summary>Those that it gets.</summary>
    In,
}
