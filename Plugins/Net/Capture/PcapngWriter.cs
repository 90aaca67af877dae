using System.Buffers.Binary;
using System.Text;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Capture;

/// <summary>Which way a frame went, seen from the interface.</summary>
internal enum FrameDirection
{
    Inbound = 1,
    Outbound = 2,
}

/// <summary>
/// A pcapng file (IETF draft-ietf-opsawg-pcapng) of one interface. Frames are put into one of two buffers by whoever has them; a thread of its own
/// writes the other to disk. When both are full, or the file has reached its limit, a frame is counted and not kept; the count is the file's last block.
/// </summary>
internal sealed class PcapngWriter : IDisposable
{
    private const int SectionHeader = 0x0A0D0D0A;
    private const int InterfaceDescription = 1;
    private const int InterfaceStatistics = 5;
    private const int EnhancedPacket = 6;
    private const int PacketHeaderBytes = 28;
    private const int PacketTrailerBytes = 16;

    private readonly FileStream _file;
    private readonly Thread _thread;
    private readonly object _gate = new();
    private readonly int _snapLength;
    private readonly IThreadDuties? _duties;
    private readonly bool _waits;
    private long _left;
    private byte[] _filling;
    private byte[] _writing;
    private int _filled;
    private bool _ending;
    private long _seen;
    private long _lost;
    private long _last;
    private volatile string? _problem;
    private readonly string _path;

    /// <summary>Creates the file.</summary>
    /// <param name="path">Its path.</param>
    /// <param name="name">The interface's name.</param>
    /// <param name="snapLength">The most that is kept of a frame.</param>
    /// <param name="bufferBytes">The size of each buffer.</param>
    /// <param name="limit">The most the file may have.</param>
    /// <param name="duties">Takes from its thread what it does not need.</param>
    /// <param name="waits">Whether a frame waits for the disk, as where time is virtual, so that the file does not depend on the host.</param>
    public PcapngWriter(string path, string name, int snapLength, int bufferBytes, long limit, IThreadDuties? duties, bool waits = false)
    {
        (_snapLength, _left, _path, _duties, _waits) = (snapLength, limit, path, duties, waits);
        (_filling, _writing) = (new byte[bufferBytes], new byte[bufferBytes]);
        _file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 0);
        WriteHeader(name);
        _thread = new Thread(Work) { Name = "tessera-capture", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Why the file has nothing more; null when it has everything.</summary>
    public string? Problem => _problem;

    /// <summary>Adds a frame. Any thread; neither blocks on the disk nor allocates.</summary>
    public void Add(in NetworkFrame frame, long nanoseconds, FrameDirection direction)
    {
        int kept = Math.Min(frame.Length, _snapLength);
        int padded = (kept + 3) & ~3;
        int total = PacketHeaderBytes + padded + PacketTrailerBytes;
        lock (_gate)
        {
            _seen++;
            _last = nanoseconds;
            while (_waits && !_ending && _problem is null && total > _filling.Length - _filled && total <= _filling.Length)
                _ = Monitor.Wait(_gate);
            if (_ending || _problem is not null || total > _filling.Length - _filled || total > _left)
            {
                _lost++;
                return;
            }

            _left -= total;
            Span<byte> block = _filling.AsSpan(_filled, total);
            Put(block, 0, EnhancedPacket);
            Put(block, 4, total);
            Put(block, 8, 0);
            Put(block, 12, (int)(nanoseconds >> 32));
            Put(block, 16, (int)nanoseconds);
            Put(block, 20, kept);
            Put(block, 24, frame.Length);
            block.Slice(PacketHeaderBytes + kept, padded - kept).Clear();
            _ = frame.CopyTo(block.Slice(PacketHeaderBytes, kept));
            Span<byte> trailer = block[(PacketHeaderBytes + padded)..];
            // Option epb_flags: the direction.
            Put(trailer, 0, 2 | (4 << 16));
            Put(trailer, 4, (int)direction);
            Put(trailer, 8, 0);
            Put(trailer, 12, total);
            _filled += total;
            Monitor.Pulse(_gate);
        }
    }

    /// <summary>Writes what is left, and how much there was.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_ending)
                return;
            _ending = true;
            Monitor.Pulse(_gate);
        }

        _thread.Join();
        _file.Dispose();
    }

    private static void Put(Span<byte> block, int offset, int value) => BinaryPrimitives.WriteInt32LittleEndian(block[offset..], value);

    private void Work()
    {
        _duties?.Enter(ThreadDuty.Device);
        while (true)
        {
            int length;
            bool ending;
            lock (_gate)
            {
                while (_filled == 0 && !_ending)
                    _ = Monitor.Wait(_gate);
                (_filling, _writing) = (_writing, _filling);
                (length, _filled, ending) = (_filled, 0, _ending);
                if (_waits)
                    Monitor.PulseAll(_gate);
            }

            try
            {
                _file.Write(_writing, 0, length);
                if (ending)
                    WriteStatistics();
            }
            catch (Exception exception)
            {
                // A full disk, or whatever it is, ends the capture and not the network, let alone the process.
                _problem ??= $"capture: {_path} could not be written, and frames from then on are missing: {exception.Message}";
            }

            if (ending)
                return;
        }
    }

    private void WriteHeader(string name)
    {
        byte[] section = new byte[28];
        Put(section, 0, SectionHeader);
        Put(section, 4, section.Length);
        Put(section, 8, 0x1A2B3C4D);
        Put(section, 12, 1);
        BinaryPrimitives.WriteInt64LittleEndian(section.AsSpan(16), -1);
        Put(section, 24, section.Length);
        _file.Write(section);

        byte[] text = Encoding.UTF8.GetBytes(name);
        int padded = (text.Length + 3) & ~3;
        byte[] description = new byte[16 + 4 + padded + 8 + 4 + 4];
        Put(description, 0, InterfaceDescription);
        Put(description, 4, description.Length);
        Put(description, 8, 1);
        Put(description, 12, _snapLength);
        // Options if_name and if_tsresol: times in 10^-9 s.
        Put(description, 16, 2 | (text.Length << 16));
        text.CopyTo(description, 20);
        Put(description, 20 + padded, 9 | (1 << 16));
        Put(description, 24 + padded, 9);
        Put(description, 28 + padded, 0);
        Put(description, 32 + padded, description.Length);
        _file.Write(description);
    }

    private void WriteStatistics()
    {
        byte[] block = new byte[20 + 24 + 4 + 4];
        Put(block, 0, InterfaceStatistics);
        Put(block, 4, block.Length);
        Put(block, 12, (int)(_last >> 32));
        Put(block, 16, (int)_last);
        // Options isb_ifrecv and isb_ifdrop.
        Put(block, 20, 4 | (8 << 16));
        BinaryPrimitives.WriteInt64LittleEndian(block.AsSpan(24), _seen);
        Put(block, 32, 5 | (8 << 16));
        BinaryPrimitives.WriteInt64LittleEndian(block.AsSpan(36), _lost);
        Put(block, 44, 0);
        Put(block, 48, block.Length);
        _file.Write(block);
    }
}
