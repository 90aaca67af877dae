using Tessera.GuestLibrary;
using Tessera.Linux.Tests.Support;
using Tessera.Plugins.Cpu.Software;

namespace Tessera.Linux.Tests;

/// <summary>The host's gdb and strace, in a stock Debian on the engine that translates: breakpoints of both kinds, steps, watchpoints, system calls.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
internal sealed class SoftwareDebuggerTests
{
    /// <summary>Of Python's library, what gdb wants before it starts.</summary>
    private static readonly string[] Modules = ["encodings", "collections", "re", "importlib"];

    private LinuxMachine? _machine;
    private LinuxConsole _console = null!;

    [OneTimeSetUp]
    public void Boot()
    {
        GuestEntry guest = LinuxGuests.Require("debian");
        Dictionary<string, byte[]> files = [];
        byte[] program = HostRootFilesystem.TryCompile("watched.c", "-g");
        if (program.Length == 0 || !TryAddTool("gdb", files) || !TryAddTool("strace", files))
            Assert.Ignore("gcc with a static C library, gdb and strace are needed on this host.");
        files["watched"] = program;
        foreach (string file in Files("/usr/share/gdb/python"))
            files[file[1..]] = File.ReadAllBytes(file);
        foreach (string library in Directory.GetDirectories("/usr/lib", "python3.*"))
        {
            foreach (string file in Directory.GetFiles(library, "*.py").Concat(Modules.SelectMany(module => Files(Path.Combine(library, module)))))
                files[file[1..]] = File.ReadAllBytes(file);
        }

        _machine = new LinuxMachine(Engines.Software);
        (_, _console) = _machine.Boot("linux", guest, 640, HostRootFilesystem.Build(guest, files));
    }

    [OneTimeTearDown]
    public void Dispose() => _machine?.Dispose();

    [Test]
    public void Gdb_breaks_steps_and_watches()
    {
        string found = Gdb("break twice", "run", "print $rdi", "stepi", "stepi", "delete", "watch counter", "continue", "print counter", "continue", "print counter", "delete", "continue");
        Assert.That(found, Does.Contain("Breakpoint 1, ").And.Contain("$1 = 1").And.Contain("Hardware watchpoint 2: counter"));
        Assert.That(found, Does.Contain("$2 = 2").And.Contain("$3 = 6").And.Contain("counter 30").And.Contain("exited normally"));
    }

    [Test]
    public void Gdb_breaks_by_the_hardware_and_watches_reads()
    {
        string found = Gdb("break main", "run", "hbreak twice", "continue", "print $rdi", "continue", "print $rdi", "delete", "awatch counter", "continue", "print counter", "delete", "continue");
        Assert.That(found, Does.Contain("Hardware assisted breakpoint 2").And.Contain("$1 = 1").And.Contain("$2 = 2"));
        Assert.That(found, Does.Contain("Hardware access (read/write) watchpoint 3: counter").And.Contain("counter 30").And.Contain("exited normally"));
    }

    [Test]
    public void Strace_shows_the_calls() =>
        Assert.That(_console.Run("/host/strace /watched 2>&1"), Does.Contain("execve(\"/watched\"").And.Contain("counter 30").And.Contain("+++ exited with 0 +++"));

    private string Gdb(params IEnumerable<string> commands)
    {
        // Line by line: a console takes only so much at once.
        foreach (string command in commands.Prepend("set startup-with-shell off"))
            _ = _console.Run($"echo '{command}' >>/commands");
        string found = _console.Run("LC_ALL=C /host/gdb -nx -batch -x /commands /watched </dev/null >/found 2>&1; cat /found");
        _ = _console.Run("rm /commands");
        return found;
    }

    private static string[] Files(string folder) => Directory.Exists(folder) ? Directory.GetFiles(folder, "*.py", SearchOption.AllDirectories) : [];

    private static bool TryAddTool(string name, Dictionary<string, byte[]> files)
    {
        try
        {
            string path = HostRootFilesystem.Run("bash", "-c", $"type -P {name}").Trim();
            files[$"host/{name}"] = File.ReadAllBytes(path);
            foreach (string word in HostRootFilesystem.Run("ldd", path).Split([' ', '\t', '\n'], StringSplitOptions.RemoveEmptyEntries))
            {
                if (word.StartsWith('/'))
                    files[word[1..]] = File.ReadAllBytes(word);
            }

            return true;
        }
        catch (InvalidOperationException)
        {
            return false;
        }
    }
}
