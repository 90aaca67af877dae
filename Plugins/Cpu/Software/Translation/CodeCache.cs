using Tessera.Plugins.Cpu.Software.Memory;

namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>The blocks of a machine, by guest address and machine address of their first byte, and which frames they came from.</summary>
internal sealed class CodeCache(GuestFrames frames)
{
    private const ulong NoFrame = ulong.MaxValue;

    private readonly Dictionary<(ulong Rip, ulong Address), Block> _blocks = [];
    private readonly Dictionary<ulong, List<(ulong Rip, ulong Address)>> _byFrame = [];

    /// <summary>Blocks that were dropped because their code was written.</summary>
    public long Invalidations { get; private set; }

    /// <summary>How many blocks there are.</summary>
    public int Count => _blocks.Count;

    /// <summary>Finds a block; one that lies across two pages only where the second leads to the same frame.</summary>
    public nint Find(ulong rip, ulong address, ulong secondAddress) =>
        _blocks.TryGetValue((rip, address), out Block block) && (block.SecondFrame == NoFrame || block.SecondFrame == secondAddress >> 12) ? block.Code : 0;

    /// <summary>Whether the block there needs its second page to be found.</summary>
    public bool Crosses(ulong rip, ulong address) => _blocks.TryGetValue((rip, address), out Block block) && block.SecondFrame != NoFrame;

    /// <summary>Marks a frame as one that holds code, before the code is read: whoever writes it from now on says so.</summary>
    /// <returns>Whether it was none before.</returns>
    public bool Reserve(ulong address)
    {
        if (frames.HoldsCode(address))
            return false;
        frames.MarkCode(address);
        Interlocked.MemoryBarrier();
        return true;
    }

    /// <summary>Adds a block in one page.</summary>
    public void Add(ulong rip, ulong address, nint code)
    {
        _blocks[(rip, address)] = new Block(code, NoFrame);
        Note(address, (rip, address));
    }

    /// <summary>Adds a block of one instruction that lies across two pages.</summary>
    public void Add(ulong rip, ulong address, ulong secondAddress, nint code)
    {
        _blocks[(rip, address)] = new Block(code, secondAddress >> 12);
        Note(address, (rip, address));
        Note(secondAddress, (rip, address));
    }

    /// <summary>Drops everything that came from a frame, and from the frames whose blocks reach into it.</summary>
    public void Invalidate(ulong address)
    {
        frames.ClearCode(address);
        if (!_byFrame.Remove(address >> 12, out List<(ulong Rip, ulong Address)>? keys))
            return;
        Invalidations++;
        foreach ((ulong Rip, ulong Address) key in keys)
        {
            _blocks.Remove(key);
            if (key.Address >> 12 != address >> 12)
                Invalidate(key.Address);
        }
    }

    /// <summary>Drops everything.</summary>
    public void Clear()
    {
        _blocks.Clear();
        _byFrame.Clear();
        frames.ClearAllCode();
    }

    private void Note(ulong address, (ulong Rip, ulong Address) key)
    {
        if (!_byFrame.TryGetValue(address >> 12, out List<(ulong Rip, ulong Address)>? keys))
            _byFrame[address >> 12] = keys = [];
        keys.Add(key);
    }

    private readonly record struct Block(nint Code, ulong SecondFrame);
}
