namespace Tessera.Kernel.Console;

/// <summary>
/// What came by console_io, so that a line that comes by the ring as well is shown once. Under Xen the two are different consoles, the hypervisor's and the
/// domain's, and so test kernels and Linux with earlyprintk=xen write each line to both, to the hypervisor's first; here they are one. A line of the ring is
/// held back only as long as it is the beginning of such a line, all of which has been shown. Bounded; under its console's gate.
/// </summary>
internal sealed class ConsoleEcho
{
    /// <summary>Lines that are remembered.</summary>
    private const int MostLines = 16;

    /// <summary>Bytes of a line that is remembered; a longer one is shown twice.</summary>
    private const int MostBytes = 256;

    private readonly List<byte[]> _lines = [];
    private readonly List<byte> _begun = [];
    private readonly List<byte> _held = [];
    private bool _isLong;
    private bool _isPassing;

    /// <summary>What Linux puts before each line that it repeats (drivers/tty/hvc/hvc_xen.c).</summary>
    private static ReadOnlySpan<byte> EarlyMark => "(early) "u8;

    /// <summary>Whether the ring's output is shown as it is.</summary>
    public bool IsIdle => _lines.Count == 0 && _begun.Count == 0 && _held.Count == 0;

    /// <summary>Most bytes that <see cref="Filter"/> adds to what it is given.</summary>
    public static int MostHeld => MostBytes + EarlyMark.Length + 1;

    /// <summary>Takes note of output that came by console_io.</summary>
    public void Said(ReadOnlySpan<byte> output)
    {
        foreach (byte value in output)
        {
            if (value == '\n')
            {
                if (!_isLong)
                    Remember();
                _begun.Clear();
                _isLong = false;
            }
            else if (value != '\r' && !_isLong)
            {
                _begun.Add(value);
                _isLong = _begun.Count > MostBytes;
                if (_isLong)
                    _begun.Clear();
            }
        }
    }

    /// <summary>Leaves out what has been shown.</summary>
    /// <param name="output">What came by the ring.</param>
    /// <param name="shown">Gets what is to be shown; room for the output and <see cref="MostHeld"/> bytes.</param>
    /// <returns>Bytes to be shown.</returns>
    public int Filter(ReadOnlySpan<byte> output, Span<byte> shown)
    {
        int count = 0;
        foreach (byte value in output)
        {
            if (_isPassing)
            {
                shown[count++] = value;
                _isPassing = value != '\n';
                continue;
            }

            _held.Add(value);
            if (value == '\r' ? _held.Count <= MostHeld : value == '\n' ? Forget() : IsBeginning())
            {
                if (value == '\n')
                    _held.Clear();
                continue;
            }

            foreach (byte held in _held)
                shown[count++] = held;
            _held.Clear();
            _isPassing = value != '\n';
        }

        return count;
    }

    private void Remember()
    {
        if (_lines.Count == MostLines)
            _lines.RemoveAt(0);
        _lines.Add([.. _begun]);
    }

    /// <summary>Whether what is held is the beginning of a line that was shown, or is being shown.</summary>
    private bool IsBeginning()
    {
        Span<byte> held = stackalloc byte[MostHeld + 1];
        held = held[..Plain(held)];
        if (EarlyMark.StartsWith(held))
            return _lines.Count > 0 || _begun.Count > 0;
        ReadOnlySpan<byte> unmarked = held.StartsWith(EarlyMark) ? held[EarlyMark.Length..] : held;
        foreach (byte[] line in _lines)
        {
            if (line.AsSpan().StartsWith(unmarked) || line.AsSpan().StartsWith(held))
                return true;
        }

        ReadOnlySpan<byte> begun = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_begun);
        return begun.Length > 0 && (begun.StartsWith(unmarked) || begun.StartsWith(held));
    }

    /// <summary>Whether what is held is a whole line that was shown; it is shown once more the next time.</summary>
    private bool Forget()
    {
        Span<byte> held = stackalloc byte[MostHeld + 1];
        held = held[..Plain(held)];
        ReadOnlySpan<byte> unmarked = held.StartsWith(EarlyMark) ? held[EarlyMark.Length..] : held;
        for (int index = 0; index < _lines.Count; index++)
        {
            if (unmarked.SequenceEqual(_lines[index]) || held.SequenceEqual(_lines[index]))
            {
                // What came before it and was not repeated will not be.
                _lines.RemoveRange(0, index + 1);
                return true;
            }
        }

        return false;
    }

    /// <summary>Copies what is held without the ends of its line.</summary>
    private int Plain(Span<byte> destination)
    {
        int count = 0;
        foreach (byte value in _held)
        {
            if (value is not ((byte)'\r' or (byte)'\n'))
                destination[count++] = value;
        }

        return count;
    }
}
