using FsCheck;
using FsCheck.Fluent;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Hosting.Tests;

internal sealed class UnitTextTests
{
    /// <summary>Numbers of every magnitude, round ones among them.</summary>
    private static readonly Arbitrary<long> Numbers = Gen.Choose(int.MinValue, int.MaxValue)
        .SelectMany(_ => Gen.Choose(0, 62), (value, shift) => (Value: (long)value, Shift: shift))
        .SelectMany(_ => Gen.Elements(1L, 1_000, 1_000_000, 1_000_000_000, 1L << 20, 1L << 30), (pair, factor) => unchecked((pair.Value << pair.Shift) * factor))
        .ToArbitrary();

    [Test]
    public void A_time_reads_back_as_it_was_written() => Prop.ForAll(Numbers, value =>
    {
        Nanoseconds time = new(value);
        return NanosecondsText.TryParse(NanosecondsText.Format(time), out Nanoseconds read) && read == time;
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(10_000));

    [Test]
    public void A_size_reads_back_as_it_was_written() => Prop.ForAll(Numbers, value =>
    {
        ByteSize size = new(value & long.MaxValue);
        return ByteSizeText.TryParse(size.ToString(), out ByteSize read) && read == size;
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(10_000));

    [Test]
    public void Any_text_is_read_or_refused_with_a_reason() => Prop.ForAll<string>(text =>
    {
        bool time = NanosecondsText.TryParse(text, out _, out string timeProblem);
        bool size = ByteSizeText.TryParse(text, out _, out string sizeProblem);
        return time == (timeProblem.Length == 0) && size == (sizeProblem.Length == 0);
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(1_000));

    [TestCase("5 ms", 5_000_000)]
    [TestCase("5ms", 5_000_000)]
    [TestCase(" 250us ", 250_000)]
    [TestCase("100 \u00B5s", 100_000)]
    [TestCase("100 \u03BCs", 100_000)]
    [TestCase("1.5 s", 1_500_000_000)]
    [TestCase("0.25 ms", 250_000)]
    [TestCase("2 min", 120_000_000_000)]
    [TestCase("7 ns", 7)]
    [TestCase("-3 us", -3_000)]
    [TestCase("0", 0)]
    [TestCase("0 s", 0)]
    [TestCase("never", long.MaxValue)]
    [TestCase("9223372036854775806 ns", long.MaxValue - 1)]
    public void A_time_is_read(string text, long nanoseconds)
    {
        Assert.That(NanosecondsText.TryParse(text, out Nanoseconds time), Is.True);
        Assert.That(time.Value, Is.EqualTo(nanoseconds));
    }

    [TestCase("")]
    [TestCase(null)]
    [TestCase("5")]
    [TestCase("ms")]
    [TestCase("5 MS")]
    [TestCase("5 m s")]
    [TestCase("5,5 ms")]
    [TestCase("1e3 ms")]
    [TestCase("5 ms 3 us")]
    [TestCase("--5 ms")]
    [TestCase("9223372036854775808 ns")]
    [TestCase("79228162514264337593543950335 min")]
    [TestCase("999999999999999999999999999999999999 ns")]
    public void What_is_no_time_is_refused(string? text)
    {
        Assert.That(NanosecondsText.TryParse(text, out _, out string problem), Is.False);
        Assert.That(problem, Is.Not.Empty);
    }

    [TestCase(1_500_000_000, "1.5 s")]
    [TestCase(5_000_000, "5 ms")]
    [TestCase(1_234_500, "1234.5 us")]
    [TestCase(250_000, "250 us")]
    [TestCase(0, "0 ns")]
    [TestCase(999, "999 ns")]
    public void A_time_is_written_in_its_largest_exact_unit(long nanoseconds, string text) => Assert.That(NanosecondsText.Format(new(nanoseconds)), Is.EqualTo(text));

    [TestCase("256 MiB", 256L << 20)]
    [TestCase("256MiB", 256L << 20)]
    [TestCase("1.5 GiB", 3L << 29)]
    [TestCase("4096 B", 4096)]
    [TestCase("2 TiB", 2L << 40)]
    [TestCase("0 B", 0)]
    public void A_size_is_read(string text, long bytes)
    {
        Assert.That(ByteSizeText.TryParse(text, out ByteSize size), Is.True);
        Assert.That(size.Bytes, Is.EqualTo(bytes));
    }

    [TestCase("256")]
    [TestCase("256 MB")]
    [TestCase("256M")]
    [TestCase("-1 KiB")]
    [TestCase("0.3 B")]
    [TestCase("8388608 TiB")]
    public void What_is_no_size_is_refused(string text) => Assert.That(ByteSizeText.TryParse(text, out _), Is.False);
}
