namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>What code is translated for: its operand size, which data segments it may use, and whether vector registers. Code of one mode is never run in another.</summary>
[Flags]
internal enum CodeMode : byte
{
    /// <summary>64-bit code.</summary>
    Long = 0,

    /// <summary>32-bit code in flat segments.</summary>
    Compat = 1,

    /// <summary>DS is null: an access through it faults.</summary>
    NoDs = 2,

    /// <summary>ES is null.</summary>
    NoEs = 4,

    /// <summary>FS is null.</summary>
    NoFs = 8,

    /// <summary>GS is null.</summary>
    NoGs = 16,

    /// <summary>CR0.TS: x87 and vector instructions raise #NM.</summary>
    NoVectors = 32,

    /// <summary>Each access is checked by itself: no mode of a CPU, but where a block goes on that could not check several at once.</summary>
    Apart = 64,
}
