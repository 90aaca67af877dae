using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Tessera.Cli.Boot;
using Tessera.Cli.Control;
using Tessera.Cli.Terminal;
using Tessera.Experiments;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Hosting;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera boot`: one domain, its console on the terminal both ways.</summary>
internal sealed class BootVerb(CliHost host, ExperimentPlanner planner, IMachineFactory machines, RunControlFactory controls, HostResources resources) : IVerb
{
    private const string DomainName = "guest";
    private const string RootDisk = "xvda";

    /// <inheritdoc/>
    public Command Build()
    {
        Argument<string> target = new("kernel-or-guest") { Description = "A guest's name (`tessera guest list`), a bzImage, or an ELF file." };
        Option<string?> initrd = new("--initrd") { Description = "The initial RAM disk; for a guest, in place of its own.", HelpName = "FILE" };
        Option<string?> cmdline = new("--cmdline") { Description = "The kernel's command line; for a guest, added to its own.", HelpName = "TEXT" };
        Option<bool> root = new("--root") { Description = "Go on to the guest's root disk, a small Debian, and give a shell there; what is written to it is gone with the domain." };
        Option<string[]> disk = new("--disk")
        {
            Description = "A file or block device as the guest's next disk (xvda, or xvdb beside --root), written to. May be given several times.",
            HelpName = "FILE",
            AllowMultipleArgumentsPerToken = false,
        };
        Option<string?> memory = CommonOptions.Memory();
        Option<double?> seconds = CommonOptions.Seconds("End the domain after this long, with exit code 1.");
        Option<string?> scheduler = CommonOptions.Scheduler();
        Option<string?> engine = CommonOptions.Engine();
        Option<string?> time = CommonOptions.TimeOf();
        Option<string?> record = CommonOptions.Record();
        Option<string?> replay = CommonOptions.Replay();
        Option<bool> detach = new("--detach") { Description = "Leave the console at once: the domain goes on." };
        Option<bool> serve = new(BootBehindConsole.ServeOption) { Description = "Be the process behind the console.", Hidden = true };
        Command boot = new("boot", "Boot one domain with its console on this terminal. Ctrl-] leaves the console, and the domain goes on.") { target, initrd, cmdline, root, disk, memory, seconds, scheduler, engine, time, record, replay, detach, serve };
        boot.SetAction(parsed =>
        {
            BootRequest request = new(
                parsed.GetRequiredValue(target),
                parsed.GetValue(initrd),
                parsed.GetValue(cmdline),
                parsed.GetValue(root),
                parsed.GetValue(disk) ?? [],
                parsed.GetValue(memory),
                parsed.GetValue(scheduler),
                parsed.GetValue(engine),
                parsed.GetValue(time) ?? "real",
                CommonOptions.Files(parsed.GetValue(record), parsed.GetValue(replay)));
            CheckRoot(request);
            Nanoseconds limit = parsed.GetValue(seconds) is { } most ? Nanoseconds.FromSeconds(most) : Nanoseconds.Never;
            if (!parsed.GetValue(serve) && request.Recording?.Replay is null && (host.InIsTerminal || parsed.GetValue(detach)))
                return new BootBehindConsole(host).Boot(Words(parsed, request), DomainName, parsed.GetValue(detach));
            return Boot(request, limit, parsed.GetValue(serve), parsed.GetValue(detach));
        });
        return boot;
    }

    /// <summary>What the other process is told: the same, and what of the terminal the guest should know.</summary>
    private IReadOnlyList<string> Words(ParseResult parsed, BootRequest request)
    {
        List<string> words = [.. parsed.Tokens.Select(token => token.Value)];
        if (!IsLibraryGuest(request.Target) || host.TerminalSize() is not { } size)
            return words;
        string terminal = string.Create(CultureInfo.InvariantCulture, $"COLUMNS={size.Columns} LINES={size.Rows}{(host.Environment("TERM") is { Length: > 0 } kind ? $" TERM={kind}" : "")}");
        if (words.IndexOf("--cmdline") is > 0 and var at)
            words[at + 1] = $"{terminal} {words[at + 1]}";
        else
            words.AddRange(["--cmdline", terminal]);
        return words;
    }

    /// <summary>A kernel that is told a root disk it does not have waits for it in vain and goes on without a word.</summary>
    private static void CheckRoot(BootRequest request)
    {
        bool namesRoot = (request.Cmdline ?? "").Split(' ').Any(word => word.StartsWith("root=/dev/", StringComparison.Ordinal));
        if (namesRoot && !request.Root && request.Disks.Count == 0)
            throw new UsageException("--cmdline names a root disk, and the domain has no disk. Give it the guest's own with --root, or a file with --disk FILE.");
        if (request.Root && namesRoot)
            throw new UsageException($"--root says root=/dev/{RootDisk} itself; leave root= out of --cmdline.");
        if (request.Root && !IsLibraryGuest(request.Target))
            throw new UsageException($"--root is for fetched guests, which have a root disk (tessera guest get debian); for {request.Target} give a disk with --disk FILE.");
    }

    private static bool IsLibraryGuest(string target) => !IsFile(target) && Tessera.Guests.BuiltinGuests.Find(target) is null;

    private static bool IsFile(string target) => File.Exists(target) || target.Contains(Path.DirectorySeparatorChar, StringComparison.Ordinal);

    private int Boot(BootRequest request, Nanoseconds limit, bool serve, bool detach)
    {
        using PreparedExperiment prepared = planner.Prepare(Configuration(request), machines.Begin) with { Recording = request.Recording };
        using IRunMachine machine = machines.Create(prepared);
        using RunControl? control = serve ? controls.Open(ControlSockets.Auto, prepared) : null;
        using BootSession session = new(host, machine, prepared.Plan.Domains[0], control);
        if (control is not null)
            host.Error.WriteLine(BootBehindConsole.Announcement + control.Path);
        BootEnd end = session.Run(limit, waitForConsole: serve && !detach);
        session.Dispose();
        switch (end)
        {
            case BootEnd.Shutdown:
                host.Error.WriteLine($"tessera: the domain ended: {session.Domain.ExitReason}");
                return ExitCode.Good;
            case BootEnd.Destroyed:
                host.Error.WriteLine("tessera: the domain was destroyed.");
                return ExitCode.Good;
            case BootEnd.TimeOut:
                host.Error.WriteLine($"tessera: the domain was still running after {limit.TotalSeconds.ToString(CultureInfo.InvariantCulture)} s.");
                return ExitCode.Failed;
            case BootEnd.Interrupted:
                host.Error.WriteLine("tessera: interrupted; the domain is destroyed.");
                return ExitCode.Failed;
            case BootEnd.MachineFailed:
                host.Error.WriteLine($"tessera: the machine failed: {machine.Failure}");
                return ExitCode.Failed;
            default:
                ReportCrash(session.Domain);
                return ExitCode.Failed;
        }
    }

    private void ReportCrash(IRunDomain domain)
    {
        host.Error.WriteLine($"tessera: the domain crashed. {domain.ExitReason}");
        foreach (KeyValuePair<string, string>[] line in (domain.CrashRegisters ?? new Dictionary<string, string>()).Chunk(4))
            host.Error.WriteLine("  " + string.Join("  ", line.Select(register => $"{register.Key,-7} {register.Value}")));
    }

    /// <summary>The command line as a configuration with one domain, so that both go through the same checks.</summary>
    private Experiment Configuration(BootRequest request)
    {
        JsonObject domain = new()
        {
            ["name"] = DomainName,
            [IsFile(request.Target) ? "kernel" : "guest"] = request.Target,
        };
        if (request.Initrd is not null)
            domain["initrd"] = request.Initrd;
        // A recorded one was told of its terminal, which is another now.
        string cmdline = (request.Recording?.Replay is { } replay ? RunRecording.CommandLineOf(replay) : null)
            ?? $"{(request.Root ? $"root=/dev/{RootDisk} rw " : "")}{request.Cmdline}".Trim();
        if (cmdline.Length > 0)
            domain["cmdline"] = cmdline;
        if (request.Memory is not null && ByteSizeText.TryParse(request.Memory, out ByteSize size))
            domain["memory"] = size.ToString();
        JsonArray disks = [];
        if (request.Root)
            disks.Add(Disk(RootDisk, "copy-on-write", new JsonObject { ["base"] = $"guest:{request.Target}" }));
        foreach (string file in request.Disks)
            disks.Add(Disk($"xvd{(char)('a' + disks.Count)}", "raw-file", new JsonObject { ["path"] = Path.GetFullPath(file) }));
        if (disks.Count > 0)
            domain["disks"] = disks;
        JsonObject document = new()
        {
            ["machine"] = new JsonObject { ["pcpus"] = 1, ["time"] = request.Time },
            ["domains"] = new JsonArray(domain),
        };
        byte[] text = System.Text.Encoding.UTF8.GetBytes(document.ToJsonString());
        return ConfigurationLoader.ParseCommandLine(text, Environment.CurrentDirectory, resources, request.Scheduler, request.Engine);
    }

    private static JsonNode Disk(string name, string backend, JsonObject options) => new JsonObject
    {
        ["name"] = name,
        ["backend"] = backend,
        ["options"] = options,
    };

    /// <summary>What the command line asks for.</summary>
    private sealed record BootRequest(string Target, string? Initrd, string? Cmdline, bool Root, IReadOnlyList<string> Disks, string? Memory, string? Scheduler, string? Engine, string Time, RecordingFiles? Recording);
}
