using Tmds.Linux;

namespace Tessera.Cli.Terminal;

/// <summary>What <see cref="InputPump"/> reads from; a seam for tests.</summary>
internal interface IInputSource
{
    /// <summary>Waits a while for input.</summary>
    /// <returns>Bytes read; 0 at the end of input; -1 when none came in time.</returns>
    int Read(Span<byte> buffer, TimeSpan wait);
}

/// <summary>Standard input by poll(2) and read(2), so that a reader can stop although nobody types.</summary>
internal sealed unsafe class StandardInput : IInputSource
{
    public int Read(Span<byte> buffer, TimeSpan wait)
    {
        pollfd descriptor = new() { fd = LibC.STDIN_FILENO, events = LibC.POLLIN };
        // SAFETY: one descriptor on this stack.
        int ready = LibC.poll(&descriptor, 1, (int)wait.TotalMilliseconds);
        if (ready <= 0)
            return ready == 0 || LibC.errno == LibC.EINTR ? -1 : 0;
        int count;
        // SAFETY: pinned through the call, with its own length.
        fixed (byte* bytes = buffer)
            count = (int)LibC.read(LibC.STDIN_FILENO, bytes, buffer.Length);
        if (count >= 0)
            return count;
        return LibC.errno == LibC.EINTR || LibC.errno == LibC.EAGAIN ? -1 : 0;
    }
}

/// <summary>
/// Feeds a guest's console from an input on a thread of its own, never more than the console says it can take. The end of the
/// input ends the pump and nothing else.
/// </summary>
internal sealed class InputPump : IDisposable
{
    /// <summary>Ctrl-], the key that leaves.</summary>
    public const byte LeaveKey = 0x1d;

    private const int MaxQueued = 1024;
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(20);

    private readonly IInputSource _source;
    private readonly Func<ReadOnlySpan<byte>, int> _write;
    private readonly Action? _onLeave;
    private readonly ManualResetEventSlim _stop = new();
    private readonly Thread _thread;

    /// <summary>Prepares a pump.</summary>
    /// <param name="source">Where bytes come from.</param>
    /// <param name="write">Gives bytes to the console; answers how many are waiting there.</param>
    /// <param name="onLeave">Called when <see cref="LeaveKey"/> is read; null passes it on like any other byte.</param>
    public InputPump(IInputSource source, Func<ReadOnlySpan<byte>, int> write, Action? onLeave)
    {
        (_source, _write, _onLeave) = (source, write, onLeave);
        _thread = new Thread(Pump) { Name = "console input", IsBackground = true };
    }

    /// <summary>Whether something may still come: not after the input's end.</summary>
    public bool MayGive => _thread.IsAlive;

    /// <summary>Begins to read.</summary>
    public void Start() => _thread.Start();

    /// <summary>Waits until the input has ended and all of it is in the guest's hands, or the pump was stopped.</summary>
    public void Join() => _thread.Join();

    /// <summary>Stops within a tick.</summary>
    public void Dispose()
    {
        _stop.Set();
        if (_thread.IsAlive && _thread != Thread.CurrentThread)
            _thread.Join();
        _stop.Dispose();
    }

    private void Pump()
    {
        byte[] buffer = new byte[256];
        while (!_stop.IsSet)
        {
            int count = _source.Read(buffer, Tick);
            if (count == 0)
                return;
            if (count < 0)
                continue;
            ReadOnlySpan<byte> input = buffer.AsSpan(0, count);
            int leave = _onLeave is null ? -1 : input.IndexOf(LeaveKey);
            Give(leave < 0 ? input : input[..leave]);
            if (leave < 0)
                continue;
            _onLeave!();
            return;
        }
    }

    private void Give(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty)
            return;
        int waiting = _write(input);
        while (waiting > MaxQueued && !_stop.Wait(Tick))
            waiting = _write([]);
    }
}
