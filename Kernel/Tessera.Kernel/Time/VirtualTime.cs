using System.ComponentModel;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Plugins;

namespace Tessera.Kernel.Time;

/// <summary>How a machine's time follows from its work.</summary>
[Description("How virtual time follows from work.")]
public sealed record VirtualTimeOptions
{
    /// <summary>How many guest instructions make a microsecond; the most is ten times as fast as any processor.</summary>
    [Option("Guest instructions that take a microsecond.", Min = "1", Max = "100000")]
    public int InstructionsPerMicrosecond { get; init; } = 1000;

    /// <summary>What a trap, hypercalls among them, costs.</summary>
    [Option("What a trap, hypercalls among them, costs.", Min = "1 ns")]
    public Nanoseconds TrapCost { get; init; } = new(300);

    /// <summary>How long after it was asked for a device's backend, the store or a watch does its work.</summary>
    [Option("How long a disk, a network interface or the store waits after a request before it does its work.", Min = "1 ns")]
    public Nanoseconds DeviceDelay { get; init; } = Nanoseconds.FromMicroseconds(20);

    /// <summary>How far a physical CPU runs before the others have their turn.</summary>
    [Option("How far a physical CPU goes before the others have their turn.", Min = "1 ns")]
    public Nanoseconds Turn { get; init; } = Nanoseconds.FromMicroseconds(50);

    /// <summary>The wall clock at the machine's start.</summary>
    [Option("The date and time at the machine's start, ISO 8601.")]
    public DateTimeOffset WallClock { get; init; } = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>The seed of the guests' random numbers.</summary>
    [Option("What the guests' random numbers follow from.", Min = "0", Max = "2147483647")]
    public ulong Seed { get; init; } = 1;
}

/// <summary>
/// The clock of a machine in virtual time and what is to happen by it. Things of one instant happen in the order in which they were asked for, all on the thread that drives the
/// machine, so that nothing depends on the host's.
/// </summary>
internal sealed class VirtualTime : TimeProvider
{
    private readonly Lock _gate = new();
    private readonly PriorityQueue<Action, (long At, long Order)> _queue = new();
    private long _order;

    /// <summary>Begins at zero.</summary>
    public VirtualTime(VirtualTimeOptions options)
    {
        Options = options;
        Guests = new GuestTime { InstructionsPerMicrosecond = options.InstructionsPerMicrosecond, Seed = options.Seed };
        Clock = new WorkClock(Guests, options.WallClock);
    }

    /// <summary>The parameters.</summary>
    public VirtualTimeOptions Options { get; }

    /// <summary>How work becomes time.</summary>
    public GuestTime Guests { get; }

    /// <summary>The clock.</summary>
    public WorkClock Clock { get; }

    /// <summary>Told when something is to happen at a time, in instructions.</summary>
    public Action<long>? Planned { get; set; }

    /// <inheritdoc/>
    public override long TimestampFrequency => 1_000_000_000;

    /// <inheritdoc/>
    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    /// <summary>When the next thing is to happen, in instructions; the end of time when nothing is.</summary>
    public long Next
    {
        get
        {
            lock (_gate)
                return _queue.TryPeek(out _, out (long At, long Order) first) ? first.At : long.MaxValue;
        }
    }

    /// <inheritdoc/>
    public override long GetTimestamp() => Clock.Now.Value;

    /// <inheritdoc/>
    public override DateTimeOffset GetUtcNow() => Clock.WallAtStart + TimeSpan.FromTicks(Clock.Now.Value / 100);

    /// <inheritdoc/>
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        VirtualTimer timer = new(this, callback, state);
        _ = timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>The seed of a domain's random numbers: another domain's does not follow from it by a step of the generator.</summary>
    public GuestTime GuestsOf(DomainId domain) => Guests with { Seed = Guests.Seed ^ (0xD134_2543_DE82_EF95UL * domain.Value) };

    /// <summary>Plans something.</summary>
    public void After(Nanoseconds delay, Action action)
    {
        long at = Clock.WorkAt(Clock.Now + delay);
        lock (_gate)
            _queue.Enqueue(action, (at, _order++));
        Planned?.Invoke(at);
    }

    /// <summary>Lets the next thing happen.</summary>
    public void RunNext()
    {
        Action? action;
        lock (_gate)
        {
            if (!_queue.TryDequeue(out action, out (long At, long Order) planned))
                return;
            Clock.Work = planned.At;
        }

        action();
    }

    private sealed class VirtualTimer(VirtualTime time, TimerCallback callback, object? state) : ITimer
    {
        private TimeSpan _period;
        private int _generation;

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            if (_generation < 0)
                return false;
            (_period, int generation) = (period, ++_generation);
            if (dueTime != Timeout.InfiniteTimeSpan)
                time.After(new(dueTime.Ticks * 100), () => Strike(generation));
            return true;
        }

        public void Dispose() => _generation = int.MinValue;

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }

        private void Strike(int generation)
        {
            if (generation != _generation)
                return;
            if (_period > TimeSpan.Zero)
                time.After(new(_period.Ticks * 100), () => Strike(generation));
            callback(state);
        }
    }
}
