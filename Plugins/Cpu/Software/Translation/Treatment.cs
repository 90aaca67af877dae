using System.Collections.Frozen;
using Iced.Intel;

namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>What is done with an instruction.</summary>
internal enum Treatment : byte
{
    /// <summary>Not asked yet.</summary>
    Unknown,

    /// <summary>It runs as it is, with other registers and addresses.</summary>
    Native,

    /// <summary>It is carried out in C#, or raises an exception there.</summary>
    Helper,

    /// <summary>It has a sequence of its own for the common case, and is carried out in C# in the others.</summary>
    Inlined,

    /// <summary>It does nothing that a guest could see.</summary>
    Nothing,

    /// <summary>Invalid opcode: guests are not told of it, or nobody has it.</summary>
    Undefined,

    /// <summary>General protection: not for ring 3.</summary>
    Privileged,
}

/// <summary>
/// Says what is done with each instruction. A list of what may run, not of what may not: an instruction of a feature that is not named here
/// is an invalid opcode, so that a new one of the host's can never do in a guest what nobody here has thought of.
/// </summary>
/// <param name="counts">Whether guests may see nothing of the host's clock and its random numbers.</param>
internal sealed partial class Treatments(bool counts = false)
{
    private static readonly FrozenSet<CpuidFeature> Features = FrozenSet.ToFrozenSet(
    [
        CpuidFeature.INTEL8086, CpuidFeature.INTEL186, CpuidFeature.INTEL286, CpuidFeature.INTEL386, CpuidFeature.INTEL486, CpuidFeature.X64,
        CpuidFeature.ADX, CpuidFeature.AES, CpuidFeature.AVX, CpuidFeature.AVX2, CpuidFeature.BMI1, CpuidFeature.BMI2, CpuidFeature.CET_IBT,
        CpuidFeature.CLFLUSHOPT, CpuidFeature.CLFSH, CpuidFeature.CLWB, CpuidFeature.CMOV, CpuidFeature.CMPXCHG16B, CpuidFeature.CPUID,
        CpuidFeature.CX8, CpuidFeature.F16C, CpuidFeature.FMA, CpuidFeature.FPU, CpuidFeature.FPU287, CpuidFeature.FPU387, CpuidFeature.FSGSBASE,
        CpuidFeature.FXSR, CpuidFeature.GFNI, CpuidFeature.LZCNT, CpuidFeature.MMX, CpuidFeature.MOVBE, CpuidFeature.MSR, CpuidFeature.MULTIBYTENOP,
        CpuidFeature.PAUSE, CpuidFeature.PCLMULQDQ, CpuidFeature.POPCNT, CpuidFeature.PREFETCHW, CpuidFeature.RDPID, CpuidFeature.RDPMC,
        CpuidFeature.RDRAND, CpuidFeature.RDSEED, CpuidFeature.RDTSCP, CpuidFeature.SHA, CpuidFeature.SSE, CpuidFeature.SSE2, CpuidFeature.SSE3,
        CpuidFeature.SSE4_1, CpuidFeature.SSE4_2, CpuidFeature.SSE4A, CpuidFeature.SSSE3, CpuidFeature.SYSCALL, CpuidFeature.TSC, CpuidFeature.VAES,
        CpuidFeature.VPCLMULQDQ, CpuidFeature.XSAVE, CpuidFeature.XSAVEOPT,
    ]);

    private static readonly FrozenSet<Mnemonic> Helpers = FrozenSet.ToFrozenSet(
    [
        Mnemonic.Popfq, Mnemonic.Popf, Mnemonic.Pushf, Mnemonic.Xgetbv, Mnemonic.Xlatb, Mnemonic.Out, Mnemonic.Iretq, Mnemonic.Iretd, Mnemonic.Iret,
        Mnemonic.Retf, Mnemonic.Enter, Mnemonic.Xsave, Mnemonic.Xsave64, Mnemonic.Xsaveopt, Mnemonic.Xsaveopt64, Mnemonic.Xrstor,
        Mnemonic.Xrstor64, Mnemonic.Fxsave, Mnemonic.Fxsave64, Mnemonic.Fxrstor, Mnemonic.Fxrstor64, Mnemonic.Lsl, Mnemonic.Lar, Mnemonic.Verr,
        Mnemonic.Verw, Mnemonic.Wrfsbase, Mnemonic.Wrgsbase, Mnemonic.Smsw, Mnemonic.Sgdt, Mnemonic.Sidt, Mnemonic.Sldt, Mnemonic.Str, Mnemonic.Lss,
        Mnemonic.Lfs, Mnemonic.Lgs, Mnemonic.Maskmovq, Mnemonic.Maskmovdqu, Mnemonic.Vmaskmovdqu, Mnemonic.Int3, Mnemonic.Int, Mnemonic.Int1,
        Mnemonic.Fnstenv, Mnemonic.Fnsave, Mnemonic.Fstenv, Mnemonic.Fsave,
    ]);

    /// <summary>What tells of the host: carried out in C# where time follows from work.</summary>
    private static readonly FrozenSet<Mnemonic> OfTheHost = FrozenSet.ToFrozenSet([Mnemonic.Rdtsc, Mnemonic.Rdtscp, Mnemonic.Rdrand, Mnemonic.Rdseed]);

    private static readonly FrozenSet<Mnemonic> Privileged = FrozenSet.ToFrozenSet(
    [
        Mnemonic.Hlt, Mnemonic.Cli, Mnemonic.Sti, Mnemonic.In, Mnemonic.Insb, Mnemonic.Insw, Mnemonic.Insd, Mnemonic.Outsb, Mnemonic.Outsw, Mnemonic.Outsd,
        Mnemonic.Cpuid, Mnemonic.Rdmsr, Mnemonic.Wrmsr, Mnemonic.Rdpmc, Mnemonic.Xsetbv, Mnemonic.Swapgs, Mnemonic.Clts, Mnemonic.Lgdt, Mnemonic.Lidt,
        Mnemonic.Lldt, Mnemonic.Ltr, Mnemonic.Lmsw, Mnemonic.Invd, Mnemonic.Wbinvd, Mnemonic.Invlpg, Mnemonic.Sysret, Mnemonic.Sysretq,
    ]);

    private readonly Treatment[] _known = new Treatment[(int)Enum.GetValues<Code>().Max() + 1];

    /// <summary>What is done with an instruction.</summary>
    public Treatment Of(in Instruction instruction)
    {
        if (instruction.CodeSize == CodeSize.Code32)
            return OfCompat(instruction);
        ref Treatment known = ref _known[(int)instruction.Code];
        if (known == Treatment.Unknown)
            known = Classify(instruction.Code) is Treatment.Native && counts && OfTheHost.Contains(instruction.Mnemonic) ? Treatment.Helper : Classify(instruction.Code);
        if (known == Treatment.Native && OperandsNeedHelp(instruction))
            return !counts && HasCommonCase(instruction) ? Treatment.Inlined : Treatment.Helper;
        return known == Treatment.Helper && !counts && instruction.HasRepPrefix && RepeatsInPage(instruction) ? Treatment.Inlined : known;
    }

    /// <summary>`mov` from a segment register, and bits of strings in memory.</summary>
    private static bool HasCommonCase(in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.Mov => instruction.Op1Kind == OpKind.Register && instruction.Op1Register.IsSegmentRegister(),
        Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc => instruction.Op0Kind == OpKind.Memory && instruction.MemorySize.GetSize() >= sizeof(uint)
            && !instruction.MemoryBase.IsGPR32() && !instruction.MemoryIndex.IsGPR32(),
        _ => false,
    };

    private static bool RepeatsInPage(in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.Stosb or Mnemonic.Stosw or Mnemonic.Stosd or Mnemonic.Stosq => instruction.Op0Kind == OpKind.MemoryESRDI,
        Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsd or Mnemonic.Movsq =>
            instruction.IsStringInstruction && instruction.Op0Kind == OpKind.MemoryESRDI && instruction.Op1Kind == OpKind.MemorySegRSI && instruction.SegmentPrefix == Register.None,
        _ => false,
    };

    private static Treatment Classify(Code code)
    {
        if (code == Code.INVALID)
            return Treatment.Undefined;
        Mnemonic mnemonic = code.Mnemonic();
        if (mnemonic is Mnemonic.Nop or Mnemonic.Endbr64 or Mnemonic.Endbr32 or Mnemonic.Reservednop or Mnemonic.Pause or Mnemonic.Prefetchnta or Mnemonic.Prefetcht0
            or Mnemonic.Prefetcht1 or Mnemonic.Prefetcht2 or Mnemonic.Prefetchw or Mnemonic.Prefetch or Mnemonic.Prefetchit0 or Mnemonic.Prefetchit1 or Mnemonic.Prefetchwt1 or Mnemonic.Cldemote or Mnemonic.Rdsspd or Mnemonic.Rdsspq)
        {
            return Treatment.Nothing;
        }

        // A processor without CPUID faulting shows itself: here every CPUID is the kernel's to answer.
        if (Privileged.Contains(mnemonic))
            return Treatment.Privileged;
        if (Helpers.Contains(mnemonic))
            return Treatment.Helper;
        foreach (CpuidFeature feature in code.CpuidFeatures())
        {
            if (!Features.Contains(feature))
                return Treatment.Undefined;
        }

        if (code.Encoding() is EncodingKind.EVEX or EncodingKind.MVEX or EncodingKind.XOP or EncodingKind.D3NOW || mnemonic is Mnemonic.Ud0 or Mnemonic.Ud1 or Mnemonic.Ud2)
            return Treatment.Undefined;
        if (code.IsStringInstruction())
            return Treatment.Helper;
        if (code.IsPrivileged())
            return Treatment.Privileged;
        return code.FlowControl() switch
        {
            FlowControl.Interrupt or FlowControl.Exception or FlowControl.XbeginXabortXend => Treatment.Undefined,
            _ => Moffs(code) ? Treatment.Helper : Treatment.Native,
        };
    }

    private static bool Moffs(Code code) => code is Code.Mov_AL_moffs8 or Code.Mov_AX_moffs16 or Code.Mov_EAX_moffs32 or Code.Mov_RAX_moffs64
        or Code.Mov_moffs8_AL or Code.Mov_moffs16_AX or Code.Mov_moffs32_EAX or Code.Mov_moffs64_RAX;

    /// <summary>Segment registers, gathers, far pointers, stack operations of 16 bits, bit strings in memory.</summary>
    private static bool OperandsNeedHelp(in Instruction instruction) => HasSpecialOperand(instruction) || instruction.Mnemonic switch
    {
        Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc => instruction.Op0Kind == OpKind.Memory && instruction.Op1Kind == OpKind.Register,
        Mnemonic.Pop => instruction.Op0Kind == OpKind.Memory || instruction.StackPointerIncrement != 8,
        Mnemonic.Push => instruction.StackPointerIncrement != -8,
        Mnemonic.Call or Mnemonic.Jmp => instruction.IsCallFarIndirect || instruction.IsJmpFarIndirect || instruction.IsCallFar || instruction.IsJmpFar,
        Mnemonic.Ret => instruction.Code is not (Code.Retnq or Code.Retnq_imm16),
        Mnemonic.Leave => instruction.Code != Code.Leaveq,
        _ => false,
    };

    private static bool HasSpecialOperand(in Instruction instruction)
    {
        for (int operand = 0; operand < instruction.OpCount; operand++)
        {
            OpKind kind = instruction.GetOpKind(operand);
            if (kind == OpKind.Register)
            {
                Register register = instruction.GetOpRegister(operand);
                if (register.IsSegmentRegister() || register is >= Register.CR0 and <= Register.DR15)
                    return true;
            }
            else if (kind is OpKind.FarBranch16 or OpKind.FarBranch32 || (kind == OpKind.Memory && instruction.MemoryIndex.IsVectorRegister()))
            {
                return true;
            }
        }

        return false;
    }
}
