using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Terminal;

/// <summary>The program on a pseudo-terminal (made by script(1)), and under signals.</summary>
[NonParallelizable]
internal sealed partial class PseudoTerminalTests
{
    private const string Script = "/usr/bin/script";

    [SetUp]
    public void SetUp()
    {
        if (!File.Exists(Script))
            Assert.Ignore($"{Script} (bsdutils) is not installed.");
    }

    [Test]
    public void The_leave_key_leaves_the_console_and_the_domain_goes_on_until_it_is_destroyed()
    {
        string folder = Directory.CreateTempSubdirectory("tp").FullName;
        string tessera = $"dotnet {Child.Program}";
        string output = OnTerminal(
            $"export XDG_RUNTIME_DIR={folder}; stty -g; {tessera} boot spin; echo code $?; stty -g; {tessera} ctl list; {tessera} ctl destroy guest --yes; echo code $?", "\u001d");
        string[] modes = [.. Mode().Matches(output).Select(match => match.Value)];
        Assert.Multiple(() =>
        {
            Assert.That(output, Does.Contain("guest goes on. Back to it: tessera ctl console guest --socket"));
            Assert.That(output, Does.Match("guest +1 +spin +running"), "it runs after the console was left");
            Assert.That(output, Does.Contain("boot spin, process").And.Contain("guest: destroyed"));
            Assert.That(output.Split("code 0"), Has.Length.EqualTo(3));
            Assert.That(modes, Has.Length.EqualTo(2), output);
            Assert.That(modes[1], Is.EqualTo(modes[0]));
        });
        Directory.Delete(folder, recursive: true);
    }

    [Test]
    public void A_terminal_that_is_closed_ends_a_run_in_order_with_its_result()
    {
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"hangup-{Guid.NewGuid():N}");
        string said = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"pid-{Guid.NewGuid():N}");
        // Whoever runs the tests may have let them ignore hang-ups (nohup), which children inherit.
        ProcessStartInfo start = new(Script, ["-qec", $"echo $$ >{said}; exec env --default-signal=HUP dotnet {Child.Program} run {Repository.Sample("quickstart.json")} --seconds 600 --out {folder}", "/dev/null"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        start.Environment["TESSERA_PLUGINS"] = Repository.Plugins;
        start.Environment["TERM"] = "xterm-256color";
        using Process terminal = Process.Start(start)!;

        // The live table says that the guests run.
        System.Text.StringBuilder shown = new();
        char[] some = new char[256];
        int count;
        while (!shown.ToString().Contains("measuring", StringComparison.Ordinal) && (count = terminal.StandardOutput.Read(some)) > 0)
            shown.Append(some, 0, count);
        int run = int.Parse(File.ReadAllText(said), CultureInfo.InvariantCulture);
        terminal.Kill();
        Assert.That(SpinWait.SpinUntil(() => HasEnded(run), Hang.Limit), Is.True, "it goes on without its terminal");
        Assert.That(File.ReadAllText(Path.Combine(folder, "result.json")), Does.Contain("\"outcome\": \"interrupted\""));
        Directory.Delete(folder, recursive: true);
        File.Delete(said);
    }

    /// <summary>Gone, or waiting for a parent that takes no notice: its own was killed.</summary>
    private static bool HasEnded(int process)
    {
        try
        {
            return File.ReadAllText($"/proc/{process}/stat").Split(") ")[^1].StartsWith('Z');
        }
        catch (IOException)
        {
            return true;
        }
    }

    [Test]
    public void The_terminal_is_as_before_after_a_domain_that_ended_itself()
    {
        string output = OnTerminal($"stty -g; dotnet {Child.Program} boot hello; echo code $?; stty -g", "");
        string[] modes = [.. Mode().Matches(output).Select(match => match.Value)];
        Assert.Multiple(() =>
        {
            Assert.That(output, Does.Contain("code 0").And.Contain("Hello from a Tessera domain."));
            Assert.That(modes.Distinct().Count(), Is.EqualTo(1), output);
        });
    }

    [Test]
    public void A_run_on_a_terminal_shows_a_live_table_and_then_the_summary()
    {
        string output = OnTerminal($"stty cols 150 rows 30; dotnet {Child.Program} run {Repository.Sample("quickstart.json")} --seconds 2; echo code $?", "");
        Assert.Multiple(() =>
        {
            Assert.That(output, Does.Contain("code 0").And.Contain("measuring, ").And.Contain("points off"));
            Assert.That(output, Does.Contain("\u001b[?25l").And.Contain("\u001b[?25h"), "the cursor is hidden and shown again");
        });
    }

    [Test]
    public void NO_COLOR_is_honoured()
    {
        string output = OnTerminal($"stty cols 150 rows 30; NO_COLOR=1 dotnet {Child.Program} plugins list", "");
        Assert.That(output, Does.Contain("round-robin").And.Not.Match("\u001b\\[[0-9;]*3[0-9]"));
    }

    [TestCase("INT")]
    [TestCase("TERM")]
    public void A_signal_stops_a_run_in_order_and_leaves_partial_results(string signal)
    {
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"signal-{Guid.NewGuid():N}");
        // A job in the background inherits an ignored SIGINT, which .NET respects: the child gets the default back.
        ProcessStartInfo start = new("env", [$"--default-signal={signal}", "dotnet", Child.Program, "run", Repository.Sample("quickstart.json"), "--engine", Engines.FirstUsable, "--seconds", "60", "--out", folder])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        start.Environment["TESSERA_PLUGINS"] = Repository.Plugins;
        using Process process = Process.Start(start)!;

        // The first line of progress says that the guests run.
        Assert.That(process.StandardError.ReadLine(), Does.Contain("measuring"));
        using Process kill = Process.Start("kill", ["-s", signal, process.Id.ToString(CultureInfo.InvariantCulture)]);
        string rest = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.Multiple(() =>
        {
            Assert.That(process.ExitCode, Is.EqualTo(1));
            Assert.That(rest, Does.Contain("interrupted"));
            Assert.That(File.ReadAllText(Path.Combine(folder, "result.json")), Does.Contain("\"outcome\": \"interrupted\""));
        });
        Directory.Delete(folder, recursive: true);
    }

    private static string OnTerminal(string command, string keys)
    {
        (int _, string output, string error) = Child.Run(Script, Repository.Root, new() { ["TERM"] = "xterm-256color" }, keys, "-qec", command, "/dev/null");
        return output + error;
    }

    [GeneratedRegex("[0-9a-f]+(:[0-9a-f]+){20,}")]
    private static partial Regex Mode();
}
