using Iced.Intel;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// What is not translated: an exception, never a wrong answer, and a note for who reads the result.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: reads guest code where the walker said it is, inside one page.
    private const int CompatKeys = 1 << 20;
    private const int UnknownSegments = -1;
    private const int LongestInstruction = 15;

    private Step NotKnown(in Instruction instruction, ref Trap trap)
    {
        NoteUnknown(instruction);
        return Raise(Vectors.InvalidOpcode, 0, instruction.IP, ref trap);
    }

    /// <summary>An instruction of a feature that guests are not told of, or none at all. `ud2` and its kind mean what they do.</summary>
    private Step Undefined(in Instruction instruction, ref Trap trap)
    {
        if (instruction.Mnemonic is not (Mnemonic.Ud0 or Mnemonic.Ud1 or Mnemonic.Ud2))
            NoteUnknown(instruction);
        return Raise(Vectors.InvalidOpcode, 0, instruction.IP, ref trap);
    }

    private Step NotFlat(ulong rip, ref Trap trap)
    {
        if (!_machine.CountUnknown(UnknownSegments))
            _machine.AddUnknown(UnknownSegments, "32-bit code in segments that are not flat, or 16-bit code", []);
        return Raise(Vectors.GeneralProtection, 0, rip, ref trap);
    }

    private void NoteUnknown(in Instruction instruction)
    {
        int key = (int)instruction.Code + (instruction.CodeSize == CodeSize.Code32 ? CompatKeys : 0);
        if (_machine.CountUnknown(key))
            return;
        Span<byte> bytes = stackalloc byte[LongestInstruction];
        int length = instruction.Code == Code.INVALID ? LongestInstruction : instruction.Length;
        int read = 0;
        for (; read < length && _machine.Walker.Walk(_context.Root, instruction.IP + (ulong)read, Memory.Access.Read, out Memory.Walked at); read++)
            bytes[read] = *at.Host;
        string what = instruction.Code == Code.INVALID ? "no instruction" : $"{instruction.Code}";
        _machine.AddUnknown(key, instruction.CodeSize == CodeSize.Code32 ? $"{what} in 32-bit code" : what, bytes[..read]);
    }
}
