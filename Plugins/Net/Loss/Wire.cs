using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Net.Loss;

/// <summary>
/// One direction of a bad wire. Without delay, jitter and rate frames go on in the caller's own call; else they are copied and wait, and one timer hands
/// on those that are due, one at a time. A timer counts whole milliseconds, so a frame may come up to one later than drawn, never earlier.
/// </summary>
internal sealed class Wire : IDisposable
{
    private readonly LossOptions _options;
    private readonly FateSource _fates;
    private readonly TimeProvider _time;
    private readonly INetworkReceiver _end;
    private readonly bool _waits;
    private readonly long _start;
    private readonly object _gate = new();
    private readonly FrameStore _frames;
    private readonly PriorityQueue<int, (long Due, long Order)> _queue;
    private readonly ReadOnlyMemory<byte>[] _pieces = new ReadOnlyMemory<byte>[FrameStore.MostPieces];
    private readonly ITimer _timer;
    private long _count;
    private long _order;
    private long _latest;
    private double _busyUntil;
    private long _armed = long.MaxValue;
    private bool _delivering;
    private bool _closed;

    /// <summary>Lays a wire.</summary>
    /// <param name="options">How bad it is.</param>
    /// <param name="fates">What becomes of which frame.</param>
    /// <param name="time">By which frames are delayed.</param>
    /// <param name="end">To whom they go.</param>
    public Wire(LossOptions options, FateSource fates, TimeProvider time, INetworkReceiver end)
    {
        (_options, _fates, _time, _end) = (options, fates, time, end);
        _waits = options.Delay.Value > 0 || options.Jitter.Value > 0 || options.BytesPerSecond.Bytes > 0;
        _frames = new FrameStore(_waits ? (int)options.Buffer.Bytes : 0);
        _queue = new PriorityQueue<int, (long, long)>(_frames.Chunks);
        _start = time.GetTimestamp();
        _timer = time.CreateTimer(static wire => ((Wire)wire!).Deliver(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    private long Now => _time.GetElapsedTime(_start).Ticks;

    /// <summary>Takes a frame. Any thread.</summary>
    /// <returns>False when it is lost here, or where it goes to at once.</returns>
    public bool Take(in NetworkFrame frame)
    {
        Fate fate = _fates.Of((ulong)Interlocked.Increment(ref _count) - 1);
        if (fate.IsLost)
            return false;
        if (!_waits)
        {
            bool arrived = _end.Receive(frame);
            return fate.IsRepeated ? _end.Receive(frame) | arrived : arrived;
        }

        lock (_gate)
        {
            if (_closed)
                return false;
            long now = Now;
            bool kept = Keep(frame, now, fate.Jitter);
            if (fate.IsRepeated)
                kept |= Keep(frame, now, fate.SecondJitter);
            Arm(now);
            return kept;
        }
    }

    /// <summary>Loses what is under way; when this returns, nothing arrives any more.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _closed = true;
            while (_delivering)
                _ = Monitor.Wait(_gate);
        }

        _timer.Dispose();
    }

    /// <summary>Copies a frame and draws when it is due. Under the gate.</summary>
    private bool Keep(in NetworkFrame frame, long now, double jitter)
    {
        if (!_frames.TryAdd(frame, out int handle))
            return false;
        double leaves = now;
        if (_options.BytesPerSecond.Bytes > 0)
            _busyUntil = leaves = Math.Max(now, _busyUntil) + ((double)frame.Length * TimeSpan.TicksPerSecond / _options.BytesPerSecond.Bytes);
        // Rounded up: never earlier than it would.
        long due = (long)Math.Ceiling(leaves + ((_options.Delay.Value + (jitter * _options.Jitter.Value)) / 100));
        if (_options.KeepOrder)
            due = Math.Max(due, _latest);
        _latest = due;
        _queue.Enqueue(handle, (due, _order++));
        return true;
    }

    /// <summary>Sets the timer for the first frame; whoever delivers does so when it has done. Under the gate.</summary>
    private void Arm(long now)
    {
        if (_delivering || _closed || !_queue.TryPeek(out _, out (long Due, long Order) first) || first.Due >= _armed)
            return;
        _armed = first.Due;
        long milliseconds = (Math.Max(0, first.Due - now) + TimeSpan.TicksPerMillisecond - 1) / TimeSpan.TicksPerMillisecond;
        _ = _timer.Change(TimeSpan.FromTicks(milliseconds * TimeSpan.TicksPerMillisecond), Timeout.InfiniteTimeSpan);
    }

    /// <summary>Hands on what is due. On the timer's thread.</summary>
    private void Deliver()
    {
        lock (_gate)
        {
            if (_delivering || _closed)
                return;
            (_delivering, _armed) = (true, long.MaxValue);
        }

        int delivered = -1;
        while (true)
        {
            NetworkFrame frame;
            lock (_gate)
            {
                if (delivered >= 0)
                    _frames.Remove(delivered);
                long now = Now;
                if (_closed || !_queue.TryPeek(out delivered, out (long Due, long Order) first) || first.Due > now)
                {
                    _delivering = false;
                    Arm(now);
                    Monitor.PulseAll(_gate);
                    return;
                }

                _ = _queue.Dequeue();
                frame = _frames.Read(delivered, _pieces);
            }

            try
            {
                // Outside the gate: the end may belong to a network whose other port sends to this wire's interface at this moment.
                _ = _end.Receive(frame);
            }
            catch (Exception)
            {
                // An end that throws breaks its promise; it gets nothing more, and the process that the timer's thread would take down goes on.
                lock (_gate)
                    _closed = true;
            }
        }
    }
}
