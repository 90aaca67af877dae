using System.Runtime.InteropServices;
using Tessera.Experiments;
using Tessera.Hosting;
using Tessera.Sdk.Plugins;
using Tmds.Linux;

namespace Tessera.Cli.Native;

/// <summary>
/// The filters of threads that have a duty (<see cref="ThreadCallList"/>). A thread that comes before guests run is only noted, since building a machine takes more; when
/// they are about to, each is sent a signal whose handler puts the filter on it. One that comes later puts it on itself.
/// </summary>
/// <param name="signal">A signal that nobody else uses.</param>
internal sealed class ThreadDuties(int signal) : IThreadDuties
{
    private const int SysGetThreadId = 186;
    private const int SysThreadKill = 234;
    private const int Passes = 500;

    private readonly Lock _gate = new();
    private readonly List<(Thread Thread, int Id, ThreadDuty Duty)> _waiting = [];
    private Dictionary<ThreadDuty, FilterProgram>? _programs;

    /// <inheritdoc/>
    public void Enter(ThreadDuty duty)
    {
        FilterProgram program;
        lock (_gate)
        {
            if (_programs is null)
            {
                // Numbers of threads that have ended may be others' by now.
                _ = _waiting.RemoveAll(static thread => !thread.Thread.IsAlive);
                _waiting.Add((Thread.CurrentThread, (int)LibC.syscall(SysGetThreadId), duty));
                return;
            }

            program = _programs[duty];
        }

        long result = program.Install(onEveryThread: false);
        if (result != 0)
            throw new InvalidOperationException($"The system-call filter cannot be set on a thread ({Marshal.GetPInvokeErrorMessage((int)-result)}).");
    }

    /// <summary>Puts the filters on all threads that have come, and from now on on those that come.</summary>
    /// <exception cref="FailedException">A thread did not take it.</exception>
    public void Begin()
    {
        // What names the lines of a stack trace is loaded by its name.
        _ = new FailedException("").ToString();
        References.LoadHosts();
        lock (_gate)
        {
            Dictionary<ThreadDuty, FilterProgram> programs = Enum.GetValues<ThreadDuty>().ToDictionary(static duty => duty, ThreadCallList.Program);
            foreach (IGrouping<ThreadDuty, (Thread Thread, int Id, ThreadDuty Duty)> group in _waiting.GroupBy(static thread => thread.Duty))
                Begin(programs[group.Key], [.. group]);
            _waiting.Clear();
            _programs = programs;
        }
    }

    private void Begin(FilterProgram program, (Thread Thread, int Id, ThreadDuty Duty)[] threads)
    {
        FilterCount count = new();
        using SignalCode handler = SignalCode.Filtering(signal, program, count);
        // A thread whose number is another's by now is no thread of this duty, so whoever has ended is not counted; none ends while guests are not there, but by an error.
        threads = [.. threads.Where(static thread => thread.Thread.IsAlive)];
        foreach ((Thread _, int id, ThreadDuty _) in threads)
            _ = LibC.syscall(SysThreadKill, Environment.ProcessId, id, signal);
        for (int pass = 0; count.Done + threads.Count(static thread => !thread.Thread.IsAlive) < threads.Length; pass++)
        {
            if (count.Failed > 0 || pass == Passes)
                throw new FailedException($"The system-call filter cannot be set on a thread. {ProcessHardening.Variable}={ProcessHardening.Off} runs without.");
            // A handler runs when its thread is next scheduled; which may be long on a busy host.
            Thread.Sleep(Math.Min(pass, 200));
        }
    }
}
