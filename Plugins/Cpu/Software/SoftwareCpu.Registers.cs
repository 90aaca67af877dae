using Tessera.Plugins.Cpu.Software.Memory;

namespace Tessera.Plugins.Cpu.Software;

/// <summary>Registers between the contract's order, the state block's and the host's.</summary>
internal sealed unsafe partial class SoftwareCpu
{
    private const int InstructionPlace = 8;
    private const int InstructionBytes = 16;

    // SAFETY: both ends are arrays of sixteen words, the state block's or the state's own.

    /// <summary>From the contract's order (RAX RBX RCX RDX RSI RDI RSP RBP R8 …) to the block's.</summary>
    private static void ToHardware(ulong* from, ulong* to)
    {
        for (int register = 0; register < 8; register++)
            to[register] = from[register + 8];
        (to[8], to[9], to[10], to[11]) = (from[0], from[2], from[3], from[1]);
        (to[12], to[13], to[14], to[15]) = (from[6], from[7], from[4], from[5]);
    }

    /// <summary>And back.</summary>
    private static void FromHardware(ulong* from, ulong* to)
    {
        for (int register = 0; register < 8; register++)
            to[register + 8] = from[register];
        (to[0], to[1], to[2], to[3]) = (from[8], from[11], from[9], from[10]);
        (to[4], to[5], to[6], to[7]) = (from[14], from[15], from[12], from[13]);
    }

    /// <summary>The x87 registers into memory; the host's are new then.</summary>
    private void KeepX87()
    {
        ((delegate* unmanaged<byte*, void>)_translator.Thunks.SaveX87)(_vectors.Start + VectorArea.X87);
        // Where the host's last x87 instruction lies is not the guest's to know.
        X87.Slice(InstructionPlace, InstructionBytes).Clear();
        _context[StateBlock.X87Live] = 0;
    }
}
