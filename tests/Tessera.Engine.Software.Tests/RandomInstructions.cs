using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Translation;

namespace Tessera.Engine.Software.Tests;

/// <summary>Every instruction that translated code runs as it is, with random operands: registers, and memory around RBX.</summary>
internal sealed class RandomInstructions
{
    /// <summary>Memory operands lie within so many bytes of RBX, on both sides.</summary>
    public const int Reach = 0x200;

    private static readonly Register[] General = [Register.RAX, Register.RCX, Register.RDX, Register.RSI, Register.RDI, Register.RSP, Register.RBP, Register.R8, Register.R9,
        Register.R10, Register.R11, Register.R12, Register.R13, Register.R14, Register.R15];

    private static readonly Treatments Treatments = new();

    private static readonly Code[] Codes = [.. Enum.GetValues<Code>().Where(Runs)];

    /// <summary>How many different ones there are here.</summary>
    public static int Count => Codes.Length;

    /// <summary>All of them.</summary>
    public static IReadOnlyList<Code> All => Codes;

    /// <summary>One by number, with random operands; false where these operands have no encoding.</summary>
    public static bool TryCreate(int number, Random random, out Instruction instruction) =>
        TryCreate(Codes[number % Codes.Length], random, out instruction);

    /// <summary>One of a kind, with random operands; false where these operands have no encoding.</summary>
    public static bool TryCreate(Code code, Random random, out Instruction instruction) =>
        TryCreateAny(code, random, out instruction) && Treatments.Of(instruction) == Treatment.Native;

    /// <summary>The same, whatever translated code does with it.</summary>
    public static bool TryCreateAny(Code code, Random random, out Instruction instruction)
    {
        OpCodeInfo info = code.ToOpCode();
        instruction = default;
        instruction.Code = code;
        for (int operand = 0; operand < info.OpCount; operand++)
        {
            if (!TrySet(ref instruction, operand, info.GetOpKind(operand), random))
                return false;
        }

        if (instruction.Op0Kind == OpKind.Memory && info.CanUseLockPrefix && random.Next(2) == 0)
            instruction.HasLockPrefix = true;
        return Encodes(instruction);
    }

    /// <summary>Whether there is such an instruction.</summary>
    public static bool Encodes(in Instruction instruction) => Encoder.Create(64, new Discard()).TryEncode(instruction, 0x40_0000, out _, out _);

    /// <summary>Whether it has an MMX register: what those hold is not the oracle's to know.</summary>
    public static bool HasMmx(Code code)
    {
        OpCodeInfo info = code.ToOpCode();
        return Enumerable.Range(0, info.OpCount).Any(operand => info.GetOpKind(operand) is OpCodeOperandKind.mm_reg or OpCodeOperandKind.mm_or_mem or OpCodeOperandKind.mm_rm);
    }

    private static bool Runs(Code code)
    {
        OpCodeInfo info = code.ToOpCode();
        if (code == Code.INVALID || !info.Mode64 || code.FlowControl() != FlowControl.Next || code.IsStackInstruction() || code.CpuidFeaturesAreX87() || HasMmx(code) || info.OpCount > 4)
            return false;
        Instruction probe = default;
        probe.Code = code;
        if (Treatments.Of(probe) != Treatment.Native || !code.CpuidFeatures().All(IsHere))
            return false;
        return code.Mnemonic() is not (Mnemonic.Rdtsc or Mnemonic.Rdtscp or Mnemonic.Rdrand or Mnemonic.Rdseed or Mnemonic.Rdpid or Mnemonic.Rdfsbase or Mnemonic.Rdgsbase or Mnemonic.Syscall);
    }

    /// <summary>Whether this host has a feature.</summary>
    public static bool IsHere(CpuidFeature feature) => feature switch
    {
        CpuidFeature.AVX => Avx.IsSupported,
        CpuidFeature.AVX2 => Avx2.IsSupported,
        CpuidFeature.FMA => Fma.IsSupported,
        CpuidFeature.F16C => (X86Base.CpuId(1, 0).Ecx >> 29 & 1) != 0,
        CpuidFeature.BMI1 => Bmi1.IsSupported,
        CpuidFeature.BMI2 => Bmi2.IsSupported,
        CpuidFeature.ADX => (X86Base.CpuId(7, 0).Ebx >> 19 & 1) != 0,
        CpuidFeature.AES => Aes.IsSupported,
        CpuidFeature.PCLMULQDQ => Pclmulqdq.IsSupported,
        CpuidFeature.SHA => (X86Base.CpuId(7, 0).Ebx >> 29 & 1) != 0,
        CpuidFeature.GFNI => (X86Base.CpuId(7, 0).Ecx >> 8 & 1) != 0,
        CpuidFeature.VAES => (X86Base.CpuId(7, 0).Ecx >> 9 & 1) != 0,
        CpuidFeature.VPCLMULQDQ => (X86Base.CpuId(7, 0).Ecx >> 10 & 1) != 0,
        CpuidFeature.CLFLUSHOPT => (X86Base.CpuId(7, 0).Ebx >> 23 & 1) != 0,
        CpuidFeature.CLWB => (X86Base.CpuId(7, 0).Ebx >> 24 & 1) != 0,
        CpuidFeature.MOVBE => (X86Base.CpuId(1, 0).Ecx >> 22 & 1) != 0,
        CpuidFeature.LZCNT => Lzcnt.IsSupported,
        CpuidFeature.POPCNT => Popcnt.IsSupported,
        CpuidFeature.SSE4A => (X86Base.CpuId(unchecked((int)0x80000001), 0).Ecx >> 6 & 1) != 0,
        CpuidFeature.SSE3 or CpuidFeature.SSSE3 or CpuidFeature.SSE4_1 or CpuidFeature.SSE4_2 => Sse42.IsSupported,
        _ => true,
    };

    private static bool TrySet(ref Instruction instruction, int operand, OpCodeOperandKind kind, Random random)
    {
        bool memory = random.Next(2) == 0;
        switch (kind)
        {
            case OpCodeOperandKind.r8_or_mem:
                return memory ? Memory(ref instruction, operand, random) : Set(ref instruction, operand, Byte(random));
            case OpCodeOperandKind.r16_or_mem:
                return memory ? Memory(ref instruction, operand, random) : Set(ref instruction, operand, Register.AX + Pick(random));
            case OpCodeOperandKind.r32_or_mem:
                return memory ? Memory(ref instruction, operand, random) : Set(ref instruction, operand, Register.EAX + Pick(random));
            case OpCodeOperandKind.r64_or_mem:
                return memory ? Memory(ref instruction, operand, random) : Set(ref instruction, operand, Register.RAX + Pick(random));
            case OpCodeOperandKind.xmm_or_mem:
                return memory ? Memory(ref instruction, operand, random) : Set(ref instruction, operand, Register.XMM0 + random.Next(8));
            case OpCodeOperandKind.ymm_or_mem:
                return memory ? Memory(ref instruction, operand, random) : Set(ref instruction, operand, Register.YMM0 + random.Next(8));
            case OpCodeOperandKind.mm_or_mem:
                return memory ? Memory(ref instruction, operand, random) : Set(ref instruction, operand, Register.MM0 + random.Next(8));
            case OpCodeOperandKind.mm_reg or OpCodeOperandKind.mm_rm:
                return Set(ref instruction, operand, Register.MM0 + random.Next(8));
            case OpCodeOperandKind.st0:
                return Set(ref instruction, operand, Register.ST0);
            case OpCodeOperandKind.sti_opcode:
                return Set(ref instruction, operand, Register.ST0 + random.Next(8));
            case OpCodeOperandKind.mem:
                return Memory(ref instruction, operand, random);
            case OpCodeOperandKind.r8_reg or OpCodeOperandKind.r8_opcode:
                return Set(ref instruction, operand, Byte(random));
            case OpCodeOperandKind.r16_reg or OpCodeOperandKind.r16_rm or OpCodeOperandKind.r16_opcode:
                return Set(ref instruction, operand, Register.AX + Pick(random));
            case OpCodeOperandKind.r32_reg or OpCodeOperandKind.r32_rm or OpCodeOperandKind.r32_opcode or OpCodeOperandKind.r32_vvvv:
                return Set(ref instruction, operand, Register.EAX + Pick(random));
            case OpCodeOperandKind.r64_reg or OpCodeOperandKind.r64_rm or OpCodeOperandKind.r64_opcode or OpCodeOperandKind.r64_vvvv:
                return Set(ref instruction, operand, Register.RAX + Pick(random));
            case OpCodeOperandKind.xmm_reg or OpCodeOperandKind.xmm_rm or OpCodeOperandKind.xmm_vvvv or OpCodeOperandKind.xmm_is4 or OpCodeOperandKind.xmm_is5:
                return Set(ref instruction, operand, Register.XMM0 + random.Next(8));
            case OpCodeOperandKind.ymm_reg or OpCodeOperandKind.ymm_rm or OpCodeOperandKind.ymm_vvvv or OpCodeOperandKind.ymm_is4 or OpCodeOperandKind.ymm_is5:
                return Set(ref instruction, operand, Register.YMM0 + random.Next(8));
            case OpCodeOperandKind.al:
                return Set(ref instruction, operand, Register.AL);
            case OpCodeOperandKind.cl:
                return Set(ref instruction, operand, Register.CL);
            case OpCodeOperandKind.ax:
                return Set(ref instruction, operand, Register.AX);
            case OpCodeOperandKind.eax:
                return Set(ref instruction, operand, Register.EAX);
            case OpCodeOperandKind.rax:
                return Set(ref instruction, operand, Register.RAX);
            case OpCodeOperandKind.imm8:
                return Immediate(ref instruction, operand, OpKind.Immediate8, random.Next(256));
            case OpCodeOperandKind.imm8_const_1:
                return Immediate(ref instruction, operand, OpKind.Immediate8, 1);
            case OpCodeOperandKind.imm8sex16:
                return Immediate(ref instruction, operand, OpKind.Immediate8to16, random.Next(-128, 128));
            case OpCodeOperandKind.imm8sex32:
                return Immediate(ref instruction, operand, OpKind.Immediate8to32, random.Next(-128, 128));
            case OpCodeOperandKind.imm8sex64:
                return Immediate(ref instruction, operand, OpKind.Immediate8to64, random.Next(-128, 128));
            case OpCodeOperandKind.imm16:
                return Immediate(ref instruction, operand, OpKind.Immediate16, random.Next(65536));
            case OpCodeOperandKind.imm32:
                return Immediate(ref instruction, operand, OpKind.Immediate32, random.Next());
            case OpCodeOperandKind.imm32sex64:
                return Immediate(ref instruction, operand, OpKind.Immediate32to64, random.Next());
            case OpCodeOperandKind.imm64:
                return Immediate(ref instruction, operand, OpKind.Immediate64, random.NextInt64());
            default:
                return false;
        }
    }

    /// <summary>The number of a general register that programs may change.</summary>
    public static int Pick(Random random) => General[random.Next(General.Length)] - Register.RAX;

    private static Register Byte(Random random)
    {
        Register[] high = [Register.AH, Register.CH, Register.DH];
        if (random.Next(5) == 0)
            return high[random.Next(high.Length)];
        int number = Pick(random);
        return number < 4 ? Register.AL + number : Register.SPL + (number - 4);
    }

    private static bool Set(ref Instruction instruction, int operand, Register register)
    {
        instruction.SetOpKind(operand, OpKind.Register);
        instruction.SetOpRegister(operand, register);
        return true;
    }

    private static bool Immediate(ref Instruction instruction, int operand, OpKind kind, long value)
    {
        instruction.SetOpKind(operand, kind);
        instruction.SetImmediate(operand, value);
        return true;
    }

    private static bool Memory(ref Instruction instruction, int operand, Random random)
    {
        instruction.SetOpKind(operand, OpKind.Memory);
        instruction.MemoryBase = Register.RBX;
        // Whole lines mostly, as the aligned ones want it; sometimes anything, across the pages' border too.
        bool aligned = WantsAlignment(instruction.Code) || random.Next(3) != 0;
        int displacement = aligned ? random.Next(-Reach / 32, Reach / 32) * 32 : random.Next(-Reach, Reach - 64);
        instruction.MemoryDisplacement64 = (ulong)displacement;
        instruction.MemoryDisplSize = 8;
        return true;
    }

    private static bool WantsAlignment(Code code)
    {
        EncodingKind encoding = code.Encoding();
        Mnemonic mnemonic = code.Mnemonic();
        bool legacyVector = encoding == EncodingKind.Legacy && code.CpuidFeatures().Any(feature => feature is >= CpuidFeature.SSE and <= CpuidFeature.SSSE3 or CpuidFeature.AES or CpuidFeature.PCLMULQDQ or CpuidFeature.SHA or CpuidFeature.GFNI);
        return legacyVector || mnemonic is Mnemonic.Cmpxchg16b or Mnemonic.Vmovaps or Mnemonic.Vmovapd or Mnemonic.Vmovdqa or Mnemonic.Vmovntps or Mnemonic.Vmovntpd or Mnemonic.Vmovntdq;
    }

    private sealed class Discard : CodeWriter
    {
        public override void WriteByte(byte value)
        {
        }
    }
}
