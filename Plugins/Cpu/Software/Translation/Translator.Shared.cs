using System.Numerics;
using Iced.Intel;

namespace Tessera.Plugins.Cpu.Software.Translation;

// One check for accesses that lie near each other (CheckGroups). Where it fails, for a page that is not in the TLB or a reach across two, the rest of the block
// runs from code in which each access is checked by itself.
internal sealed unsafe partial class Translator
{
    // SAFETY: only writes through the emitter.
    private const int MostKept = 8;
    private const uint InMemory = (1u << 9) | (1u << 10) | (1u << 11);

    private readonly CheckGroups _groups = new(MostInstructions);
    private readonly bool[] _keeps = new bool[MostInstructions];

    /// <summary>Which group's address is kept where.</summary>
    private readonly int[] _kept = new int[MostKept];

    /// <summary>Each access is checked by itself.</summary>
    private bool _isApart;

    /// <summary>The group whose first byte R11 points to; -1 for none.</summary>
    private int _held = -1;

    /// <summary>How far behind R11 the operand lies that was reached last.</summary>
    private int _at;

    private void FindGroups()
    {
        _held = -1;
        _kept.AsSpan().Fill(-1);
        if (_isApart || _count == 1)
        {
            _groups.Forget(_count);
            return;
        }

        _groups.Find(_instructions.AsSpan(0, _count), _treatments);
        for (int index = 0; index < _count; index++)
            _keeps[index] = KeepsAddress(index);
    }

    /// <summary>Whether what R11 holds before an instruction, or the address of a group that it reaches, is there after it.</summary>
    private bool KeepsAddress(int index)
    {
        ref readonly Instruction instruction = ref _instructions[index];
        Treatment treatment = _treatments.Of(instruction);
        if (treatment != Treatment.Native || instruction.CodeSize == CodeSize.Code32)
            return treatment == Treatment.Nothing;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Push or Mnemonic.Pop or Mnemonic.Leave:
                return instruction.Op0Kind != OpKind.Memory && _groups.Stack(index).Group >= 0;
            case Mnemonic.Lea:
                return IsDirect(instruction);
            case Mnemonic.Pushfq or Mnemonic.Rdtscp or Mnemonic.Rdfsbase or Mnemonic.Rdgsbase or Mnemonic.Rdpid:
                return false;
            default:
                break;
        }

        if (instruction.FlowControl != FlowControl.Next)
            return true;
        OperandFacts facts = Look(instruction);
        if (facts.HasMemory)
            return _groups.Operand(index).Group >= 0;
        return facts.HasHighByte || BitOperations.PopCount(facts.Used & InMemory) <= (facts.CountInRcx || facts.ResultInRcx ? 0 : 1);
    }

    /// <summary>Lets R11 point to the group of an access without a check, if its address is known; <see cref="_at"/> says where the access lies.</summary>
    private bool TryHold(CheckGroups.Member member)
    {
        ref CheckGroups.Group group = ref _groups[member.Group];
        _at = (int)(member.Place - group.Low);
        if (_held == member.Group)
            return true;
        if (group.Kept == 0)
            return false;
        _emit.LoadState(Thunks.R11, group.Kept);
        _held = member.Group;
        return true;
    }

    /// <summary>Turns the guest address of a group in R11 into a host address, or goes on apart.</summary>
    private void CheckGroup(int number, bool flagsWanted)
    {
        ref CheckGroups.Group group = ref _groups[number];
        ColdCode apart = new() { What = ColdCode.Kind.Apart, Target = _instructions[_before].IP, Count = _before };
        CheckReach((int)(group.High - group.Low), group.Writes, flagsWanted, ref apart);
        _held = number;
        if (MustKeep(number, group.Last) && FreeSlot() is var slot and >= 0)
        {
            _kept[slot] = number;
            group.Kept = StateBlock.Kept + (slot * sizeof(ulong));
            _emit.StoreState(group.Kept, Thunks.R11);
        }
    }

    /// <summary>Whether R11 is lost before the last access of a group.</summary>
    private bool MustKeep(int number, int last)
    {
        if (last > _before && !_keeps[_before])
            return true;
        for (int index = _before + 1; index <= last; index++)
        {
            if (!_keeps[index] || IsOther(_groups.Operand(index).Group, number) || IsOther(_groups.Stack(index).Group, number))
                return true;
        }

        return false;
    }

    private static bool IsOther(int group, int number) => group >= 0 && group != number;

    private int FreeSlot()
    {
        for (int slot = 0; slot < MostKept; slot++)
        {
            if (_kept[slot] < 0 || _groups[_kept[slot]].Last < _before)
                return slot;
        }

        return -1;
    }

    /// <summary>Whether `lea` is the host's own.</summary>
    private static bool IsDirect(in Instruction instruction) =>
        instruction.CodeSize == CodeSize.Code64 && !instruction.Op0Register.IsGPR16() && !instruction.MemoryBase.IsGPR32() && !instruction.MemoryIndex.IsGPR32() && instruction.MemoryBase != Register.EIP
        && (instruction.IsIPRelativeMemoryOperand || (IsInHost(instruction.MemoryBase) && IsInHost(instruction.MemoryIndex)
            && (instruction.MemoryBase != Register.None || instruction.MemoryIndex != Register.None)));

    private static int HostOf(Register register) => register == Register.None ? -1 : Thunks.Host(NumberOf(register));

    private static bool IsInHost(Register register) => register == Register.None || Thunks.Host(NumberOf(register)) >= 0;
}
