using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Hypercalls;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Traps;

/// <summary>
/// Emulates what a PV guest may do that ring 3 cannot: the forced-emulation CPUID, privileged instructions of the guest's kernel, and
/// its direct writes to page-table entries. One a physical CPU; decoding reuses its decoders and allocates nothing.
/// </summary>
internal sealed class InstructionEmulator
{
    private const int MaxInstruction = 15;
    private const int ResumeFlag = 1 << 16;
    private const int HotLimit = 64;
    private const byte Nop = 0x90;

    private readonly byte[] _bytes = new byte[MaxInstruction];
    private readonly Reader _reader;
    private readonly Decoder _decoder;
    private readonly Decoder _decoder32;
    private ulong _hotPlace;
    private int _hotCount;

    public InstructionEmulator()
    {
        _reader = new Reader(_bytes);
        _decoder = Decoder.Create(64, _reader);
        _decoder32 = Decoder.Create(32, _reader);
    }

    /// <summary>#UD: the sequence ud2 'x' 'e' 'n' cpuid, from either mode.</summary>
    public bool TryForcedCpuid(Vcpu vcpu, CpuidPolicy policy)
    {
        ReadOnlySpan<byte> sequence = [0x0f, 0x0b, (byte)'x', (byte)'e', (byte)'n', 0x0f, 0xa2];
        ref GuestCpuState state = ref vcpu.Cpu.State;
        if (Fetch(vcpu) < sequence.Length || !_bytes.AsSpan(0, sequence.Length).SequenceEqual(sequence))
            return false;
        (state.Rax, state.Rbx, state.Rcx, state.Rdx) = Widen(policy.Read((uint)state.Rax, (uint)state.Rcx));
        state.Rip += (ulong)sequence.Length;
        return true;
    }

    /// <summary>#GP in user mode on an engine that lets CPUID fault: answers it as in the kernel.</summary>
    public bool TryFaultedCpuid(Vcpu vcpu, CpuidPolicy policy)
    {
        ReadOnlySpan<byte> cpuid = [0x0f, 0xa2];
        ref GuestCpuState state = ref vcpu.Cpu.State;
        if (!policy.AnswersUserMode || Fetch(vcpu) < cpuid.Length || !_bytes.AsSpan(0, cpuid.Length).SequenceEqual(cpuid))
            return false;
        (state.Rax, state.Rbx, state.Rcx, state.Rdx) = Widen(policy.Read((uint)state.Rax, (uint)state.Rcx));
        state.Rip += (ulong)cpuid.Length;
        return true;
    }

    /// <summary>Whether the instruction at Rip is `int n`, and which n: for hosts that report it as #UD.</summary>
    public bool IsSoftwareInterrupt(Vcpu vcpu, out byte vector)
    {
        vector = _bytes[1];
        bool matches = Fetch(vcpu) >= 2 && _bytes[0] == 0xcd;
        vector = _bytes[1];
        return matches;
    }

    /// <summary>How long the `int n` at Rip is: it may have prefixes, which mean nothing.</summary>
    public int SoftwareInterruptBytes(Vcpu vcpu)
    {
        const int Plain = 2;
        return TryDecode(vcpu, out Instruction instruction) && instruction.Mnemonic == Mnemonic.Int ? instruction.Length : Plain;
    }

    /// <summary>Whether these are the bytes at Rip.</summary>
    public bool IsAtRip(Vcpu vcpu, ReadOnlySpan<byte> instruction) =>
        Fetch(vcpu) >= instruction.Length && _bytes.AsSpan(0, instruction.Length).SequenceEqual(instruction);

    /// <summary>#GP in kernel mode: emulates a privileged instruction. False: the guest gets the exception.</summary>
    public bool TryPrivileged(Vcpu vcpu, CpuidPolicy policy)
    {
        ref GuestCpuState state = ref vcpu.Cpu.State;
        if (!TryDecode(vcpu, out Instruction instruction))
            return false;
        switch (instruction.Mnemonic)
        {
            // Interrupt flag and caches are virtual or the host's: these have no effect, as in Xen, and leave the event mask alone.
            case Mnemonic.Cli or Mnemonic.Sti:
                if (!PortAccess.HasPrivilege(vcpu))
                    return false;
                PatchWhenHot(vcpu);
                break;
            case Mnemonic.Wbinvd or Mnemonic.Invd or Mnemonic.Wbnoinvd or Mnemonic.Xsetbv:
                break;
            case Mnemonic.Clts:
                state.TaskSwitched = false;
                break;
            case Mnemonic.Rdmsr:
                if (!MsrPolicy.TryRead(vcpu, (uint)state.Rcx, out ulong value))
                    return false;
                (state.Rax, state.Rdx) = ((uint)value, value >> 32);
                break;
            case Mnemonic.Wrmsr:
                if (!MsrPolicy.TryWrite(vcpu, (uint)state.Rcx, (uint)state.Rax | (state.Rdx << 32)))
                    return false;
                break;
            case Mnemonic.In or Mnemonic.Out:
                if (!TryPort(vcpu, instruction))
                    return false;
                break;
            case Mnemonic.Cpuid:
                (state.Rax, state.Rbx, state.Rcx, state.Rdx) = Widen(policy.Read((uint)state.Rax, (uint)state.Rcx));
                break;
            case Mnemonic.Mov when IsControlRegister(instruction.Op1Register):
                if (!ControlRegisters.TryRead(vcpu, instruction.Op1Register, out ulong control))
                    return false;
                RegisterFile.Write(ref state, instruction.Op0Register, control);
                break;
            case Mnemonic.Mov when IsControlRegister(instruction.Op0Register):
                if (!ControlRegisters.TryWrite(vcpu, instruction.Op0Register, RegisterFile.Read(in state, instruction.Op1Register)))
                    return false;
                break;
            case Mnemonic.Mov when IsDebugRegister(instruction.Op1Register):
                if (!DebugRegisters.TryGet(in state, (ulong)(instruction.Op1Register - Register.DR0), out ulong debug))
                    return false;
                RegisterFile.Write(ref state, instruction.Op0Register, debug);
                break;
            case Mnemonic.Mov when IsDebugRegister(instruction.Op0Register):
                if (DebugRegisters.Set(ref state, (ulong)(instruction.Op0Register - Register.DR0), RegisterFile.Read(in state, instruction.Op1Register)) != XenErrno.Success)
                    return false;
                break;
            default:
                return false;
        }

        Advance(ref state, instruction);
        return true;
    }

    /// <summary>#GP in user mode: `cli`, `sti` and ports of a process to which its kernel gave them. False: the guest gets the exception.</summary>
    public bool TryUserPrivileged(Vcpu vcpu)
    {
        // Few processes have any of this; the others' faults cost no decoding.
        bool privileged = PortAccess.HasPrivilege(vcpu);
        if ((!privileged && vcpu.Context.IoBitmapPorts == 0) || !TryDecode(vcpu, out Instruction instruction))
            return false;
        bool done = instruction.Mnemonic switch
        {
            Mnemonic.Cli or Mnemonic.Sti => privileged,
            Mnemonic.In or Mnemonic.Out => TryPort(vcpu, instruction),
            _ => false,
        };
        if (done)
            Advance(ref vcpu.Cpu.State, instruction);
        return done;
    }

    /// <summary>#PF on a read of the machine-to-physical table in kernel mode, where the host cannot show it at its address: does the read.</summary>
    /// <param name="vcpu">The vCPU.</param>
    /// <param name="address">The faulting address.</param>
    /// <param name="entry">The table's entry there.</param>
    public bool TryTableRead(Vcpu vcpu, ulong address, ulong entry)
    {
        if (!TryDecode(vcpu, out Instruction instruction) || !TableRead.IsKnown(instruction, out int size) || ((int)address & (size - 1)) != 0)
            return false;
        ulong value = entry >> (int)(address & 7) * 8;
        if (size < sizeof(ulong))
            value &= (1UL << (size * 8)) - 1;
        TableRead.Complete(ref vcpu.Cpu.State, instruction, value, size);
        Advance(ref vcpu.Cpu.State, instruction);
        return true;
    }

    /// <summary>#PF on a store of the guest's kernel that its MMU wants done as an update of a page-table entry.</summary>
    /// <param name="vcpu">The vCPU.</param>
    /// <param name="address">The faulting address.</param>
    /// <param name="entryAddress">The same as a machine address (<see cref="FaultAnswer.StoreAddress"/>).</param>
    public bool TryTableWrite(Vcpu vcpu, ulong address, ulong entryAddress)
    {
        ref GuestCpuState state = ref vcpu.Cpu.State;
        if (!TryDecode(vcpu, out Instruction instruction) || instruction.Op0Kind != OpKind.Memory)
            return false;
        int size = instruction.MemorySize.GetSize();
        if (size is not (1 or 2 or 4 or 8) || ((int)address & (size - 1)) != 0)
            return false;
        // Compilers narrow bit operations: the write may touch any aligned part of the entry.
        ulong old = MemoryMarshal.Cast<byte, ulong>(vcpu.Domain.Memory.Frame(PageTableEntry.FrameOf(entryAddress)))[(int)(entryAddress & 4095) / 8];
        int shift = (int)(address & 7) * 8;
        ulong mask = size == 8 ? ulong.MaxValue : (1UL << (size * 8)) - 1;
        ulong before = (old >> shift) & mask;
        if (!TryCompute(in state, instruction, before, mask, out ulong after, out bool writes))
            return false;
        ulong value = (old & ~(mask << shift)) | ((after & mask) << shift);
        XenErrno error = writes ? vcpu.Domain.Mmu.Update(entryAddress & ~7UL, value) : XenErrno.Success;
        if (error != XenErrno.Success)
        {
            // The instruction runs again when the validation that it needs is done.
            return error == XenErrno.ERESTART;
        }

        Finish(ref state, instruction, before, after & mask, size, writes);
        state.Rip += (ulong)instruction.Length;
        return true;
    }

    /// <summary>The value that the instruction stores over one it found.</summary>
    private static bool TryCompute(in GuestCpuState state, in Instruction instruction, ulong before, ulong mask, out ulong after, out bool writes)
    {
        if (instruction.OpCount >= 2 && instruction.Op1Kind == OpKind.Register && !instruction.Op1Register.IsGPR())
        {
            (after, writes) = (0, false);
            return false;
        }

        ulong operand = instruction.OpCount < 2 ? 0
            : instruction.Op1Kind == OpKind.Register ? RegisterFile.Read(in state, instruction.Op1Register)
            : instruction.Op1Kind == OpKind.Memory ? 0 : instruction.GetImmediate(1);
        ulong bit = 1UL << (int)(operand & (ulong)(System.Numerics.BitOperations.PopCount(mask) - 1));
        writes = true;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Mov or Mnemonic.Xchg:
                after = operand;
                return true;
            case Mnemonic.And:
                after = before & operand;
                return true;
            case Mnemonic.Or:
                after = before | operand;
                return true;
            case Mnemonic.Btr:
                after = before & ~bit;
                return true;
            case Mnemonic.Bts:
                after = before | bit;
                return true;
            case Mnemonic.Cmpxchg:
                writes = before == (state.Rax & mask);
                after = writes ? operand : before;
                return true;
            default:
                after = 0;
                return false;
        }
    }

    /// <summary>The instruction's other results: registers and flags.</summary>
    private static void Finish(ref GuestCpuState state, in Instruction instruction, ulong before, ulong after, int size, bool wrote)
    {
        const ulong CarryFlag = 1;
        const ulong ZeroFlag = 0x40;
        const ulong ArithmeticFlags = 0x8D5;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Xchg:
                RegisterFile.Write(ref state, instruction.Op1Register, before);
                break;
            case Mnemonic.Btr or Mnemonic.Bts:
                state.Rflags = before == after == (instruction.Mnemonic == Mnemonic.Bts) ? state.Rflags | CarryFlag : state.Rflags & ~CarryFlag;
                break;
            case Mnemonic.Cmpxchg:
                if (!wrote)
                    RegisterFile.Write(ref state, size switch { 8 => Register.RAX, 4 => Register.EAX, 2 => Register.AX, _ => Register.AL }, before);
                state.Rflags = wrote ? state.Rflags | ZeroFlag : state.Rflags & ~ZeroFlag;
                break;
            case Mnemonic.And or Mnemonic.Or:
                state.Rflags = (state.Rflags & ~ArithmeticFlags) | LogicFlags(after, size);
                break;
            default:
                break;
        }
    }

    /// <summary>
    /// A `cli` or `sti` that traps again and again at one place is overwritten by `nop`, which is what it means here. Kernels have few
    /// such places but pass one of them thousands of times while they boot. A byte of a page or descriptor table stays as it is.
    /// </summary>
    private void PatchWhenHot(Vcpu vcpu)
    {
        ulong rip = vcpu.Cpu.State.Rip;
        (_hotPlace, _hotCount) = rip == _hotPlace ? (rip, _hotCount + 1) : (rip, 0);
        if (_hotCount < HotLimit || !vcpu.Domain.Mmu.Translate(vcpu.Index, userMode: false, new VirtualAddress(rip), forWriting: false, out ulong machineAddress))
            return;
        _ = vcpu.Domain.Writes.TryWrite(machineAddress, [Nop]);
        _hotCount = 0;
    }

    private static ulong LogicFlags(ulong value, int size)
    {
        ulong flags = value == 0 ? 0x40UL : 0;
        flags |= ((value >> ((size * 8) - 1)) & 1) != 0 ? 0x80UL : 0;
        return flags | ((System.Numerics.BitOperations.PopCount(value & 0xFF) & 1) == 0 ? 4UL : 0);
    }

    private static (ulong Rax, ulong Rbx, ulong Rcx, ulong Rdx) Widen((uint Eax, uint Ebx, uint Ecx, uint Edx) leaf) =>
        (leaf.Eax, leaf.Ebx, leaf.Ecx, leaf.Edx);

    private static bool IsControlRegister(Register register) => register is >= Register.CR0 and <= Register.CR15;

    private static bool IsDebugRegister(Register register) => register is >= Register.DR0 and <= Register.DR15;

    private static void Advance(ref GuestCpuState state, in Instruction instruction)
    {
        state.Rip += (ulong)instruction.Length;
        state.Rflags &= ~(ulong)ResumeFlag;
    }

    /// <summary>`in` or `out` of a port that the guest's current mode may use.</summary>
    private static bool TryPort(Vcpu vcpu, in Instruction instruction)
    {
        ref GuestCpuState state = ref vcpu.Cpu.State;
        bool reads = instruction.Mnemonic == Mnemonic.In;
        OpKind kind = reads ? instruction.Op1Kind : instruction.Op0Kind;
        Register data = reads ? instruction.Op0Register : instruction.Op1Register;
        uint port = kind == OpKind.Register ? (ushort)state.Rdx : instruction.Immediate8;
        if (!PortAccess.MayUse(vcpu, port, data.GetSize()))
            return false;
        if (reads)
            RegisterFile.Write(ref state, data, PortAccess.Read(port));
        return true;
    }

    private bool TryDecode(Vcpu vcpu, out Instruction instruction)
    {
        instruction = default;
        if (vcpu.Cpu.State.Is32Bit && !SegmentOps.IsFlat32BitCode(vcpu, vcpu.Cpu.State.Cs))
            return false;
        _reader.Reset(Fetch(vcpu));
        Decoder decoder = vcpu.Cpu.State.Is32Bit ? _decoder32 : _decoder;
        decoder.IP = vcpu.Cpu.State.Rip;
        decoder.Decode(out instruction);
        return !instruction.IsInvalid;
    }

    /// <summary>Reads the bytes at Rip, up to the end of what is mapped.</summary>
    private int Fetch(Vcpu vcpu)
    {
        ulong rip = vcpu.Cpu.State.Rip;
        if (vcpu.Domain.Guest.TryRead(vcpu.Index, vcpu.Context.UserMode, rip, _bytes))
            return MaxInstruction;
        int first = (int)Math.Min(MaxInstruction, 4096 - (rip & 4095));
        return vcpu.Domain.Guest.TryRead(vcpu.Index, vcpu.Context.UserMode, rip, _bytes.AsSpan(0, first)) ? first : 0;
    }

    private sealed class Reader(byte[] bytes) : CodeReader
    {
        private int _position;
        private int _length;

        public void Reset(int length) => (_position, _length) = (0, length);

        public override int ReadByte() => _position < _length ? bytes[_position++] : -1;
    }
}
