using Tessera.Cli.Views;
using Tessera.Lab.Results;

namespace Tessera.Cli.Tests.Runs;

/// <summary>Code that an engine does not run is named with its bytes and how often it was met.</summary>
internal sealed class UnknownCodeTextTests
{
    [TestCase("Rdpru", "0f01fd", 1, "web: the engine does not run Rdpru (0f01fd), met once: an exception in the guest")]
    [TestCase("16-bit code", "", 1234, "web: the engine does not run 16-bit code, met 1,234 times: an exception in the guest")]
    public void A_line_says_what_and_how_often(string what, string bytes, long count, string line) =>
        Assert.That(UnknownCodeText.Of("web", new UnknownCodeResult(what, bytes, count)), Is.EqualTo(line));
}
