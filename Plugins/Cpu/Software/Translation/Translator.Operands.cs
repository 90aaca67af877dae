using Iced.Intel;

namespace Tessera.Plugins.Cpu.Software.Translation;

// Instructions that run as they are: their registers and addresses are put where translated code has them.
internal sealed unsafe partial class Translator
{
    // SAFETY: only writes through the emitter.
    private const int GuestRcxNumber = 1;
    private const int GuestRspNumber = 4;
    private const int Rdx = 2;
    private static readonly int[] Lendable = [12, 13, 14, 8];

    private void General(in Instruction instruction, bool flagsWanted)
    {
        OperandFacts facts = Look(instruction);
        if (facts.UsesX87)
            BringX87();
        if (facts.HasMemory)
            Operand(instruction, instruction.MemorySize.GetSize(), _groups.Writes(instruction), flagsWanted);
        if (facts.HasHighByte)
            WithHighByte(instruction, facts);
        else
            WithPlacedRegisters(instruction, facts);
    }

    private static OperandFacts Look(in Instruction instruction)
    {
        OperandFacts facts = new()
        {
            CountInRcx = Liveness.ShiftsByCl(instruction) || instruction.Mnemonic is Mnemonic.Cmpxchg16b or Mnemonic.Cmpxchg8b,
            ResultInRcx = instruction.Mnemonic is Mnemonic.Pcmpestri or Mnemonic.Pcmpestri64 or Mnemonic.Pcmpistri or Mnemonic.Vpcmpestri or Mnemonic.Vpcmpestri64 or Mnemonic.Vpcmpistri,
            UsesX87 = instruction.Code.CpuidFeaturesAreX87(),
        };
        for (int operand = 0; operand < instruction.OpCount; operand++)
        {
            OpKind kind = instruction.GetOpKind(operand);
            if (kind == OpKind.Memory)
            {
                facts.HasMemory = true;
            }
            else if (kind == OpKind.Register)
            {
                Register register = instruction.GetOpRegister(operand);
                facts.UsesX87 |= register.IsMM() || register.IsST();
                if (!register.IsGPR())
                    continue;
                facts.HasHighByte |= IsHighByte(register);
                facts.HasCh |= register == Register.CH;
                facts.HasRcx |= NumberOf(register) == GuestRcxNumber;
                facts.Used |= 1u << NumberOf(register);
            }
        }

        return facts;
    }

    /// <summary>The first x87 or MMX instruction since the CPU was entered finds the host's registers; `jrcxz` asks without touching the flags.</summary>
    private void BringX87()
    {
        _emit.LoadState(Thunks.Rcx, StateBlock.X87Live);
        _emit.Bytes([0xe3, 0x02, 0xeb, 0x05]); // jrcxz to the jump; else over it
        nint place = _emit.JumpLater();
        _cold.Add(new ColdCode { What = ColdCode.Kind.X87, Place = place, Back = _emit.Here });
    }

    /// <summary>AH, BH, CH and DH cannot be named beside the registers that hold addresses here, nor can CH where guest RCX is.</summary>
    private void WithHighByte(Instruction instruction, in OperandFacts facts)
    {
        if ((facts.Used & (1u << GuestRspNumber)) != 0)
        {
            WithHighByteAndStackPointer(instruction, facts);
            return;
        }

        if (!facts.HasMemory)
        {
            // In their own places: RCX is brought back to its own for the one instruction.
            bool rcx = facts.HasRcx || facts.CountInRcx;
            if (rcx)
                _emit.Move(Thunks.Rcx, Thunks.GuestRcx);
            Encode(instruction);
            if (rcx)
                _emit.Move(Thunks.GuestRcx, Thunks.Rcx);
            return;
        }

        instruction.SegmentPrefix = Register.None;
        if (!facts.HasCh)
        {
            _emit.Move(Thunks.Rcx, Thunks.R11);
            PointTo(ref instruction, Register.RCX, _at);
            Encode(instruction);
            return;
        }

        PointTo(ref instruction, Register.R11, _at);
        for (int operand = 0; operand < instruction.OpCount; operand++)
        {
            if (instruction.GetOpKind(operand) == OpKind.Register && instruction.GetOpRegister(operand) == Register.CH)
                instruction.SetOpRegister(operand, Register.CL);
        }

        _emit.Move(Thunks.Rcx, Thunks.GuestRcx);
        _emit.Bytes([0x86, 0xcd]); // xchg ch, cl
        Encode(instruction);
        _emit.Bytes([0x86, 0xcd]);
        _emit.Move(Thunks.GuestRcx, Thunks.Rcx);
    }

    /// <summary>`movzx esp, ah` and its kind: the host's RSP is not the guest's. Another register stands in for it that can be named beside a high byte.</summary>
    private void WithHighByteAndStackPointer(Instruction instruction, in OperandFacts facts)
    {
        int deputy = facts.HasCh ? Rdx : Thunks.Rcx;
        if (facts.HasCh)
        {
            _emit.Move(Thunks.Rcx, Thunks.GuestRcx);
            _emit.StoreState(StateBlock.Borrowed, Rdx);
        }

        _emit.Move(deputy, Thunks.GuestRsp);
        for (int operand = 0; operand < instruction.OpCount; operand++)
        {
            Register register = instruction.GetOpKind(operand) == OpKind.Register ? instruction.GetOpRegister(operand) : Register.None;
            if (register.IsGPR() && NumberOf(register) == GuestRspNumber)
                instruction.SetOpRegister(operand, OfSize(register, deputy));
        }

        Encode(instruction);
        _emit.Move(Thunks.GuestRsp, deputy);
        if (facts.HasCh)
            _emit.LoadState(Rdx, StateBlock.Borrowed);
    }

    private void WithPlacedRegisters(Instruction instruction, in OperandFacts facts)
    {
        Instruction original = instruction;
        if (facts.HasMemory)
        {
            instruction.SegmentPrefix = Register.None;
            PointTo(ref instruction, Register.R11, _at);
        }

        Span<(int Guest, int Host, bool IsWritten)> placed = stackalloc (int, int, bool)[4];
        Span<int> lent = stackalloc int[Lendable.Length];
        int placedCount = 0;
        int lentCount = 0;
        bool rcxIsFree = !facts.CountInRcx && !facts.ResultInRcx;
        bool r11IsFree = !facts.HasMemory;
        for (int operand = 0; operand < instruction.OpCount; operand++)
        {
            if (instruction.GetOpKind(operand) != OpKind.Register || !instruction.GetOpRegister(operand).IsGPR())
                continue;
            Register register = instruction.GetOpRegister(operand);
            // The count stays CL: RCX is loaded below.
            if (facts.CountInRcx && operand == instruction.OpCount - 1 && register == Register.CL)
                continue;
            int guest = NumberOf(register);
            int host = Thunks.Host(guest);
            if (host < 0)
            {
                host = PlaceOf(placed[..placedCount], guest);
                if (host < 0)
                {
                    host = Take(ref rcxIsFree, ref r11IsFree, facts.Used, lent, ref lentCount);
                    (bool isRead, bool isWritten) = _groups.UseOf(original, guest);
                    if (isRead)
                        _emit.LoadState(host, StateBlock.Register(guest));
                    placed[placedCount++] = (guest, host, isWritten);
                }
            }

            instruction.SetOpRegister(operand, OfSize(register, host));
        }

        if (facts.CountInRcx)
            _emit.Move(Thunks.Rcx, Thunks.GuestRcx);
        Encode(instruction);
        if (facts.ResultInRcx)
            _emit.Move(Thunks.GuestRcx, Thunks.Rcx);
        foreach ((int guest, int host, bool isWritten) in placed[..placedCount])
        {
            if (isWritten)
                _emit.StoreState(StateBlock.Register(guest), host);
        }

        for (int index = 0; index < lentCount; index++)
            _emit.LoadState(lent[index], StateBlock.Borrowed + (index * 8));
    }

    private static int PlaceOf(ReadOnlySpan<(int Guest, int Host, bool IsWritten)> placed, int guest)
    {
        foreach ((int other, int host, _) in placed)
        {
            if (other == guest)
                return host;
        }

        return -1;
    }

    private int Take(ref bool rcxIsFree, ref bool r11IsFree, uint used, Span<int> lent, ref int lentCount)
    {
        if (rcxIsFree)
        {
            rcxIsFree = false;
            return Thunks.Rcx;
        }

        if (r11IsFree)
        {
            r11IsFree = false;
            return Thunks.R11;
        }

        foreach (int candidate in Lendable)
        {
            if ((used & (1u << candidate)) != 0 || lent[..lentCount].Contains(candidate))
                continue;
            _emit.StoreState(StateBlock.Borrowed + (lentCount * 8), candidate);
            lent[lentCount++] = candidate;
            return candidate;
        }

        throw new InvalidOperationException("no register is left to lend");
    }

    private static void PointTo(ref Instruction instruction, Register register, int displacement)
    {
        instruction.MemoryBase = register;
        instruction.MemoryIndex = Register.None;
        instruction.MemoryIndexScale = 1;
        instruction.MemoryDisplacement64 = (ulong)displacement;
        instruction.MemoryDisplSize = displacement == 0 ? 0 : displacement <= sbyte.MaxValue ? 1 : 8;
    }

    private void Encode(in Instruction instruction)
    {
        // The host's RSP is the state block: code that could change it could do anything.
        for (int operand = 0; operand < instruction.OpCount; operand++)
        {
            if (instruction.GetOpKind(operand) == OpKind.Register && instruction.GetOpRegister(operand) is Register.RSP or Register.ESP or Register.SP or Register.SPL)
                throw new InvalidOperationException($"{instruction} names the host's stack pointer");
        }

        if (!_encoder.TryEncode(instruction, (ulong)_emit.Here, out _, out string? error))
            throw new InvalidOperationException($"{instruction} cannot be encoded: {error}");
    }

    private static bool IsHighByte(Register register) => register is Register.AH or Register.BH or Register.CH or Register.DH;

    private static Register OfSize(Register like, int host) =>
        like.IsGPR64() ? Register.RAX + host
        : like.IsGPR32() ? Register.EAX + host
        : like.IsGPR16() ? Register.AX + host
        : host < 4 ? Register.AL + host : Register.SPL + (host - 4);

    private struct OperandFacts
    {
        public bool HasMemory;
        public bool HasHighByte;
        public bool HasCh;
        public bool HasRcx;
        public bool CountInRcx;
        public bool ResultInRcx;
        public bool UsesX87;

        /// <summary>A bit for each guest register that is an operand.</summary>
        public uint Used;
    }
}

/// <summary>What Iced does not say itself.</summary>
internal static class CodeFacts
{
    private static readonly bool[] X87 = Table(IsX87);
    private static readonly bool[] Vector = Table(IsVector);

    /// <summary>Whether it is an instruction of the x87 unit or MMX.</summary>
    public static bool CpuidFeaturesAreX87(this Code code) => X87[(int)code];

    /// <summary>Whether CR0.TS lets it raise #NM.</summary>
    public static bool NeedsVectorState(this Code code) => Vector[(int)code];

    private static bool[] Table(Func<Code, bool> holds)
    {
        Code[] codes = Enum.GetValues<Code>();
        bool[] table = new bool[(int)codes.Max() + 1];
        foreach (Code code in codes)
            table[(int)code] = holds(code);
        return table;
    }

    private static bool IsX87(Code code)
    {
        if (code == Code.Wait)
            return true;
        foreach (CpuidFeature feature in code.CpuidFeatures())
        {
            if (feature is CpuidFeature.FPU or CpuidFeature.FPU287 or CpuidFeature.FPU387 or CpuidFeature.MMX)
                return true;
        }

        return false;
    }

    private static bool IsVector(Code code)
    {
        if (code == Code.Wait)
            return true;
        if (code.Mnemonic() is Mnemonic.Sfence or Mnemonic.Lfence or Mnemonic.Mfence or Mnemonic.Movnti or Mnemonic.Crc32 or Mnemonic.Pause or Mnemonic.Prefetchnta
            or Mnemonic.Prefetcht0 or Mnemonic.Prefetcht1 or Mnemonic.Prefetcht2 or Mnemonic.Xgetbv or Mnemonic.Xsetbv)
        {
            return false;
        }

        foreach (CpuidFeature feature in code.CpuidFeatures())
        {
            if (feature is CpuidFeature.FPU or CpuidFeature.FPU287 or CpuidFeature.FPU387 or CpuidFeature.MMX or CpuidFeature.FXSR or CpuidFeature.XSAVE or CpuidFeature.XSAVEOPT
                or CpuidFeature.SSE or CpuidFeature.SSE2 or CpuidFeature.SSE3 or CpuidFeature.SSSE3 or CpuidFeature.SSE4_1 or CpuidFeature.SSE4_2 or CpuidFeature.SSE4A
                or CpuidFeature.AES or CpuidFeature.VAES or CpuidFeature.PCLMULQDQ or CpuidFeature.VPCLMULQDQ or CpuidFeature.SHA or CpuidFeature.GFNI
                or CpuidFeature.AVX or CpuidFeature.AVX2 or CpuidFeature.F16C or CpuidFeature.FMA)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>To what its memory operand must be aligned, or the processor faults; 1 for most.</summary>
    public static int AlignmentOf(this Code code, int bytes)
    {
        if (code.Mnemonic() is Mnemonic.Vmovaps or Mnemonic.Vmovapd or Mnemonic.Vmovdqa or Mnemonic.Vmovntps or Mnemonic.Vmovntpd or Mnemonic.Vmovntdq or Mnemonic.Vmovntdqa
            or Mnemonic.Cmpxchg16b)
        {
            return bytes;
        }

        bool isLegacyVector = bytes == 16 && code.Encoding() == EncodingKind.Legacy && NeedsVectorState(code);
        return isLegacyVector && code.Mnemonic() is not (Mnemonic.Movups or Mnemonic.Movupd or Mnemonic.Movdqu or Mnemonic.Lddqu or Mnemonic.Pcmpestri or Mnemonic.Pcmpestrm
            or Mnemonic.Pcmpistri or Mnemonic.Pcmpistrm or Mnemonic.Pcmpestri64 or Mnemonic.Pcmpestrm64) ? bytes : 1;
    }
}
