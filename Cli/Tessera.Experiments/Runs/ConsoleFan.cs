namespace Tessera.Experiments.Runs;

/// <summary>
/// One domain's console output for whoever looks at it by a control socket: the last of what was written, and then what comes. Written by the
/// guest's physical CPU, so those who listen must return at once.
/// </summary>
public sealed class ConsoleFan
{
    /// <summary>What somebody who comes later still sees, bytes: a screen or some.</summary>
    private const int Kept = 16 * 1024;

    private readonly Lock _gate = new();
    private readonly List<Action<ReadOnlyMemory<byte>>> _listeners = [];
    private byte[] _last = [];
    private int _next;
    private bool _isFull;
    private volatile bool _hasListener;

    /// <summary>Whether anybody has listened yet.</summary>
    public bool HasListener => _hasListener;

    /// <summary>Takes output.</summary>
    public void Append(ReadOnlyMemory<byte> output)
    {
        lock (_gate)
        {
            Keep(output.Span);
            foreach (Action<ReadOnlyMemory<byte>> listener in _listeners)
                listener(output);
        }
    }

    /// <summary>Gives what was kept, and from now on what comes, until disposed.</summary>
    public IDisposable Listen(Action<ReadOnlyMemory<byte>> listener)
    {
        lock (_gate)
        {
            if (_isFull)
                listener(_last.AsMemory(_next));
            listener(_last.AsMemory(0, _next));
            _listeners.Add(listener);
        }

        _hasListener = true;
        return new Listener(this, listener);
    }

    private void Keep(ReadOnlySpan<byte> output)
    {
        if (_last.Length == 0)
            _last = new byte[Kept];
        if (output.Length > Kept)
            output = output[^Kept..];
        int room = Math.Min(Kept - _next, output.Length);
        output[..room].CopyTo(_last.AsSpan(_next));
        output[room..].CopyTo(_last);
        _isFull |= _next + output.Length >= Kept;
        _next = (_next + output.Length) % Kept;
    }

    private sealed class Listener(ConsoleFan fan, Action<ReadOnlyMemory<byte>> listener) : IDisposable
    {
        public void Dispose()
        {
            lock (fan._gate)
                fan._listeners.Remove(listener);
        }
    }
}
