using System.Diagnostics;
using Tessera.Kernel.Time;

namespace Tessera.Kernel.Machines;

/// <summary>Something that came from outside into a machine in virtual time.</summary>
/// <param name="Step">How many steps the machine had made: with the time it says between which two things it came.</param>
/// <param name="At">The time it came, in instructions.</param>
/// <param name="Source">Where from; empty for the end of a recording.</param>
/// <param name="Data">What.</param>
public sealed record OutsideEvent(long Step, long At, string Source, byte[] Data);

/// <summary>The recording was not made of this machine's run: something went another way.</summary>
/// <param name="message">What was expected, and what happened.</param>
public sealed class ReplayException(string message) : Exception(message);

/// <summary>
/// The door between a machine in virtual time and what is not part of it: keys on a console, frames of a host's network. What is posted waits until the machine is between two
/// steps, and comes in at the time it has then; a recording that is replayed takes the place of all who post.
/// </summary>
public sealed class Outside
{
    /// <summary>Idle time is waited for in pieces of at least this much, ns: shorter ones cost more than they last.</summary>
    private const long LeastWait = 2_000_000;

    private readonly object _gate = new();
    private readonly VirtualTime _time;
    private readonly Dictionary<string, Source> _sources = [];
    private readonly Queue<(Source Source, byte[] Data)> _posted = new();
    private IReadOnlyList<OutsideEvent>? _replay;
    private int _replayed;
    private long _reached;
    private long _owed;

    internal Outside(VirtualTime time) => _time = time;

    /// <summary>Told of everything that comes in; on the thread that drives the machine.</summary>
    public Action<OutsideEvent>? Recorder { get; set; }

    /// <summary>Whether somebody may post something: idle time then passes no faster than the host's, so that it can come into it. Null for nobody.</summary>
    public Func<bool>? MayCome { get; set; }

    /// <summary>Whether a recording is replayed.</summary>
    public bool IsReplayed => _replay is not null;

    /// <summary>The recording that is replayed has come to its end.</summary>
    public bool IsOver { get; private set; }

    /// <summary>Steps made so far.</summary>
    public long Steps { get; internal set; }

    /// <summary>Declares a source.</summary>
    /// <param name="name">Its name, the same in every run.</param>
    /// <param name="arrived">Takes what comes, on the thread that drives the machine.</param>
    public void Declare(string name, Action<byte[]> arrived)
    {
        lock (_gate)
            _sources[name] = new Source(name, arrived);
    }

    /// <summary>Replays a recording instead of what is posted.</summary>
    public void Replay(IReadOnlyList<OutsideEvent> recording) => _replay = recording;

    /// <summary>Posts something. Any thread.</summary>
    /// <returns>How many bytes of the source wait to come in.</returns>
    public int Post(string name, ReadOnlySpan<byte> data)
    {
        lock (_gate)
        {
            if (IsReplayed || !_sources.TryGetValue(name, out Source? source))
                return 0;
            if (!data.IsEmpty)
            {
                source.Waiting += data.Length;
                _posted.Enqueue((source, data.ToArray()));
                Monitor.PulseAll(_gate);
            }

            return source.Waiting;
        }
    }

    /// <summary>What comes in before the machine does something, or stops; null for nothing.</summary>
    /// <param name="reached">How far the machine has got.</param>
    /// <param name="at">When it has something to do.</param>
    /// <param name="end">When it is to stop: what comes then comes later.</param>
    /// <exception cref="ReplayException">The machine is not where the recording was made.</exception>
    internal OutsideEvent? Next(long reached, long at, long end)
    {
        if (_replay is not null)
            return NextOfReplay(at, end);
        lock (_gate)
        {
            long until = Math.Min(at, end);
            long from = Math.Min(Math.Max(_reached, reached), until);
            if (_posted.Count == 0 && MayCome?.Invoke() == true)
                from = WaitFor(from, until);
            _reached = Math.Max(_reached, from);
            if (_posted.Count == 0 || from >= end)
                return null;
            (Source source, byte[] data) = _posted.Dequeue();
            source.Waiting -= data.Length;
            OutsideEvent arrival = new(Steps, from, source.Name, data);
            Recorder?.Invoke(arrival);
            return arrival;
        }
    }

    /// <summary>Lets something in.</summary>
    /// <exception cref="ReplayException">There is no such source.</exception>
    internal void Let(OutsideEvent arrival)
    {
        Source? source;
        lock (_gate)
            source = _sources.GetValueOrDefault(arrival.Source);
        if (source is null)
            throw new ReplayException($"The recording has something from {arrival.Source}, which this machine does not have.");
        source.Arrived(arrival.Data);
    }

    /// <summary>Says where a recording ends, so that a replay ends there.</summary>
    public void End() => Recorder?.Invoke(new OutsideEvent(Steps, _time.Clock.Work, "", []));

    private OutsideEvent? NextOfReplay(long at, long end)
    {
        if (_replayed == _replay!.Count)
            return null;
        OutsideEvent next = _replay[_replayed];
        if (next.Step < Steps || (next.Step == Steps && next.At > at))
        {
            throw new ReplayException(
                $"The replay went another way than the recording: step {next.Step} was at {next.At} there, and step {Steps} is at {at} here. Replay on the same processor, with the same version and disks.");
        }

        if (next.Step > Steps || next.At >= end)
            return null;
        _replayed++;
        IsOver = next.Source.Length == 0;
        return IsOver ? null : next;
    }

    /// <summary>Waits as long as an idle machine would, or until something comes. Under the gate.</summary>
    /// <returns>The time then.</returns>
    private long WaitFor(long from, long until)
    {
        _owed += _time.Guests.ToNanoseconds(until) - _time.Guests.ToNanoseconds(from);
        if (_owed < LeastWait)
            return until;
        long began = Stopwatch.GetTimestamp();
        long left = _owed;
        while (left > 0 && _posted.Count == 0)
        {
            _ = Monitor.Wait(_gate, (int)Math.Clamp(left / 1_000_000, 1, 50));
            left = _owed - (Stopwatch.GetTimestamp() - began);
        }

        _owed = 0;
        return left <= 0 ? until : Math.Max(from, until - _time.Guests.ToInstructions(left));
    }

    private sealed class Source(string name, Action<byte[]> arrived)
    {
        public string Name { get; } = name;

        public Action<byte[]> Arrived { get; } = arrived;

        public int Waiting { get; set; }
    }
}
