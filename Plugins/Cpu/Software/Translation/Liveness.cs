using Iced.Intel;

namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>
/// Which arithmetic flags are still wanted. The flags of guest code are the host's, and checking an address changes them unless a
/// dearer sequence is taken; most often nobody reads them again. What cannot be seen (other pages, returns, indirect jumps) counts as wanting all.
/// </summary>
internal static class Liveness
{
    public const RflagsBits All = RflagsBits.OF | RflagsBits.SF | RflagsBits.ZF | RflagsBits.AF | RflagsBits.CF | RflagsBits.PF;

    /// <summary>The flags that an instruction replaces, whatever its operands are. Undefined ones are not among them: processors leave many as they were.</summary>
    public static RflagsBits Killed(in Instruction instruction) =>
        instruction.HasRepPrefix || instruction.HasRepnePrefix || MayShiftByNothing(instruction) ? RflagsBits.None : (instruction.RflagsWritten | instruction.RflagsCleared | instruction.RflagsSet) & All;

    /// <summary>A shift or rotation by CL.</summary>
    public static bool ShiftsByCl(in Instruction instruction) =>
        IsShift(instruction.Mnemonic) && instruction.GetOpKind(instruction.OpCount - 1) == OpKind.Register && instruction.GetOpRegister(instruction.OpCount - 1) == Register.CL;

    /// <summary>A count of 0 leaves the flags as they were.</summary>
    private static bool MayShiftByNothing(in Instruction instruction)
    {
        if (!IsShift(instruction.Mnemonic))
            return false;
        int last = instruction.OpCount - 1;
        return instruction.GetOpKind(last) == OpKind.Register || (instruction.GetImmediate(last) & 31) == 0;
    }

    private static bool IsShift(Mnemonic mnemonic) => mnemonic is Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Rol or Mnemonic.Ror
        or Mnemonic.Rcl or Mnemonic.Rcr or Mnemonic.Shld or Mnemonic.Shrd;
}
