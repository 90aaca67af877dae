using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Tessera.Experiments.Runs;

namespace Tessera.Cli.Tests.Runs;

/// <summary>Whoever comes later to a console sees the last of it, in order, and from then on everything.</summary>
internal sealed class ConsoleFanTests
{
    private const int Kept = 16 * 1024;

    [Test]
    public void What_is_kept_is_the_end_of_what_was_written() =>
        Prop.ForAll<PositiveInt[], PositiveInt>(KeepsTheEnd).QuickCheckThrowOnFailure();

    [Test]
    public void Who_no_longer_listens_hears_nothing()
    {
        ConsoleFan fan = new();
        int heard = 0;
        fan.Listen(output => heard += output.Length).Dispose();
        fan.Append("x"u8.ToArray());
        Assert.That(heard, Is.Zero);
    }

    private static bool KeepsTheEnd(PositiveInt[] lengths, PositiveInt factor)
    {
        ConsoleFan fan = new();
        StringBuilder written = new();
        foreach (PositiveInt length in lengths)
        {
            string text = string.Concat(Enumerable.Range(written.Length, length.Get * (1 + (factor.Get * 97 % 300))).Select(number => (char)('a' + (number % 26))));
            written.Append(text);
            fan.Append(Encoding.ASCII.GetBytes(text));
        }

        StringBuilder heard = new();
        using IDisposable listening = fan.Listen(output => heard.Append(Encoding.ASCII.GetString(output.Span)));
        fan.Append("END"u8.ToArray());
        string all = written.ToString();
        return heard.ToString() == (all.Length > Kept ? all[^Kept..] : all) + "END";
    }
}
