using Tessera.Kernel.Domains;
using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Kernel.Machines;

/// <summary>
/// Drives a machine in virtual time: whoever is the farthest behind (a physical CPU, the work of a device) goes on, all on one thread, while who called <see cref="RunUntil"/> waits. Physical CPUs
/// go on for a turn at a time, so none is ahead of another by more than that; of those at one instant the lowest number is first.
/// </summary>
/// <remarks>A scheduler that hangs keeps the thread; another one goes on then, with the turn in which it hung.</remarks>
internal sealed class VirtualMachineDriver : IDisposable
{
    /// <summary>What a piece of a long hypercall costs, as a part of a trap.</summary>
    private const int ItemsPerTrap = 3;

    /// <summary>What the look at 1,024 page-table entries costs, in traps.</summary>
    private const int TrapsPerEntries = 32;

    private readonly Machine _machine;
    private readonly PolicyErrands _threads = new("tessera time");
    private volatile PhysicalCpu? _current;
    private volatile int _thread;
    private volatile bool _isOver;
    private readonly Action _serveStore;
    private long _storeAt = long.MaxValue;

    public VirtualMachineDriver(Machine machine, VirtualTime time)
    {
        (_machine, Time, Outside) = (machine, time, new Outside(time));
        _serveStore = ServeStore;
        time.Planned = at => _current?.Shorten(at);
    }

    /// <summary>The machine's time.</summary>
    public VirtualTime Time { get; }

    /// <summary>What comes from outside.</summary>
    public Outside Outside { get; }

    /// <summary>Whose turn it is, if this is the thread that drives the machine.</summary>
    public PhysicalCpu? CurrentHere => _current is not null && Environment.CurrentManagedThreadId == _thread ? _current : null;

    /// <summary>Goes on to an instant. Where it is cut into such pieces changes nothing of what happens.</summary>
    /// <exception cref="ObjectDisposedException">The machine was disposed of before it came there.</exception>
    public void RunUntil(Nanoseconds instant, Func<bool>? isOver)
    {
        bool isDone = false;
        while (!isDone)
        {
            ObjectDisposedException.ThrowIf(_isOver, _machine);
            _ = _threads.Run(() =>
            {
                // One that was given up says nothing any more.
                if (Drive(instant, isOver))
                    isDone = true;
            });
            // The turn of one that was given up ends after the thread was given back.
            while (_current is not null)
                _ = Thread.Yield();
        }
    }

    /// <summary>Whose turn a thread is in, by number; -1 if it does not drive the machine.</summary>
    public int WhoseTurn(int managedThreadId) => managedThreadId == _thread && _current is { } pcpu ? pcpu.Id.Index : -1;

    /// <summary>The scheduler has hung in the turn of this thread, whose physical CPU was replaced: another one goes on, if anything does.</summary>
    public void GoOnWithout(int managedThreadId)
    {
        // In this order: while there is a turn, whoever waits for its end gives the thread nothing else to do.
        _ = _threads.Abandon(managedThreadId);
        _thread = 0;
        _current = null;
    }

    /// <summary>Ends what it drives, after the turn that goes on or when the scheduler that hangs in it is given up.</summary>
    public void Dispose()
    {
        _isOver = true;
        _threads.Dispose();
        while (_current is not null)
            _ = Thread.Yield();
    }

    /// <returns>False when the scheduler hung, and this thread touches nothing any more, or when the machine is disposed of.</returns>
    private bool Drive(Nanoseconds instant, Func<bool>? isOver)
    {
        long end = Time.Clock.WorkAt(instant);
        long turn = Math.Max(1, Time.Clock.WorkAt(Time.Options.Turn));
        using IEngineThread engineThread = _machine.Engine.EnterThread(_machine.FirstHostCpu);
        _thread = Environment.CurrentManagedThreadId;
        try
        {
            while (isOver?.Invoke() != true)
            {
                if (_isOver)
                    return false;
                PhysicalCpu? next = null;
                (long at, long reached) = (Time.Next, 0);
                foreach (PhysicalCpu pcpu in _machine.Pcpus)
                {
                    long turnAt = pcpu.NextTurn;
                    reached = Math.Max(reached, pcpu.Reached);
                    if (turnAt < at)
                        (next, at) = (pcpu, turnAt);
                }

                if (Outside.Next(reached, at, end) is { } arrival)
                {
                    Time.Clock.Work = arrival.At;
                    Outside.Let(arrival);
                    continue;
                }

                if (Outside.IsOver)
                    break;
                if (at >= end)
                {
                    Time.Clock.Work = end;
                    break;
                }

                if (!Step(next, engineThread, turn))
                    return false;
                Outside.Steps++;
            }
        }
        catch (Exception exception)
        {
            _current = null;
            _machine.OnFailure(exception);
        }

        return true;
    }

    /// <summary>A domain is to be destroyed or saved.</summary>
    public void LetGo(Domain domain)
    {
        foreach (PhysicalCpu pcpu in _machine.Pcpus)
            pcpu.LetGo(domain);
    }

    /// <summary>The current physical CPU takes up a vCPU, and is not behind where that has got to.</summary>
    public void Meet(Vcpu vcpu) => Time.Clock.Work = Math.Max(Time.Clock.Work, vcpu.WorkedUntil);

    /// <summary>A piece of a long hypercall is done.</summary>
    public void SpendItem() => Time.Clock.Spend(new(Time.Options.TrapCost.Value / ItemsPerTrap));

    /// <summary>The scheduler was asked: as much as a trap, so that time goes on whatever it answers.</summary>
    public void SpendDecision() => Time.Clock.Spend(Time.Options.TrapCost);

    /// <summary>Page-table entries were looked at.</summary>
    public void SpendEntries() => Time.Clock.Spend(new(Time.Options.TrapCost.Value * TrapsPerEntries));

    /// <summary>Calls a watch back.</summary>
    public void Post(IThreadPoolWorkItem item) => Time.After(Time.Options.DeviceDelay, item.Execute);

    /// <summary>The store is to be served.</summary>
    public void StoreHasNews() => PlanStore(Time.Options.DeviceDelay);

    private bool Step(PhysicalCpu? pcpu, IEngineThread engineThread, long turn)
    {
        _current = pcpu;
        if (pcpu is null)
            Time.RunNext();
        else
            pcpu.TakeTurn(engineThread, turn);
        if (pcpu?.IsLost == true)
            return false;
        _current = null;
        return true;
    }

    private void PlanStore(Nanoseconds delay)
    {
        long at = Time.Clock.WorkAt(Time.Clock.Now + delay);
        if (at >= _storeAt)
            return;
        _storeAt = at;
        Time.After(delay, _serveStore);
    }

    /// <summary>One turn of the store's; the next, if there is something to do, is planned.</summary>
    private void ServeStore()
    {
        // One that was planned for later, before there was news.
        if (Time.Clock.Work < _storeAt)
            return;
        _storeAt = long.MaxValue;
        if (_machine.StoreServer.ServeNext())
            StoreHasNews();
        else if (_machine.StoreServer.UntilNext is { } wait && wait != Timeout.InfiniteTimeSpan)
            PlanStore(new(wait.Ticks * 100));
    }
}
