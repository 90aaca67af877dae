using Tessera.GuestLibrary;
using Tessera.Linux.Tests.Support;
using Tessera.Plugins.Cpu.Software;

namespace Tessera.Linux.Tests;

/// <summary>What programs can see of a processor, in a stock Debian on the engine that translates: 32-bit code, signals, faults, steps, vector registers.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
[TestFixture("debian")]
[TestFixture("debian-6.12")]
internal sealed class SoftwareProgramTests(string name)
{
    private static readonly string[] Freestanding = ["-m32", "-nostdlib", "-fno-pic", "-fno-pie", "-fno-stack-protector"];

    private LinuxMachine? _machine;
    private LinuxConsole _console = null!;

    [OneTimeSetUp]
    public void Boot()
    {
        GuestEntry guest = LinuxGuests.Require(name);
        byte[] initrd = HostRootFilesystem.Build(guest, new Dictionary<string, byte[]>
        {
            ["vectors"] = HostRootFilesystem.TryCompile("vectors.c"),
            ["faults"] = HostRootFilesystem.TryCompile("faults.c", "-pthread", "-w"),
            ["i386"] = HostRootFilesystem.TryCompile("i386.c", Freestanding),
            ["compat"] = HostRootFilesystem.TryCompile("compat.c", Freestanding),
        });
        _machine = new LinuxMachine(Engines.Software);
        (_, _console) = _machine.Boot("linux", guest, initrd: initrd);
    }

    [OneTimeTearDown]
    public void Dispose() => _machine?.Dispose();

    [Test]
    public void A_32_bit_program_runs()
    {
        RequireCompiled("i386.c", Freestanding);
        Assert.That(_console.Run("/i386"), Is.EqualTo("hello from i386\nevery register kept"));
    }

    [Test]
    public void A_32_bit_program_has_thread_local_data_signals_and_64_bit_code()
    {
        RequireCompiled("compat.c", Freestanding);
        string[] expected =
        [
            "set_thread_area 00000000", "gs:0 22222222", "gs:-4 11111111", "rt_sigaction 00000000", "signals 000003e8", "faults 0000000a", "gs:0 22222222", "vdso 00000001",
            "64-bit code 1feedf00", "child 00001100",
        ];
        Assert.That(_console.Run("/compat"), Is.EqualTo(string.Join('\n', expected)));
    }

    [Test]
    public void Processes_keep_their_vector_registers()
    {
        RequireCompiled("vectors.c");
        Assert.That(_console.Run("/vectors 12 3"), Does.Contain("vector failures: 0"));
    }

    [Test]
    public void Signals_faults_and_single_steps_come_as_on_the_host()
    {
        byte[] program = RequireCompiled("faults.c", "-pthread", "-w");
        // A host may have no hardware breakpoints to give to its programs; this engine does.
        string found = _console.Run("/faults");
        Assert.That(WithoutWatchpoint(found), Is.EqualTo(WithoutWatchpoint(HostRootFilesystem.RunProgram(program))));
        Assert.That(found, Does.Contain("watchpoint: set 0 0 hit 1 exit 9"));
    }

    private static string WithoutWatchpoint(string output) =>
        string.Join('\n', output.Split('\n').Where(line => !line.StartsWith("watchpoint:", StringComparison.Ordinal)));

    private static byte[] RequireCompiled(string source, params IEnumerable<string> options)
    {
        byte[] program = HostRootFilesystem.TryCompile(source, options);
        if (program.Length == 0)
            Assert.Ignore($"gcc with what it needs is not here to compile {source}.");
        return program;
    }
}
