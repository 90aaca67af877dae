namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>A place where guest memory is reached.</summary>
/// <param name="Rip">The instruction.</param>
/// <param name="Retry">Host code that computes the address again.</param>
/// <param name="Bytes">How many bytes are reached.</param>
/// <param name="IsWrite">Whether they are written.</param>
/// <param name="IsStack">Whether a fault of the address itself is the stack's.</param>
/// <param name="Before">How many instructions of its block come before.</param>
internal readonly record struct Site(ulong Rip, nint Retry, int Bytes, bool IsWrite, bool IsStack, int Before);

/// <summary>A jump inside a page that is linked when it is first taken.</summary>
/// <param name="Target">Where it goes.</param>
/// <param name="Place">Its displacement, in the writable mapping.</param>
internal readonly record struct Link(ulong Target, nint Place);

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
    public int Number;
    public int Argument;
    public int Count;
    public ulong Target;
    public nint Back;
}
