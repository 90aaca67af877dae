namespace Tessera.Sdk;

/// <summary>A time: either an instant counted from the machine's start or a length, in nanoseconds.</summary>
/// <param name="Value">Nanoseconds; an instant is never negative.</param>
public readonly record struct Nanoseconds(long Value) : IComparable<Nanoseconds>
{
    /// <summary>No time at all; as an instant, the machine's start.</summary>
    public static readonly Nanoseconds Zero = new(0);

    /// <summary>Later than every instant.</summary>
    public static readonly Nanoseconds Never = new(long.MaxValue);

    /// <summary>This many microseconds.</summary>
    public static Nanoseconds FromMicroseconds(long value) => new(checked(value * 1_000));

    /// <summary>This many milliseconds.</summary>
    public static Nanoseconds FromMilliseconds(long value) => new(checked(value * 1_000_000));

    /// <summary>This many seconds.</summary>
    public static Nanoseconds FromSeconds(double value) => new(checked((long)(value * 1e9)));

    /// <summary>The length in seconds.</summary>
    public double TotalSeconds => Value / 1e9;

    /// <summary>The length in milliseconds.</summary>
    public double TotalMilliseconds => Value / 1e6;

    /// <summary>Sum; stays at <see cref="Never"/> instead of overflowing.</summary>
    public static Nanoseconds operator +(Nanoseconds left, Nanoseconds right)
    {
        long sum = unchecked(left.Value + right.Value);
        return left.Value > 0 && right.Value > 0 && sum < 0 ? Never : new(sum);
    }

    /// <summary>Difference.</summary>
    public static Nanoseconds operator -(Nanoseconds left, Nanoseconds right) => new(left.Value - right.Value);

    /// <summary>Earlier or shorter.</summary>
    public static bool operator <(Nanoseconds left, Nanoseconds right) => left.Value < right.Value;

    /// <summary>Later or longer.</summary>
    public static bool operator >(Nanoseconds left, Nanoseconds right) => left.Value > right.Value;

    /// <summary>Not later or longer.</summary>
    public static bool operator <=(Nanoseconds left, Nanoseconds right) => left.Value <= right.Value;

    /// <summary>Not earlier or shorter.</summary>
    public static bool operator >=(Nanoseconds left, Nanoseconds right) => left.Value >= right.Value;

    /// <summary>The earlier of two.</summary>
    public static Nanoseconds Min(Nanoseconds left, Nanoseconds right) => left.Value <= right.Value ? left : right;

    /// <summary>The later of two.</summary>
    public static Nanoseconds Max(Nanoseconds left, Nanoseconds right) => left.Value >= right.Value ? left : right;

    /// <inheritdoc/>
    public int CompareTo(Nanoseconds other) => Value.CompareTo(other.Value);

    /// <summary>The value in the largest unit that leaves it readable: "250 ns", "5 ms", "1.5 s".</summary>
    public override string ToString() => Value switch
    {
        long.MaxValue => "never",
        < 10_000 and > -10_000 => $"{Value} ns",
        < 10_000_000 and > -10_000_000 => $"{Value / 1e3:0.###} µs",
        < 10_000_000_000 and > -10_000_000_000 => $"{Value / 1e6:0.###} ms",
        _ => $"{Value / 1e9:0.###} s",
    };
}
