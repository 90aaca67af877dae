using System.Runtime.InteropServices;
using Tessera.Plugins.Cpu.Software.Native;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Software.Memory;

/// <summary>A state block with the software TLB and the jump cache of one page-table root.</summary>
internal sealed unsafe class RootContext : IDisposable
{
    // SAFETY: the block is mapped in the constructor and unmapped in Dispose; offsets are StateBlock's.
    private const int MappedBytes = StateBlock.GuardBytes + StateBlock.StackBytes + StateBlock.Bytes;
    private const int PageEntries = 128;
    private readonly nint _mapping;
    private readonly (ulong Page, PageCode? Code)[] _pages = new (ulong, PageCode?)[PageEntries];

    /// <summary>Where L4 slot 272 begins: the first that is the guest kernel's alone.</summary>
    private const ulong FirstKernelAddress = 0xffff_8800_0000_0000;
    private const ulong FirstUpperPage = 1UL << (63 - 12);
    private const ulong KernelBytes = ulong.MaxValue - FirstKernelAddress + 1;
    private int _lastFilled;

    /// <param name="vectors">The CPU's.</param>
    public RootContext(VectorArea vectors)
    {
        _mapping = NativeCalls.Map(0, MappedBytes, NativeCalls.Read | NativeCalls.Write, NativeCalls.Private | NativeCalls.Anonymous, -1, 0);
        if (_mapping == NativeCalls.Failed || NativeCalls.Protect(_mapping, StateBlock.GuardBytes, 0) != 0)
            throw new EngineException($"mmap of a state block failed: {Marshal.GetLastPInvokeErrorMessage()}.", "Free memory.");
        Block = (byte*)_mapping + StateBlock.GuardBytes + StateBlock.StackBytes;
        this[StateBlock.TlbMask] = (ulong)(StateBlock.TlbEntries - 1) << 12;
        this[StateBlock.OffsetMask] = ~0xfffUL;
        this[StateBlock.JumpMask] = (StateBlock.JumpEntries - 1) << StateBlock.JumpShift;
        this[StateBlock.SignMask] = 1UL << 63;
        this[StateBlock.Mxcsr] = XsaveArea.InitialMxcsr;
        this[StateBlock.VectorArea] = (ulong)vectors.Start;
        Flush();
    }

    /// <summary>The block, for the host's RSP.</summary>
    public byte* Block { get; }

    /// <summary>The root's frame; -1 for none.</summary>
    public long Root { get; set; } = -1;

    /// <summary>The machine's count of TLB flushes when this one was last flushed.</summary>
    public long Epoch { get; set; }

    /// <summary>The machine's count of changes of code when the jump cache was last flushed.</summary>
    public long CodeEpoch { get; set; }

    /// <summary>The same of changes of code in the processes' half of the address space.</summary>
    public long LowerCodeEpoch { get; set; }

    /// <summary>The mode of the code in the jump cache.</summary>
    public CodeMode Mode { get; set; }

    /// <summary>For tests: a page that is entered replaces the one before, wherever it lies.</summary>
    public bool OnePage { get; init; }

    /// <summary>When it was used last.</summary>
    public long Used { get; set; }

    /// <summary>A word of the block.</summary>
    public ref ulong this[int offset] => ref *(ulong*)(Block + offset);

    /// <summary>A guest register by number.</summary>
    public ref ulong Register(int number) => ref *(ulong*)(Block + StateBlock.Register(number));

    /// <summary>The TLB slot of an address.</summary>
    public static int SlotOf(ulong address) => (int)(address >> 12) & (StateBlock.TlbEntries - 1);

    /// <summary>The jump cache's entry of an address.</summary>
    public static int JumpOf(ulong address) => (int)(address >> StateBlock.JumpShift) & (StateBlock.JumpEntries - 1);

    /// <summary>The victim cache's entry of an address.</summary>
    public static int VictimOf(ulong address) => (int)(address ^ (address >> StateBlock.VictimShift)) & (StateBlock.VictimEntries - 1);

    /// <summary>Forgets every translation of addresses and every target.</summary>
    public void Flush()
    {
        StateBlock.EmptyTags(new Span<ulong>(Block + StateBlock.TlbRead, StateBlock.TlbEntries));
        FlushWrites();
        FlushJumps();
    }

    /// <summary>
    /// Takes over what another root knows of the kernel's half of the address space, which both have from the same tables. This one has just been flushed.
    /// </summary>
    public void TakeUpper(RootContext from)
    {
        for (int slot = 0; slot < StateBlock.TlbEntries * sizeof(ulong); slot += sizeof(ulong))
        {
            // Tags are minus the page's address.
            if (from[StateBlock.TlbRead + slot] - 1 >= KernelBytes)
                continue;
            this[StateBlock.TlbRead + slot] = from[StateBlock.TlbRead + slot];
            this[StateBlock.TlbWrite + slot] = from[StateBlock.TlbWrite + slot];
            this[StateBlock.TlbHost + slot] = from[StateBlock.TlbHost + slot];
            this[StateBlock.TlbDelta + slot] = from[StateBlock.TlbDelta + slot];
            this[StateBlock.TlbOrigin + slot] = from[StateBlock.TlbOrigin + slot];
        }

        for (int entry = 0; entry < StateBlock.JumpEntries * sizeof(ulong); entry += sizeof(ulong))
        {
            if (from[StateBlock.JumpTags + entry] < FirstKernelAddress)
                continue;
            this[StateBlock.JumpTags + entry] = from[StateBlock.JumpTags + entry];
            this[StateBlock.JumpNegatives + entry] = from[StateBlock.JumpNegatives + entry];
            this[StateBlock.JumpTargets + entry] = from[StateBlock.JumpTargets + entry];
        }

        for (int entry = 0; entry < PageEntries; entry++)
        {
            if (from._pages[entry].Page >= FirstKernelAddress >> 12)
                _pages[entry] = from._pages[entry];
        }

        Mode = from.Mode;
    }

    /// <summary>Forgets which pages may be written.</summary>
    public void FlushWrites() => StateBlock.EmptyTags(new Span<ulong>(Block + StateBlock.TlbWrite, StateBlock.TlbEntries));

    /// <summary>Forgets every target of jumps.</summary>
    public void FlushJumps()
    {
        Span<ulong> tags = new(Block + StateBlock.JumpTags, StateBlock.JumpEntries);
        Span<ulong> negatives = new(Block + StateBlock.JumpNegatives, StateBlock.JumpEntries);
        tags.Fill(StateBlock.NoCodeIn(0));
        negatives.Fill(0 - StateBlock.NoCodeIn(0));
        tags[^1] = StateBlock.NoCodeIn(tags.Length - 1);
        negatives[^1] = 0 - tags[^1];
        Span<ulong> victims = new(Block + StateBlock.VictimTags, StateBlock.VictimEntries);
        victims.Fill(StateBlock.NoVictimIn(1));
        victims[0] = StateBlock.NoVictimIn(0);
        _pages.AsSpan().Clear();
    }

    /// <summary>Forgets the targets of jumps in the processes' half of the address space.</summary>
    public void FlushLowerJumps()
    {
        Span<ulong> tags = new(Block + StateBlock.JumpTags, StateBlock.JumpEntries);
        Span<ulong> negatives = new(Block + StateBlock.JumpNegatives, StateBlock.JumpEntries);
        for (int entry = 0; entry < tags.Length; entry++)
        {
            if ((long)tags[entry] < 0)
                continue;
            tags[entry] = StateBlock.NoCodeIn(entry);
            negatives[entry] = 0 - tags[entry];
        }

        Span<ulong> victims = new(Block + StateBlock.VictimTags, StateBlock.VictimEntries);
        for (int entry = 0; entry < victims.Length; entry++)
        {
            if ((long)victims[entry] >= 0)
                victims[entry] = StateBlock.NoVictimIn(entry);
        }

        foreach (ref (ulong Page, PageCode? Code) page in _pages.AsSpan())
        {
            if (page.Page < FirstUpperPage)
                page = default;
        }
    }

    /// <summary>Forgets what came from one L1 entry: at most two slots can hold it.</summary>
    public void Drop(ulong entryAddress)
    {
        int first = (int)(entryAddress >> 3) & 511;
        for (int slot = first; slot < StateBlock.TlbEntries; slot += 512)
        {
            if (this[StateBlock.TlbOrigin + (slot * 8)] == entryAddress)
                this[StateBlock.TlbRead + (slot * 8)] = this[StateBlock.TlbWrite + (slot * 8)] = StateBlock.NoPageIn(slot);
        }
    }

    /// <summary>Enters a page.</summary>
    public void Fill(ulong address, byte* host, bool writable, ulong origin)
    {
        int slot = SlotOf(address);
        int at = slot * 8;
        if (OnePage)
            this[StateBlock.TlbRead + (_lastFilled * 8)] = this[StateBlock.TlbWrite + (_lastFilled * 8)] = StateBlock.NoPageIn(_lastFilled);
        _lastFilled = slot;
        ulong page = address & ~0xfffUL;
        this[StateBlock.TlbRead + at] = 0 - page;
        this[StateBlock.TlbWrite + at] = writable ? 0 - page : StateBlock.NoPageIn(slot);
        this[StateBlock.TlbHost + at] = (ulong)host;
        this[StateBlock.TlbDelta + at] = (ulong)host - page;
        this[StateBlock.TlbOrigin + at] = origin;
    }

    /// <summary>Translated code for an address, or 0.</summary>
    public nint CodeAt(ulong rip)
    {
        int at = JumpOf(rip) * 8;
        return this[StateBlock.JumpTags + at] == rip ? (nint)this[StateBlock.JumpTargets + at] : 0;
    }

    /// <summary>Remembers translated code for an address.</summary>
    public void Remember(ulong rip, nint code)
    {
        int at = JumpOf(rip) * 8;
        ulong before = this[StateBlock.JumpTags + at];
        if (!StateBlock.IsNoCode(before) && before != rip)
        {
            int victim = VictimOf(before) * 8;
            this[StateBlock.VictimTags + victim] = before;
            this[StateBlock.VictimTargets + victim] = this[StateBlock.JumpTargets + at];
        }

        this[StateBlock.JumpTags + at] = rip;
        this[StateBlock.JumpNegatives + at] = 0 - rip;
        this[StateBlock.JumpTargets + at] = (ulong)code;
    }

    /// <summary>What is translated of the page at an address, if it is known; holds as long as the targets of jumps do.</summary>
    public PageCode? PageAt(ulong rip)
    {
        ref readonly (ulong Page, PageCode? Code) entry = ref _pages[(int)(rip >> 12) & (PageEntries - 1)];
        return entry.Page == rip >> 12 ? entry.Code : null;
    }

    /// <summary>Remembers it.</summary>
    public void RememberPage(ulong rip, PageCode page) => _pages[(int)(rip >> 12) & (PageEntries - 1)] = (rip >> 12, page);

    /// <inheritdoc/>
    public void Dispose() => _ = NativeCalls.Unmap(_mapping, MappedBytes);
}
