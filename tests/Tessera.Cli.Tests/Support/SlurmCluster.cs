using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Tessera.Cli.Tests.Support;

/// <summary>
/// A cluster of one node: Slurm's own daemons (Debian's slurm-wlm) with files and ports of their own, as root and without authentication.
/// </summary>
internal sealed class SlurmCluster : IDisposable
{
    private readonly List<Process> _daemons = [];
    private readonly string _folder;

    /// <summary>Starts it and waits until the node takes jobs.</summary>
    /// <param name="folder">Where its files go.</param>
    public SlurmCluster(string folder)
    {
        _folder = folder;
        Directory.CreateDirectory(Path.Combine(folder, "state"));
        Directory.CreateDirectory(Path.Combine(folder, "spool"));
        string host = Environment.MachineName;
        File.WriteAllText(Configuration, $"""
            ClusterName=tessera
            SlurmctldHost={host}(127.0.0.1)
            SlurmUser=root
            SlurmdUser=root
            AuthType=auth/none
            CredType=cred/none
            ProctrackType=proctrack/linuxproc
            TaskPlugin=task/none
            SelectType=select/cons_tres
            SelectTypeParameters=CR_CPU
            MpiDefault=none
            ReturnToService=2
            StateSaveLocation={folder}/state
            SlurmdSpoolDir={folder}/spool
            SlurmctldPidFile={folder}/slurmctld.pid
            SlurmdPidFile={folder}/slurmd.pid
            SlurmctldPort={FreePort()}
            SlurmdPort={FreePort()}
            SlurmctldLogFile={folder}/slurmctld.log
            SlurmdLogFile={folder}/slurmd.log
            NodeName={host} NodeAddr=127.0.0.1 CPUs={Math.Min(2, Environment.ProcessorCount)} Features=kvm State=UNKNOWN
            PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP

            """);
        Start("slurmctld", "-D", "-f", Configuration);
        Start("slurmd", "-D", "-N", host, "-f", Configuration);
        Wait(() => Ask("sinfo", "-h", "-t", "idle", "-o", "%D").Trim() == "1");
    }

    /// <summary>Why there can be none here; null where there can.</summary>
    public static string? Lacking =>
        new[] { "/usr/sbin/slurmctld", "/usr/sbin/slurmd", "/usr/bin/sbatch" }.Any(file => !File.Exists(file))
            ? "Slurm is not on this host (Debian's package slurm-wlm)."
        : Environment.UserName != "root" ? "Slurm's daemons need root here."
        : null;

    /// <summary>What its programs read, by SLURM_CONF.</summary>
    public string Configuration => Path.Combine(_folder, "slurm.conf");

    /// <summary>Jobs that wait or run.</summary>
    public int Jobs => Ask("squeue", "-h", "-r").Count(c => c == '\n');

    /// <summary>Waits; what hangs fails with the daemons' last words.</summary>
    public void Wait(Func<bool> isSo)
    {
        long began = Stopwatch.GetTimestamp();
        while (!isSo())
        {
            if (_daemons.Exists(daemon => daemon.HasExited) || Stopwatch.GetElapsedTime(began) > Hang.Limit)
                Assert.Fail(string.Join('\n', Directory.GetFiles(_folder, "*.log").SelectMany(log => File.ReadLines(log).TakeLast(20))));
            // Slurm tells nobody when a job changes; asking costs a process each time.
            Thread.Sleep(200);
        }
    }

    public void Dispose()
    {
        foreach (Process daemon in Enumerable.Reverse(_daemons))
        {
            daemon.Kill(entireProcessTree: true);
            daemon.WaitForExit();
            daemon.Dispose();
        }
    }

    private string Ask(string program, params string[] arguments) =>
        Child.Run(program, _folder, new() { ["SLURM_CONF"] = Configuration }, "", arguments).Output;

    private void Start(string program, params string[] arguments)
    {
        ProcessStartInfo start = new($"/usr/sbin/{program}", arguments) { RedirectStandardError = true, RedirectStandardOutput = true };
        Process daemon = Process.Start(start)!;
        daemon.BeginErrorReadLine();
        daemon.BeginOutputReadLine();
        _daemons.Add(daemon);
    }

    private static string FreePort()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port.ToString(CultureInfo.InvariantCulture);
    }
}
