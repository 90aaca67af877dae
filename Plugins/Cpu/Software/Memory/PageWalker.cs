namespace Tessera.Plugins.Cpu.Software.Memory;

/// <summary>What an access does.</summary>
internal enum Access
{
    /// <summary>Reads data.</summary>
    Read,

    /// <summary>Writes data.</summary>
    Write,

    /// <summary>Fetches an instruction.</summary>
    Fetch,
}

/// <summary>Where an address leads.</summary>
internal unsafe ref struct Walked
{
    // SAFETY: Host is what GuestFrames answered: memory of the machine.

    /// <summary>The machine address.</summary>
    public ulong Address;

    /// <summary>The same in this process.</summary>
    public byte* Host;

    /// <summary>The L1 entry's machine address; all ones for a large page.</summary>
    public ulong Origin;

    /// <summary>The error code of the page fault, if it is one.</summary>
    public uint ErrorCode;

    /// <summary>The page may be written without another walk: writable and dirty.</summary>
    public bool IsWritable;

    /// <summary>The tables lead to memory that the machine does not have.</summary>
    public bool IsOutside;
}

/// <summary>Walks the guest's page tables as the hardware does in ring 3, accessed and dirty bits included; in memory that the guest may not write there are none.</summary>
internal sealed unsafe class PageWalker(GuestFrames frames)
{
    // SAFETY: table addresses come from GuestFrames.At and are checked for null.
    private const ulong Present = 1;
    private const ulong Writable = 2;
    private const ulong User = 4;
    private const ulong Accessed = 0x20;
    private const ulong Dirty = 0x40;
    private const ulong Large = 0x80;
    private const ulong AddressMask = 0x000f_ffff_ffff_f000;
    private const uint FaultPresent = 1;
    private const uint FaultWrite = 2;
    private const uint FaultUser = 4;
    private const uint FaultFetch = 16;
    private const int TopShift = 39;
    private const int BottomShift = 12;
    private const int LevelBits = 9;

    public static bool IsCanonical(ulong address) => (ulong)((long)(address << 16) >> 16) == address;

    /// <summary>Walks from a root. False is a page fault with the error code, or an address that leads outside.</summary>
    public bool Walk(long root, ulong address, Access access, out Walked walked)
    {
        walked = default;
        walked.ErrorCode = FaultUser | (access == Access.Write ? FaultWrite : access == Access.Fetch ? FaultFetch : 0);
        walked.Origin = ulong.MaxValue;
        ulong table = (ulong)root << 12;
        ulong rights = Writable | User;
        bool noExecute = false;
        for (int shift = TopShift; ; shift -= LevelBits)
        {
            byte* host = frames.At(table, out bool tableWritable);
            if (host == null)
            {
                (walked.IsOutside, walked.Address) = (true, table);
                return false;
            }

            int index = (int)(address >> shift) & 511;
            ref ulong place = ref ((ulong*)host)[index];
            ulong entry = place;
            if (shift > BottomShift)
                frames.MarkUpperTable(table);
            if ((entry & Present) == 0)
                return false;
            rights &= entry;
            noExecute |= (long)entry < 0;
            bool isLeaf = shift == BottomShift || (shift < TopShift && (entry & Large) != 0);
            if (!isLeaf)
            {
                if (tableWritable && (entry & Accessed) == 0)
                {
                    Interlocked.Or(ref place, Accessed);
                    frames.MarkDirty(table);
                }

                table = entry & AddressMask;
                continue;
            }

            if ((rights & User) == 0 || (access == Access.Write && (rights & Writable) == 0) || (access == Access.Fetch && noExecute))
            {
                walked.ErrorCode |= FaultPresent;
                return false;
            }

            if (shift == BottomShift)
                walked.Origin = table + ((ulong)index * 8);
            return Leaf(table, ref place, tableWritable, entry, address, shift, access, (rights & Writable) != 0, ref walked);
        }
    }

    private bool Leaf(ulong table, ref ulong place, bool tableWritable, ulong entry, ulong address, int shift, Access access, bool mayWrite, ref Walked walked)
    {
        ulong inside = (1UL << shift) - 1;
        walked.Address = (entry & AddressMask & ~inside) | (address & inside);
        walked.Host = frames.At(walked.Address, out bool memoryWritable);
        if (walked.Host == null)
        {
            walked.IsOutside = true;
            return false;
        }

        // An entry that cannot be made dirty lets nothing be written: it would be asked for again and again.
        if (access == Access.Write && (!memoryWritable || (!tableWritable && (entry & Dirty) == 0)))
        {
            walked.ErrorCode |= FaultPresent;
            return false;
        }

        ulong wanted = access == Access.Write ? Accessed | Dirty : Accessed;
        if (tableWritable && (entry & wanted) != wanted)
        {
            Interlocked.Or(ref place, wanted);
            frames.MarkDirty(table);
            entry |= wanted;
        }

        walked.IsWritable = mayWrite && memoryWritable && (entry & Dirty) != 0;
        return true;
    }
}
