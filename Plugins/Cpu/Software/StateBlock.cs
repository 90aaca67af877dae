namespace Tessera.Plugins.Cpu.Software;

/// <summary>
/// Where things lie in a state block: what translated code reaches by the host's RSP while it runs on one page-table root. One block
/// holds the registers that are not in host registers, the jump cache and the software TLB of its root; below it lies a
/// stack, for flags that are put aside and for handlers of signals. What is used most lies within 128 bytes of RSP: such addresses are a byte long.
/// </summary>
internal static class StateBlock
{
    /// <summary>Guest instructions until translated code must come back; taken off at backward jumps, calls and indirect jumps.</summary>
    public const int Budget = 0x000;
    public const int TlbMask = 0x008;
    public const int OffsetMask = 0x010;
    public const int JumpMask = 0x018;
    public const int SignMask = 0x020;
    public const int Temporary = 0x028;

    /// <summary>The guest address of the page whose code runs: code itself knows only its place in the page.</summary>
    public const int PageBase = 0x030;
    public const int Rip = 0x038;

    /// <summary>The upper eight registers, of which some are only here, then the lower eight; see <see cref="Register"/>.</summary>
    public const int Registers = 0x040;

    /// <summary>The arithmetic flags and DF: what the host's own flags hold while translated code runs.</summary>
    public const int Flags = 0x0c0;

    /// <summary>Flags that the host's must never hold (TF, NT, AC, ID): `pushfq` adds them.</summary>
    public const int SoftFlags = 0x0c8;
    public const int FsBase = 0x0d0;
    public const int GsBase = 0x0d8;
    public const int HostStack = 0x0e0;
    public const int Resume = 0x0e8;

    /// <summary>The guest address of an access that missed the TLB.</summary>
    public const int Address = 0x0f0;

    /// <summary>Whether the host's x87 registers are the guest's now, 64 bits.</summary>
    public const int X87Live = 0x0f8;

    /// <summary>Four host registers lent for an instruction.</summary>
    public const int Borrowed = 0x100;
    public const int Mxcsr = 0x120;
    public const int HostMxcsr = 0x124;

    /// <summary>Why translated code came back: an <see cref="Translation.ExitReason"/>, 32 bits.</summary>
    public const int Reason = 0x128;

    /// <summary>What belongs to the reason: the number of a site, 32 bits.</summary>
    public const int Argument = 0x12c;
    public const int FaultInstruction = 0x130;
    public const int FaultAddress = 0x138;
    public const int FaultSignal = 0x140;

    /// <summary>Segment selectors, 16 bits each, as `mov` reads them: ES CS SS DS FS GS.</summary>
    public const int Selectors = 0x148;

    /// <summary>Host addresses that later instructions of a block come back to.</summary>
    public const int Kept = 0x160;

    /// <summary>Where the CPU's <see cref="Memory.VectorArea"/> lies.</summary>
    public const int VectorArea = 0x1a0;

    /// <summary>A copy of an operand that lies across two pages.</summary>
    public const int Bounce = 0x200;
    public const int BounceBytes = 512;

    public const int JumpEntries = 4096;

    /// <summary>The lowest bit of an address that chooses its entry.</summary>
    public const int JumpShift = 2;
    public const int VictimEntries = 1024;
    public const int VictimShift = 10;
    public const int TlbEntries = 1024;

    /// <summary>Jump cache: guest addresses, their negatives (for comparisons that leave the flags alone), host code.</summary>
    public const int JumpTags = 0x1000;
    public const int JumpNegatives = JumpTags + (JumpEntries * 8);
    public const int JumpTargets = JumpNegatives + (JumpEntries * 8);

    /// <summary>Victim cache: what another target has replaced in the jump cache, by other bits of the address; asked before C# is.</summary>
    public const int VictimTags = JumpTargets + (JumpEntries * 8);
    public const int VictimTargets = VictimTags + (VictimEntries * 8);

    /// <summary>
    /// TLB: minus the page's address where it may be read (or written), so that adding an address of the page leaves its offset; the page's
    /// host address; that less the guest address; the machine address of the L1 entry it came from.
    /// </summary>
    public const int TlbRead = VictimTargets + (VictimEntries * 8);
    public const int TlbWrite = TlbRead + (TlbEntries * 8);
    public const int TlbHost = TlbWrite + (TlbEntries * 8);
    public const int TlbDelta = TlbHost + (TlbEntries * 8);
    public const int TlbOrigin = TlbDelta + (TlbEntries * 8);
    public const int Bytes = TlbOrigin + (TlbEntries * 8);

    /// <summary>The stack below the block, and a page that nobody may touch below that.</summary>
    public const int StackBytes = 64 << 10;
    public const int GuardBytes = 4096;

    // Tags of empty entries. Translated code looks for any address, and each tag is some address's: of one that is not canonical, so that nothing is ever entered for it. What would be
    // found there is whatever the entry had last, so the entry in which it is looked for has the other tag, whose address is looked for elsewhere.
    private const ulong NoPage = 1UL << 62;
    private const ulong NoPageEither = NoPage | ((ulong)(TlbEntries / 2) << 12);
    private const ulong NoCode = ulong.MaxValue >> 1;
    private const ulong NoCodeEither = NoCode ^ (1UL << JumpShift);

    /// <summary>The tag of an empty slot of the TLB. An access of several bytes may be looked for in the slot before its page's.</summary>
    public static ulong NoPageIn(int slot) => slot is 0 or TlbEntries - 1 ? NoPageEither : NoPage;

    /// <summary>The tag of an empty entry of the jump cache.</summary>
    public static ulong NoCodeIn(int entry) => entry == Memory.RootContext.JumpOf(NoCode) ? NoCodeEither : NoCode;

    /// <summary>The tag of an empty entry of the victim cache.</summary>
    public static ulong NoVictimIn(int entry) => entry == Memory.RootContext.VictimOf(NoCode) ? NoCodeEither : NoCode;

    /// <summary>Whether a tag of the jump cache or the victim cache is an empty entry's.</summary>
    public static bool IsNoCode(ulong tag) => tag is NoCode or NoCodeEither;

    /// <summary>Makes a row of TLB tags empty.</summary>
    public static void EmptyTags(Span<ulong> tags)
    {
        tags.Fill(NoPage);
        tags[0] = tags[^1] = NoPageEither;
    }

    /// <summary>Where a selector lies.</summary>
    public static int Selector(Iced.Intel.Register register) => Selectors + ((register - Iced.Intel.Register.ES) * sizeof(ushort));

    /// <summary>Where a register lies, by the hardware's number (RAX RCX RDX RBX RSP RBP RSI RDI R8 … R15).</summary>
    public static int Register(int number) => Registers + ((number ^ 8) * sizeof(ulong));
}
