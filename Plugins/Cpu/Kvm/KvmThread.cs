using System.Runtime.InteropServices;
using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>
/// A host thread that runs guests. Preemption needs no signal handler: a late real-time signal is blocked in the thread and unblocked
/// only inside KVM_RUN (KVM_SET_SIGNAL_MASK), where it ends the run with EINTR; it is then consumed with sigtimedwait.
/// </summary>
internal sealed class KvmThread : IEngineThread
{
    private readonly Lock _ending = new();
    private readonly int _signal = ThreadCalls.PreemptionSignal();
    private readonly int _threadId = ThreadCalls.CurrentThreadId();
    private readonly byte[]? _affinityBefore;
    private readonly ulong _maskBefore;
    private readonly nint _timer;
    private long _armedFor = long.MaxValue;
    private int _kicked;
    private bool _ended;

    /// <param name="hostCpu">The host CPU to stay on; null stays where the scheduler puts it.</param>
    public KvmThread(int? hostCpu)
    {
        if (hostCpu is int cpu)
        {
            _affinityBefore = new byte[ThreadCalls.AffinityBytes];
            if (!ThreadCalls.TryGetAffinity(_affinityBefore))
                _affinityBefore = null;
            Pin(cpu);
        }

        _maskBefore = ThreadCalls.Block(_signal);
        int error = ThreadCalls.CreateTimer(_signal, out _timer);
        if (error < 0)
        {
            Restore();
            throw new EngineException(
                $"timer_create for the preemption timer failed: {Marshal.GetPInvokeErrorMessage(-error)}.",
                "Raise the limit of pending signals (ulimit -i).");
        }
    }

    /// <inheritdoc/>
    public void Kick()
    {
        // Only the first kick signals: real-time signals queue up, and the flag says it all until it is taken.
        if (Interlocked.Exchange(ref _kicked, 1) != 0)
            return;
        lock (_ending)
        {
            if (!_ended)
                ThreadCalls.Send(_threadId, _signal);
        }
    }

    /// <summary>Whether a kick arrived since the last time it was asked; its signal may still be on its way and counts for nothing then.</summary>
    public bool TakeKick() => Volatile.Read(ref _kicked) != 0 && Interlocked.Exchange(ref _kicked, 0) != 0;

    /// <summary>Lets the timer end KVM_RUN at an instant. A system call only when the instant changed.</summary>
    public void Arm(long instant)
    {
        if (instant == _armedFor)
            return;
        ThreadCalls.ArmTimer(_timer, instant == long.MaxValue ? 0 : instant);
        _armedFor = instant;
    }

    /// <summary>Takes the signals that ended a run. The timer is one-shot for the latest instant, so a stale signal cannot come twice.</summary>
    public void ConsumeSignals() => ThreadCalls.Consume(_signal);

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_ending)
        {
            if (_ended)
                return;
            _ended = true;
        }

        ThreadCalls.DeleteTimer(_timer);
        Restore();
    }

    private void Restore()
    {
        ThreadCalls.Consume(_signal);
        ThreadCalls.SetMask(_maskBefore);
        if (_affinityBefore is not null)
            _ = ThreadCalls.SetAffinity(_affinityBefore);
    }

    private static void Pin(int cpu)
    {
        if (cpu is < 0 or >= ThreadCalls.AffinityBytes * 8)
            throw new EngineException($"Host CPU {cpu} is not between 0 and {(ThreadCalls.AffinityBytes * 8) - 1}.", "Name host CPUs that exist (lscpu lists them).");
        byte[] mask = new byte[ThreadCalls.AffinityBytes];
        mask[cpu / 8] = (byte)(1 << (cpu % 8));
        int errno = ThreadCalls.SetAffinity(mask);
        if (errno != 0)
        {
            throw new EngineException(
                $"Pinning a thread to host CPU {cpu} failed: {Marshal.GetPInvokeErrorMessage(errno)}.",
                "Name host CPUs that exist and that this process may use (taskset -p shows them).");
        }
    }
}
