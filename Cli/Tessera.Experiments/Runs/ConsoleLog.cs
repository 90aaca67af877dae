using System.Buffers;
using System.Text;
using System.Text.RegularExpressions;

namespace Tessera.Experiments.Runs;

/// <summary>
/// One domain's console output: keeps the last lines, notices the first line of user space, and hands the bytes to a file. Written
/// by the guest's physical CPU, so nothing here waits for a disk.
/// </summary>
public sealed partial class ConsoleLog(string name, Func<long> timestamp)
{
    private const int KeptLines = 20;
    private const int MaxLine = 1024;

    /// <summary>Bytes that may wait for the file; a guest that writes faster than the disk loses the rest, and the file says so.</summary>
    private const int MaxPending = 4 << 20;

    private readonly Lock _gate = new();
    private readonly Queue<string> _lines = new();
    private readonly List<byte> _line = [];
    private ArrayBufferWriter<byte> _pending = new();
    private long _limit;
    private long _kept;
    private long _dropped;
    private long _lost;
    private bool _saidFull;
    private string? _failure;
    private int _moving;
    private long? _firstUserLine;

    /// <summary>The domain's name.</summary>
    public string Name { get; } = name;

    /// <summary>Why the file lacks output, a sentence; null when it lacks none.</summary>
    public string? Problem
    {
        get
        {
            lock (_gate)
            {
                return _failure is not null ? $"The file could not be written: {_failure.TrimEnd('.')}. {_lost} bytes of output are lost."
                    : _kept >= _limit && _lost > 0 ? $"The file reached its limit of {_limit} bytes (machine.consoleLimit); {_lost} bytes of output are lost."
                    : _lost > 0 ? $"{_lost} bytes of output came faster than they could be written and are lost." : null;
            }
        }
    }

    /// <summary>Output is kept for <see cref="Drain"/> from now on, so many bytes in all.</summary>
    public void Record(long limit)
    {
        lock (_gate)
            _limit = limit;
    }

    /// <summary>When the first line came that the kernel did not write, by the clock given; null when none has.</summary>
    public long? FirstUserLine
    {
        get
        {
            lock (_gate)
                return _firstUserLine;
        }
    }

    /// <summary>Takes output.</summary>
    public void Append(ReadOnlyMemory<byte> output)
    {
        lock (_gate)
        {
            foreach (byte value in output.Span)
            {
                if (value == (byte)'\n')
                    EndLine();
                else if (_line.Count < MaxLine)
                    _line.Add(value);
            }

            if (_limit == 0)
                return;
            int room = _failure is null ? (int)Math.Min(Math.Min(MaxPending - _pending.WrittenCount, output.Length), _limit - _kept) : 0;
            _pending.Write(output.Span[..room]);
            _kept += room;
            _lost += output.Length - room;
            if (_kept < _limit)
                _dropped += output.Length - room;
        }
    }

    /// <summary>The last lines, the unfinished one among them, without control characters.</summary>
    public IReadOnlyList<string> Tail()
    {
        lock (_gate)
        {
            List<string> lines = [.. _lines];
            string open = Clean(_line);
            if (open.Length > 0)
                lines.Add(open);
            return lines.Count <= KeptLines ? lines : lines[^KeptLines..];
        }
    }

    /// <summary>Moves what was recorded since the last call to a file. One that cannot be written, for whatever reason, ends the recording and nothing else.</summary>
    public void Drain(Stream file)
    {
        try
        {
            Move(file);
        }
        catch (Exception exception)
        {
            lock (_gate)
            {
                _failure ??= exception.Message;
                _lost += _moving + _pending.WrittenCount;
                _pending = new ArrayBufferWriter<byte>();
            }
        }

        _moving = 0;
    }

    private void Move(Stream file)
    {
        ArrayBufferWriter<byte> taken;
        long dropped;
        bool isFull;
        lock (_gate)
        {
            isFull = !_saidFull && _kept >= _limit && _lost > 0;
            _saidFull |= isFull;
            if (_pending.WrittenCount == 0 && !isFull)
                return;
            (taken, _pending) = (_pending, new ArrayBufferWriter<byte>());
            (dropped, _dropped) = (_dropped, 0);
            _moving = taken.WrittenCount;
        }

        file.Write(taken.WrittenSpan);
        if (dropped > 0)
            file.Write(Encoding.UTF8.GetBytes($"\n[tessera: {dropped} bytes came faster than they could be written and are lost]\n"));
        if (isFull)
            file.Write(Encoding.UTF8.GetBytes($"\n[tessera: the limit of {_limit} bytes (machine.consoleLimit) is reached; what came after is lost]\n"));
        file.Flush();
    }

    /// <summary>Text as a table can show it: no escape sequences, no control characters.</summary>
    private static string Clean(List<byte> line)
    {
        string text = Encoding.UTF8.GetString([.. line]);
        text = EscapeSequence.Replace(text, "");
        return string.Concat(text.Where(character => !char.IsControl(character) || character == '\t')).TrimEnd();
    }

    private void EndLine()
    {
        string line = Clean(_line);
        _line.Clear();
        if (line.Length == 0)
            return;
        _lines.Enqueue(line);
        if (_lines.Count > KeptLines)
            _lines.Dequeue();
        if (_firstUserLine is null && !KernelLine.IsMatch(line))
            _firstUserLine = timestamp();
    }

    /// <summary>
    /// What Linux writes itself: printk's lines with their time stamp, "(early)" before it on the raw Xen console, and the two lines of
    /// arch/x86/xen/enlighten_pv.c that come before printk works.
    /// </summary>
    [GeneratedRegex(@"^(\(early\) ?)?\[ *\d+\.\d+\]|^mapping kernel into physical memory$|^about to get started\.\.\.$")]
    private static partial Regex KernelLine { get; }

    [GeneratedRegex(@"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\^_])")]
    private static partial Regex EscapeSequence { get; }
}
