using System.Security.Cryptography;
using Tessera.GuestLibrary;
using Tessera.Linux.Tests.Support;

namespace Tessera.Linux.Tests;

/// <summary>Programs of the host, run in a guest, come to the host's own results; nothing of a process's state is lost or mixed up.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
[TestFixtureSource(nameof(Fixtures))]
internal sealed class WorkTests(string engine, string name)
{
    private const int BigFileBytes = 40 << 20;
    private const int Mebibytes = 320;

    /// <summary>What the shell says of a program that SIGSEGV ended.</summary>
    private const int SegmentationFault = 139;

    private const string SortLines = "seq 1 100000 | tr 0-9 5-90-4 | LC_ALL=C sort | sha256sum";
    private const string ShortProcesses = "i=0; while [ $i -lt 180 ]; do expr $i '*' 7; i=$((i+1)); done | md5sum";
    private const string ManyPipes = "seq 1 3000 | cat | tr 1 2 | sort -n | cat | xargs -n 500 -P 4 echo | wc -w; echo $BASH_VERSION";

    private static readonly TestFixtureData[] Fixtures = [.. Engines.EachWith("debian", "debian-6.12")];

    private byte[] _big = [];
    private LinuxMachine? _machine;
    private LinuxConsole _console = null!;

    [OneTimeSetUp]
    public void Boot()
    {
        GuestEntry guest = LinuxGuests.Require(name);
        _big = new byte[BigFileBytes];
        new Random(20030919).NextBytes(_big);
        byte[] initrd = HostRootFilesystem.Build(guest, new Dictionary<string, byte[]>
        {
            ["big"] = _big,
            ["sort.sh"] = System.Text.Encoding.UTF8.GetBytes(SortLines),
            ["short.sh"] = System.Text.Encoding.UTF8.GetBytes(ShortProcesses),
            ["pipes.sh"] = System.Text.Encoding.UTF8.GetBytes(ManyPipes),
            ["vectors"] = HostRootFilesystem.TryCompile("vectors.c"),
            ["faults"] = HostRootFilesystem.TryCompile("faults.c", "-pthread", "-w"),
            ["i386"] = HostRootFilesystem.TryCompile("i386.c", "-m32", "-nostdlib", "-fno-pic", "-fno-stack-protector"),
        });
        _machine = new LinuxMachine(engine);
        (_, _console) = _machine.Boot("linux", guest, Mebibytes, initrd);
        _ = _console.Run("export PATH=/host:$PATH");
    }

    [OneTimeTearDown]
    public void Dispose() => _machine?.Dispose();

    [Test]
    public void A_file_of_40_MB_hashes_to_the_hosts_sum() =>
        Assert.That(_console.Run("sha256sum </big"), Does.StartWith(Convert.ToHexStringLower(SHA256.HashData(_big))));

    [TestCase("sort.sh", SortLines)]
    [TestCase("short.sh", ShortProcesses)]
    [TestCase("pipes.sh", ManyPipes)]
    public void Dynamic_programs_give_the_hosts_answers(string script, string work) =>
        Assert.That(_console.Run($"/host/bash /{script}"), Is.EqualTo(HostRootFilesystem.Run("bash", "-c", work).TrimEnd()));

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
        string expected = HostRootFilesystem.RunProgram(program);
        string found = _console.Run("/faults");
        // Some KVMs do not arm a guest's hardware breakpoints; the engine probes it.
        if (!_machine!.HasHardwareBreakpoints)
            (expected, found) = (WithoutWatchpoint(expected), WithoutWatchpoint(found));
        Assert.That(found, Is.EqualTo(expected));
    }

    [Test]
    public void A_32_bit_program_runs_or_is_ended_where_the_engine_has_no_such_code()
    {
        RequireCompiled("i386.c", "-m32", "-nostdlib", "-fno-pic", "-fno-stack-protector");
        if (_machine!.RefusesOldCode)
            Assert.That(_console.Run("/i386", SegmentationFault), Does.Not.Contain("hello"));
        else
            Assert.That(_console.Run("/i386"), Is.EqualTo("hello from i386\nevery register kept"));
    }

    private static byte[] RequireCompiled(string source, params IEnumerable<string> options)
    {
        byte[] program = HostRootFilesystem.TryCompile(source, options);
        if (program.Length == 0)
            Assert.Ignore($"gcc with a static C library is needed to compile {source}.");
        return program;
    }

    private static string WithoutWatchpoint(string output) =>
        string.Join('\n', output.Split('\n').Where(line => !line.StartsWith("watchpoint:", StringComparison.Ordinal)));
}
