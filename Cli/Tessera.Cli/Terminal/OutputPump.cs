using System.Buffers;

namespace Tessera.Cli.Terminal;

/// <summary>
/// Writes a guest's output on a thread of its own, so that the guest's physical CPU does not wait for a terminal or pipe. When the
/// reader is so slow that <see cref="MaxPending"/> bytes wait, the guest does wait: nothing is lost.
/// </summary>
internal sealed class OutputPump : IDisposable
{
    private const int MaxPending = 1 << 20;
    private readonly object _gate = new();
    private readonly Thread _thread;
    private ArrayBufferWriter<byte> _pending = new();
    private readonly bool _mayLose;
    private long _lost;
    private bool _stopped;
    private bool _broken;

    /// <summary>Starts writing to a stream, which is not disposed here.</summary>
    /// <param name="target">The stream.</param>
    /// <param name="mayLose">Whether a reader that is too slow loses output, and is told so, instead of holding up the guest.</param>
    public OutputPump(Stream target, bool mayLose = false)
    {
        _mayLose = mayLose;
        _thread = new Thread(() => Write(target)) { Name = "console output", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Takes output, from any thread.</summary>
    public void Append(ReadOnlyMemory<byte> output)
    {
        lock (_gate)
        {
            while (_pending.WrittenCount > MaxPending && !_stopped && !_broken && !_mayLose)
                Monitor.Wait(_gate);
            if (_stopped || _broken)
                return;
            if (_pending.WrittenCount > MaxPending)
            {
                _lost += output.Length;
                return;
            }

            if (_lost > 0)
                _pending.Write(System.Text.Encoding.UTF8.GetBytes($"\n[tessera: {_lost} bytes came faster than they could be shown and are lost]\n"));
            _lost = 0;
            _pending.Write(output.Span);
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Writes what is left and ends.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _stopped = true;
            Monitor.PulseAll(_gate);
        }

        _thread.Join();
    }

    private void Write(Stream target)
    {
        ArrayBufferWriter<byte> taken = new();
        while (true)
        {
            lock (_gate)
            {
                while (_pending.WrittenCount == 0 && !_stopped)
                    Monitor.Wait(_gate);
                if (_pending.WrittenCount == 0)
                    return;
                (taken, _pending) = (_pending, taken);
                Monitor.PulseAll(_gate);
            }

            try
            {
                target.Write(taken.WrittenSpan);
                target.Flush();
            }
            catch (Exception)
            {
                // The reader of a pipe is gone, or the disk full: the guest goes on without one.
                lock (_gate)
                {
                    _broken = true;
                    Monitor.PulseAll(_gate);
                }

                return;
            }

            taken.ResetWrittenCount();
        }
    }
}
