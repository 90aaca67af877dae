using System.Collections.Frozen;
using Iced.Intel;

namespace Tessera.Plugins.Cpu.Software.Translation;

// What is done with an instruction of 32-bit code, where it differs.
internal sealed partial class Treatments
{
    private static readonly FrozenSet<Mnemonic> CompatHelpers = FrozenSet.ToFrozenSet(
    [
        Mnemonic.Aaa, Mnemonic.Aas, Mnemonic.Aam, Mnemonic.Aad, Mnemonic.Daa, Mnemonic.Das, Mnemonic.Salc, Mnemonic.Bound, Mnemonic.Into, Mnemonic.Arpl,
        Mnemonic.Lds, Mnemonic.Les, Mnemonic.Pusha, Mnemonic.Pushad, Mnemonic.Popa, Mnemonic.Popad, Mnemonic.Pushfd, Mnemonic.Popfd, Mnemonic.Sysenter,
        Mnemonic.Jcxz,

        // They reach only the eight registers that 32-bit code has.
        Mnemonic.Vzeroupper, Mnemonic.Vzeroall,
    ]);

    private readonly Treatment[] _compat = new Treatment[(int)Enum.GetValues<Code>().Max() + 1];

    private Treatment OfCompat(in Instruction instruction)
    {
        ref Treatment known = ref _compat[(int)instruction.Code];
        if (known == Treatment.Unknown)
            known = ClassifyCompat(instruction.Code);
        return known == Treatment.Native && (HasSpecialOperand(instruction) || CompatNeedsHelp(instruction)) ? Treatment.Helper : known;
    }

    private static Treatment ClassifyCompat(Code code) =>
        CompatHelpers.Contains(code.Mnemonic()) ? Treatment.Helper
        : code.Mnemonic() == Mnemonic.Sysexit ? Treatment.Privileged
        : Moffs(code) ? Treatment.Native
        : Classify(code);

    /// <summary>Operands of 16 bits on the stack and in jumps, counts in CX, bit strings in memory.</summary>
    private static bool CompatNeedsHelp(in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc => instruction.Op0Kind == OpKind.Memory && instruction.Op1Kind == OpKind.Register,
        Mnemonic.Pop => instruction.Op0Kind == OpKind.Memory || instruction.StackPointerIncrement != 4,
        Mnemonic.Push => instruction.StackPointerIncrement != -4,
        Mnemonic.Call => instruction.Code is not (Code.Call_rel32_32 or Code.Call_rm32),
        Mnemonic.Jmp => instruction.Code is not (Code.Jmp_rel8_32 or Code.Jmp_rel32_32 or Code.Jmp_rm32),
        Mnemonic.Ret => instruction.Code is not (Code.Retnd or Code.Retnd_imm16),
        Mnemonic.Leave => instruction.Code != Code.Leaved,
        Mnemonic.Loop => instruction.Code != Code.Loop_rel8_32_ECX,
        Mnemonic.Loope => instruction.Code != Code.Loope_rel8_32_ECX,
        Mnemonic.Loopne => instruction.Code != Code.Loopne_rel8_32_ECX,
        Mnemonic.Jecxz => instruction.Code != Code.Jecxz_rel8_32,
        _ => IsNarrowJump(instruction.Code),
    };

    private static bool IsNarrowJump(Code code) => code.IsJccShortOrNear() && code.ToOpCode().OperandSize == 16;
}
