using Tessera.Cli.Terminal;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>What was mistyped is named with what was meant, and help is found by each of its names.</summary>
internal sealed class HelpTests
{
    [TestCase("rnu", "run", "rnu", "x.json")]
    [TestCase("docter", "doctor", "docter")]
    [TestCase("--secnds", "--seconds", "run", "x.json", "--secnds", "5")]
    [TestCase("--secnds", "--seconds", "run", "--secnds", "5")]
    [TestCase("--soket", "--socket", "ctl", "list", "--soket", "x")]
    [TestCase("lst", "list", "guest", "lst")]
    [TestCase("destory", "destroy", "ctl", "destory", "one")]
    [TestCase("ubuntu", "debian", "guest", "get", "ubuntu")]
    [TestCase("rnu", "run", "help", "rnu")]
    [TestCase("lst", "list", "help", "plugins", "lst")]
    public void A_typing_error_is_named_with_what_was_meant_and_ends_with_2(string wrong, string meant, params string[] arguments)
    {
        using Support.Cli cli = new();
        cli.Environment["TESSERA_CACHE"] = TestContext.CurrentContext.WorkDirectory;
        Assert.Multiple(() =>
        {
            Assert.That(cli.Run(arguments), Is.EqualTo(ExitCode.Usage), cli.Error);
            Assert.That(cli.Error, Does.Contain(wrong).And.Contain(meant));
            Assert.That(cli.Out, Is.Empty);
        });
    }

    [TestCase("help")]
    [TestCase("help", "run")]
    [TestCase("help", "ctl", "set")]
    public void Help_is_a_verb_too(params string[] arguments)
    {
        using Support.Cli asked = new();
        using Support.Cli cli = new();
        Assert.That(asked.Run([.. arguments[1..], "--help"]), Is.Zero);
        Assert.That(cli.Run(arguments), Is.Zero, cli.Error);
        Assert.That(cli.Out, Is.EqualTo(asked.Out).And.Contain("Usage"));
    }

    [TestCase("sim", "simulate")]
    [TestCase("run x.json --sec", "--seconds")]
    public void A_shell_that_asks_for_words_gets_them(string line, string word)
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run($"[suggest:{line.Length}]", line), Is.Zero, cli.Error);
        Assert.That(cli.Out.Split('\n').Select(each => each.Trim()), Does.Contain(word));
    }

    [Test]
    public void A_default_is_said_once_in_one_unit()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("bench", "density", "--help"), Is.Zero);
        Assert.That(cli.Out, Does.Contain("5 ms by default").And.Not.Contain("µs"));
    }

    [Test]
    public void A_root_disk_that_is_named_and_not_given_is_refused()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("boot", "debian", "--cmdline", "root=/dev/xvda rw"), Is.EqualTo(ExitCode.Usage));
        Assert.That(cli.Error, Does.Contain("--root").And.Contain("--disk"));
    }
}
