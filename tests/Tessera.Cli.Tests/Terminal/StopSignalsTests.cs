using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Tessera.Cli.Terminal;
using Tessera.Cli.Tests.Support;
using Tessera.Hosting.Tests;

namespace Tessera.Cli.Tests.Terminal;

/// <summary>A stop that is asked for comes, orderly or not, whatever a guest, an engine or a plugin is stuck in.</summary>
internal sealed class StopSignalsTests
{
    /// <summary>An engine whose guests never come back from Run: neither deadlines nor kicks are looked at.</summary>
    private const string StuckEngine = """
        [Plugin("stuck", PluginKind.CpuEngine, "1.0.0")]
        public sealed class Stuck : Tessera.Sdk.Cpu.ICpuEngine
        {
            public Tessera.Sdk.Cpu.EngineFacts Facts { get; } = new()
            {
                Name = "stuck", Strategy = "None.", ReservedFrames = 512, HypercallInstruction = new byte[] { 0xe6, 0x7e }, FreeSlots = new[] { 256, 257, 258, 259 },
                HardwareCpuidLeaks = false, Findings = System.Array.Empty<Tessera.Sdk.Cpu.EngineFinding>(),
            };
            public Tessera.Sdk.Cpu.IEngineThread EnterThread(int hostCpu) => new EngineThread();
            public Tessera.Sdk.Cpu.IGuestMachine CreateMachine(Tessera.Sdk.Cpu.GuestMachineLayout layout) => new GuestMachine();
            public void Dispose() { }
        }

        internal sealed class EngineThread : Tessera.Sdk.Cpu.IEngineThread
        {
            public void Kick() { }
            public void Dispose() { }
        }

        internal sealed class GuestMachine : Tessera.Sdk.Cpu.IGuestMachine
        {
            public System.Collections.Generic.IReadOnlyList<Tessera.Sdk.Cpu.X64.RootEntry> RootEntries { get; } = System.Array.Empty<Tessera.Sdk.Cpu.X64.RootEntry>();
            public Tessera.Sdk.Cpu.IGuestCpu CreateCpu(int index) => new GuestCpu();
            public void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry) { }
            public void Synchronize() { }
            public void Dispose() { }
        }

        internal sealed class GuestCpu : Tessera.Sdk.Cpu.IGuestCpu
        {
            private Tessera.Sdk.Cpu.X64.GuestCpuState _state;
            public ref Tessera.Sdk.Cpu.X64.GuestCpuState State => ref _state;
            public Tessera.Sdk.Cpu.Trap Run(Tessera.Sdk.Cpu.IEngineThread thread, Nanoseconds deadline) { while (true) { } }
            public void SetDescriptorTables(in Tessera.Sdk.Cpu.X64.GuestDescriptorTables tables) { }
            public void Dispose() { }
        }
        """;

    private static readonly TimeSpan Soon = TimeSpan.FromMilliseconds(50);

    [Test]
    public void A_stop_that_takes_too_long_is_ended_and_says_so([Values(PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP)] PosixSignal signal)
    {
        using BlockingCollection<string> ends = [];
        using StopSignals signals = new(Soon, ends.Add);
        PosixSignalContext context = new(signal);
        signals.Arrived(context);
        Assert.That((context.Cancel, signals.IsRequested), Is.EqualTo((true, true)));
        Assert.That(ends.TryTake(out string? why, Hang.Limit), Is.True);
        Assert.That(why, Does.Contain("has not stopped"));
    }

    [Test]
    public void A_stop_in_time_ends_nothing()
    {
        using BlockingCollection<string> ends = [];
        StopSignals signals = new(Hang.Limit, ends.Add);
        signals.Arrived(new(PosixSignal.SIGTERM));
        signals.Dispose();
        Assert.That(signals.WaitForLimiter(Hang.Limit), Is.True);
        Assert.That(ends, Is.Empty);
    }

    [Test]
    public void An_end_is_cut_short_when_the_terminal_keeps_it()
    {
        using BlockingCollection<string> said = [];
        using ManualResetEventSlim terminal = new();
        Task end = Task.Run(() => StopSignals.End(() => terminal.Wait(), Soon, () => said.Add("exit"), () => said.Add("cut")));
        Assert.That(said.TryTake(out string? first, Hang.Limit), Is.True);
        Assert.That(first, Is.EqualTo("cut"));
        terminal.Set();
        Assert.That(end.Wait(Hang.Limit), Is.True);
        Assert.That(said.Take(), Is.EqualTo("exit"));
    }

    [Test]
    public void An_end_comes_though_the_terminal_is_gone()
    {
        List<string> said = [];
        Assert.That(
            () => StopSignals.End(() => throw new IOException("gone"), Timeout.InfiniteTimeSpan, () => said.Add("exit"), () => said.Add("cut")),
            Throws.InstanceOf<IOException>());
        Assert.That(said, Is.EqualTo(new[] { "exit" }));
    }

    [Test]
    public void A_second_signal_ends_at_once_and_a_terminal_that_closes_twice_does_not()
    {
        using BlockingCollection<string> ends = [];
        using StopSignals signals = new(Timeout.InfiniteTimeSpan, ends.Add);
        signals.Arrived(new(PosixSignal.SIGHUP));
        signals.Arrived(new(PosixSignal.SIGHUP));
        signals.Arrived(new(PosixSignal.SIGINT));
        Assert.That(ends, Is.Empty);
        signals.Arrived(new(PosixSignal.SIGTERM));
        Assert.That(ends, Is.EqualTo(new[] { "" }));
    }

    [Test]
    public void A_guest_that_never_comes_back_from_its_engine_does_not_keep_the_process()
    {
        using PluginForge forge = new();
        ProcessStartInfo start = new("env",
            ["--default-signal=TERM", "dotnet", Child.Program, "run", Repository.Sample("quickstart.json"), "--engine", forge.Plugin("Stuck", StuckEngine), "--seconds", "600"])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        start.Environment["TESSERA_PLUGINS"] = Repository.Plugins;
        using Process process = Process.Start(start)!;
        try
        {
            Task<string> output = Task.Run(process.StandardOutput.ReadToEnd);
            Task<string?> begun = Task.Run(process.StandardError.ReadLine);
            Assert.That(begun.Wait(Hang.Limit), Is.True, "it says nothing");
            Assert.That(begun.Result, Does.Contain("of 600 s"));
            Task<string> error = Task.Run(process.StandardError.ReadToEnd);
            Terminate();
            Assert.That(process.WaitForExit(TimeSpan.FromSeconds(3)), Is.False, "the orderly stop waits for the guest");
            Terminate();
            Assert.That(process.WaitForExit(Hang.Limit), Is.True);
            Assert.That(process.ExitCode, Is.EqualTo(ExitCode.Failed));
            Assert.That(error.Result + output.Result, Does.Not.Contain("has not stopped"));
        }
        finally
        {
            // Its guest would spin for ever.
            process.Kill(entireProcessTree: true);
        }

        void Terminate()
        {
            using Process kill = Process.Start("kill", ["-s", "TERM", process.Id.ToString(CultureInfo.InvariantCulture)]);
            kill.WaitForExit();
        }
    }
}
