namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>A place where guest memory is reached.</summary>
/// <param name="Offset">The instruction, from the start of its page.</param>
/// <param name="Retry">Host code that computes the address again; 0 where the instruction is carried out in C# instead.</param>
/// <param name="Bytes">How many bytes are reached.</param>
/// <param name="IsWrite">Whether they are written.</param>
/// <param name="IsStack">Whether a fault of the address itself is the stack's.</param>
/// <param name="Before">How many instructions of its block come before.</param>
/// <param name="IsSpecial">Whether the instruction looks at its alignment before it faults, or at a mask.</param>
internal readonly record struct Site(int Offset, nint Retry, int Bytes, bool IsWrite, bool IsStack, int Before, bool IsSpecial);

/// <summary>A jump inside a page that is linked when it is first taken.</summary>
/// <param name="Page">The page.</param>
/// <param name="Target">Where it goes, from the start of the page.</param>
/// <param name="Place">Its displacement, in the writable mapping.</param>
/// <param name="Branch">The displacement of the conditional jump that leads to it and could go straight to the target; 0 for none.</param>
/// <param name="IsApart">Whether it goes to code in which each access is checked by itself.</param>
internal readonly record struct Link(PageCode Page, int Target, nint Place, nint Branch, bool IsApart = false);

/// <summary>
/// What a host thread's own code for single instructions refers to, and where that code lies. Sites of such code have negative numbers.
/// </summary>
/// <param name="slot">Its place among those of all threads.</param>
internal sealed class AloneCode(int slot)
{
    private const int MostSites = 8;

    private readonly Site[] _sites = new Site[MostSites];
    private int _count;

    public int Slot { get; } = slot;

    /// <summary>The instruction, if translated code leaves it to C#; its addresses are from the start of its page.</summary>
    public Iced.Intel.Instruction Helper { get; set; }

    /// <summary>The offset of the instruction in its page.</summary>
    public int Offset { get; private set; }

    /// <summary>A site by the number that code gives.</summary>
    public ref readonly Site this[int number] => ref _sites[~number];

    /// <summary>Begins with another instruction.</summary>
    public void Begin(int offset) => (_count, Offset) = (0, offset);

    /// <summary>Adds a site; answers its number.</summary>
    public int Add(in Site site)
    {
        _sites[_count] = site;
        return ~_count++;
    }
}

/// <summary>What is written behind a block: what seldom runs.</summary>
internal struct ColdCode
{
    public enum Kind : byte
    {
        /// <summary>A TLB miss; R11 has the address plus the tag of the slot in RCX, if <see cref="Argument"/> is not 0.</summary>
        Miss,

        /// <summary>The budget ran out before a jump to <see cref="Target"/>.</summary>
        Deadline,

        /// <summary>The budget ran out before a jump to R11.</summary>
        DeadlineAtR11,

        /// <summary>The other way of a conditional jump.</summary>
        Branch,

        /// <summary>A jump that waits to be linked.</summary>
        Link,

        /// <summary>The instruction is carried out in C#: <see cref="Number"/> of the helpers.</summary>
        Help,

        /// <summary>A check of several accesses failed: goes on at <see cref="Target"/> in code that checks each.</summary>
        Apart,

        /// <summary>x87 registers are to be loaded first.</summary>
        X87,
    }

    public Kind What;

    /// <summary>The flags lie on the translated stack (plain sequences).</summary>
    public bool FlagsPushed;
    public bool FlagsLive;

    /// <summary>Whether a jump looks at what is left of the budget.</summary>
    public bool Looks;

    /// <summary>The jump that leads here.</summary>
    public nint Place;

    /// <summary>A conditional jump that may be linked with it.</summary>
    public nint Branch;
    public int Number;
    public int Argument;
    public int Count;
    public ulong Target;
    public nint Back;
}
