using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Kernel.Machines;

/// <content>Virtual time: no thread of its own, but a place in time and turns, which <see cref="VirtualMachineDriver"/> gives.</content>
internal sealed partial class PhysicalCpu
{
    private readonly VirtualMachineDriver? _virtual;

    private long _here;
    private long _turnEnds;
    private long _kickedAt;
    private Nanoseconds _idleUntil;

    /// <summary>Where it has got to, in instructions.</summary>
    public long Reached => _here;

    /// <summary>The policy has hung in a call of its turn: another one is this physical CPU now, or will be in a moment.</summary>
    public bool IsLost => _lost;

    /// <summary>When it has something to do next, in instructions.</summary>
    public long NextTurn
    {
        get
        {
            if (_idle == 0)
                return _here;
            long at = Volatile.Read(ref _kicked) != 0 ? _kickedAt : _virtual!.Time.Clock.WorkAt(Nanoseconds.Min(_idleUntil, Timers.Next));
            return Math.Max(at, _here);
        }
    }

    /// <summary>Goes on from <see cref="NextTurn"/> to the end of a turn, or a little beyond.</summary>
    /// <param name="engineThread">The thread of all physical CPUs.</param>
    /// <param name="length">How long the turn is, in instructions.</param>
    public void TakeTurn(IEngineThread engineThread, long length)
    {
        Time.WorkClock clock = _virtual!.Time.Clock;
        clock.Work = _here = NextTurn;
        _turnEnds = Math.Min(_here + length, Math.Max(_virtual.Time.Next, _here + 1));
        _idle = 0;
        if (_running is { } vcpu)
            GoOn(vcpu, engineThread);
        else
            Turn(engineThread);
        if (!_lost)
            _here = clock.Work;
    }

    /// <summary>Something is to happen at a time: the turn that goes on ends there.</summary>
    public void Shorten(long at) => _turnEnds = Math.Min(_turnEnds, Math.Max(at, _here + 1));

    /// <summary>A domain is to be destroyed or saved: what it has of it between two turns is let go.</summary>
    public void LetGo(Domain domain)
    {
        if (_running?.Domain != domain)
            return;
        _running.WorkedUntil = _here;
        LetGo();
        _running = null;
    }

    /// <summary>Goes on where the turn of one that is stuck in the policy had got to.</summary>
    private void SucceedInVirtualTime(PhysicalCpu stuck)
    {
        if (_virtual is null)
            return;
        _here = _virtual.Time.Clock.Work;
        if (stuck._running is { } vcpu)
            vcpu.WorkedUntil = _here;
    }

    private Trap EnterInVirtualTime(IGuestCpu cpu, IEngineThread engineThread, Nanoseconds deadline)
    {
        Time.WorkClock clock = _virtual!.Time.Clock;
        long work = clock.Work;
        Trap trap = ((IGuestClock)cpu).Run(engineThread, ref work, Math.Min(_turnEnds, clock.WorkAt(deadline)));
        clock.Work = work;
        if (trap.Kind != TrapKind.Preempted)
            clock.Spend(_virtual.Time.Options.TrapCost);
        return trap;
    }
}
