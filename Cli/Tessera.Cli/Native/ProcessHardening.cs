using System.Globalization;
using Tessera.Common;
using Tessera.Sdk.Plugins;
using Tmds.Linux;

namespace Tessera.Cli.Native;

/// <summary>
/// Gives up, for good and in every thread, what a run does not need once its machine is built (docs/security.md): capabilities, new privileges by exec, core dumps,
/// system calls that no part of it makes. Capabilities belong to threads, and .NET has many that are not ours: each is sent a signal whose handler gives up its own.
/// </summary>
internal sealed unsafe class ProcessHardening
{
    /// <summary>The environment's word on it.</summary>
    public const string Variable = "TESSERA_HARDENING";

    /// <summary>Leaves the process as it is, for debuggers and tracers.</summary>
    public const string Off = "off";

    /// <summary>The most open files: a thousand domains take about ten thousand.</summary>
    public const long MostFiles = 65536;

    private const int SysPrctl = 157;
    private const int SysPrlimit = 302;
    private const int SysThreadKill = 234;
    private const int LimitCore = 4;
    private const int LimitFiles = 7;
    private const int GetSeccomp = 21;
    private const int Passes = 500;

    private readonly Lock _gate = new();
    private readonly ThreadDuties _duties = new(Signal);
    private bool _isDone;

    /// <summary>A signal that .NET and the engine leave alone; the former takes SIGRTMIN, the latter SIGRTMIN + 7.</summary>
    private static int Signal => LibC.SIGRTMIN + 9;

    /// <summary>What threads tell what they are for.</summary>
    public IThreadDuties Duties => _duties;

    /// <summary>Whether this process still has rights that ordinary users lack.</summary>
    public static bool IsPrivileged => ThreadRights.Read("self").Any(thread => thread.Capabilities != 0);

    /// <summary>What a run will give up here, for doctor.</summary>
    public static string Describe(string? setting) => setting == Off
        ? $"off ({Variable}={Off}): a run keeps the rights it was started with"
        : $"a run drops {(IsPrivileged ? "this user's capabilities" : "capabilities (this user has none)")}, new privileges and core dumps"
            + ((long)(ssize_t)LibC.syscall(SysPrctl, GetSeccomp, 0, 0, 0, 0) >= 0 ? $", {SystemCallFilter.Refused.Length} system calls, and on threads of CPUs and devices all but {ThreadCallList.Most}" : "; this kernel has no seccomp, so every system call stays");

    /// <summary>Whether a folder can be written to without capabilities: a privileged user may write where others own it, and gives that right up before there are results.</summary>
    /// <exception cref="FailedException">It cannot.</exception>
    public static void CheckFolder(string folder)
    {
        if (IsPrivileged && FileFacts.Of(folder) is { } facts && facts.Owner != FileFacts.CurrentUser && !facts.IsWritableByOthers)
        {
            throw new FailedException(
                $"{folder} belongs to another user, and a run gives up its rights to other users' files, so its results could not be written there. "
                + $"Name a folder of your own, run as its owner, or set {Variable}={Off} (docs/security.md).");
        }
    }

    /// <summary>Does it, once for the process.</summary>
    /// <exception cref="FailedException">A thread kept its rights.</exception>
    public void Apply()
    {
        lock (_gate)
        {
            if (_isDone)
                return;
            LimitTo(LimitCore, 0);
            LimitTo(LimitFiles, MostFiles);
            DropEverywhere();
            if (SystemCallFilter.Install())
                _duties.Begin();
            _isDone = true;
        }
    }

    private static void LimitTo(int resource, long most)
    {
        // SAFETY: struct rlimit64 is two numbers: the limit in force and the one it may be raised to.
        ulong* limit = stackalloc ulong[2];
        if ((long)(ssize_t)LibC.syscall(SysPrlimit, 0, resource, null, limit) != 0)
            return;
        limit[0] = Math.Min(limit[0], (ulong)most);
        limit[1] = Math.Min(limit[1], (ulong)most);
        _ = LibC.syscall(SysPrlimit, 0, resource, limit, null);
    }

    private static void DropEverywhere()
    {
        using SignalCode handler = SignalCode.Dropping(Signal);
        for (int pass = 0; pass < Passes; pass++)
        {
            ThreadRights[] left = [.. ThreadRights.Read("self").Where(thread => thread.Capabilities != 0 || !thread.HasNoNewPrivileges)];
            if (left.Length == 0)
                return;
            foreach (ThreadRights thread in left)
                _ = LibC.syscall(SysThreadKill, Environment.ProcessId, thread.Id, Signal);
            // A handler runs when its thread is next scheduled; which may be long on a busy host.
            Thread.Sleep(Math.Min(pass * 10, 200));
        }

        throw new FailedException($"A thread of this process keeps its capabilities. {Variable}={Off} runs with all rights.");
    }
}

/// <summary>A thread's rights, as /proc shows them.</summary>
/// <param name="Id">The thread.</param>
/// <param name="Capabilities">Effective, permitted, inheritable and ambient ones, in one mask.</param>
/// <param name="HasNoNewPrivileges">Whether exec gives none.</param>
internal readonly record struct ThreadRights(int Id, ulong Capabilities, bool HasNoNewPrivileges)
{
    /// <summary>All threads of a process; those that end meanwhile are left out.</summary>
    public static IEnumerable<ThreadRights> Read(string process)
    {
        foreach (string folder in Directory.GetDirectories($"/proc/{process}/task"))
        {
            string[] lines;
            try
            {
                lines = File.ReadAllLines(folder + "/status");
            }
            catch (IOException)
            {
                continue;
            }

            ulong capabilities = 0;
            bool hasNoNew = false;
            foreach (string line in lines)
            {
                if (line.StartsWith("CapInh:", StringComparison.Ordinal) || line.StartsWith("CapPrm:", StringComparison.Ordinal)
                    || line.StartsWith("CapEff:", StringComparison.Ordinal) || line.StartsWith("CapAmb:", StringComparison.Ordinal))
                    capabilities |= ulong.Parse(line.AsSpan(7).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                else if (line.StartsWith("NoNewPrivs:", StringComparison.Ordinal))
                    hasNoNew = line.EndsWith('1');
            }

            yield return new ThreadRights(int.Parse(Path.GetFileName(folder), CultureInfo.InvariantCulture), capabilities, hasNoNew);
        }
    }
}
