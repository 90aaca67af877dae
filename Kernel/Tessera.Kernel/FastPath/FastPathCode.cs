using System.Collections.Concurrent;
using Iced.Intel;
using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Kernel.FastPath;

/// <summary>
/// Writes the code that answers leaf hypercalls in ring 3: stack_switch, set_segment_base, TLB flushes, and an mmu_update of one
/// entry that is not present. Everything else, and every case with anything unusual in it, goes on to the exit as it came.
/// </summary>
/// <remarks>
/// It runs with the rights of the guest's kernel and protects nobody: it only spares exits to a guest that plays by the rules. Scratch
/// registers are RAX and, in an mmu_update, RSI, RDX and R10, whose values are known once the call is taken (1, 0, DOMID_SELF); so
/// they can be put back for the exit and for the return. RCX and R11 stay as `syscall` left them. Arithmetic flags are not kept.
/// No loops: from entry to `jmp rcx` it is at most some fifty instructions.
/// </remarks>
internal sealed class FastPathCode
{
    /// <summary>TF, DF, NT, RF, AC of the caller: to be given back exactly, which the VMM does.</summary>
    private const int UnusualFlags = 0x54500;
    private const int RefusedInEntry = 0x98; // PWT, PCD, PAT
    private const int PresentAccessedDirty = 0x61;
    private const int GlobalBit = 8;
    private const int UserBit = 4;

    private readonly Assembler _c = new(64);
    private readonly FastPathPlaces _places;
    private readonly byte[] _bytes;

    private FastPathCode(FastPathPlaces places)
    {
        _places = places;
        _bytes = Assemble();
    }

    /// <summary>The code.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>The instructions that read the guest's own request: a fault there is answered as the hypercall would be.</summary>
    public ulong UpdateReads { get; private set; }

    /// <summary>Just after the last of an mmu_update's reads.</summary>
    public ulong UpdateReadsEnd { get; private set; }

    /// <summary>The one read of an mmuext_op.</summary>
    public ulong ExtendedRead { get; private set; }

    /// <summary>The code for places: most domains of a machine have the same.</summary>
    /// <param name="known">What the machine has had so far.</param>
    /// <param name="places">The places.</param>
    public static FastPathCode For(ConcurrentDictionary<FastPathPlaces, FastPathCode> known, FastPathPlaces places) =>
        known.GetOrAdd(places, static places => new FastPathCode(places));

    private byte[] Assemble()
    {
        Label exitAddress = _c.CreateLabel();
        Label mapAddress = _c.CreateLabel();
        Label exit = _c.CreateLabel();
        Label update = _c.CreateLabel();
        Label updateRead = _c.CreateLabel();
        Label updateReadEnd = _c.CreateLabel();
        Label extended = _c.CreateLabel();
        Label extendedRead = _c.CreateLabel();
        Label segment = _c.CreateLabel();
        Label stack = _c.CreateLabel();

        _c.test(r11d, UnusualFlags);
        _c.jne(exit);
        _c.cmp(rax, (int)Hypercall.MmuUpdate);
        _c.je(update);
        _c.cmp(rax, (int)Hypercall.SetSegmentBase);
        _c.je(segment);
        _c.cmp(rax, (int)Hypercall.StackSwitch);
        _c.je(stack);
        _c.cmp(rax, (int)Hypercall.MmuextOp);
        _c.je(extended);
        _c.Label(ref exit);
        _c.jmp(__qword_ptr[exitAddress]);

        _c.Label(ref stack);
        _c.AddInstruction(Instruction.Create(Code.Mov_rm64_r64, Guest(FastPathLayout.KernelStack), Register.RSI));
        Return();

        _c.Label(ref segment);
        SegmentBases(exit);

        _c.Label(ref extended);
        Flushes(exit, ref extendedRead);

        _c.Label(ref update);
        Update(exit, mapAddress, ref updateRead, ref updateReadEnd);

        _c.Label(ref exitAddress);
        _c.dq(_places.Exit);
        _c.Label(ref mapAddress);
        _c.dq(_places.Map);

        using MemoryStream stream = new();
        AssemblerResult result = _c.Assemble(new StreamCodeWriter(stream), _places.Code, BlockEncoderOptions.ReturnNewInstructionOffsets);
        UpdateReads = result.GetLabelRIP(updateRead);
        UpdateReadsEnd = result.GetLabelRIP(updateReadEnd);
        ExtendedRead = result.GetLabelRIP(extendedRead);
        return stream.ToArray();
    }

    private void SegmentBases(Label exit)
    {
        Label kernelGs = _c.CreateLabel();
        Label userGs = _c.CreateLabel();
        Label canonical = _c.CreateLabel();
        // Selectors go to the VMM, which reads the descriptor.
        _c.cmp(rdi, (int)SegmentBase.GsUserSel);
        _c.jae(exit);
        _c.mov(rax, rsi);
        _c.shl(rax, 16);
        _c.sar(rax, 16);
        _c.cmp(rax, rsi);
        _c.je(canonical);
        _c.mov(eax, (int)Hypercall.SetSegmentBase);
        _c.jmp(exit);

        _c.Label(ref canonical);
        _c.cmp(edi, (int)SegmentBase.GsUser);
        _c.je(userGs);
        _c.ja(kernelGs);
        _c.wrfsbase(rsi);
        Return();
        _c.Label(ref kernelGs);
        _c.wrgsbase(rsi);
        Return();
        _c.Label(ref userGs);
        _c.AddInstruction(Instruction.Create(Code.Mov_rm64_r64, Guest(FastPathLayout.UserGsBase), Register.RSI));
        Return();
    }

    // One flush, of whatever kind: what the VMM changed was made effective before the guest ran again, and what this code made present
    // was not present before.
    private void Flushes(Label exit, ref Label read)
    {
        Label back = _c.CreateLabel();
        RequireOneForSelf(exit);
        _c.Label(ref read);
        _c.mov(eax, __dword_ptr[rdi]);
        _c.sub(eax, (int)MmuExtOp.TlbFlushLocal);
        _c.cmp(eax, MmuExtOp.InvlpgAll - MmuExtOp.TlbFlushLocal);
        _c.ja(back);
        Return();
        _c.Label(ref back);
        _c.mov(eax, (int)Hypercall.MmuextOp);
        _c.jmp(exit);
    }

    private void Update(Label exit, Label mapAddress, ref Label read, ref Label readEnd)
    {
        Label back = _c.CreateLabel();
        Label absent = _c.CreateLabel();
        Label level1 = _c.CreateLabel();
        Label writable = _c.CreateLabel();
        Label allowed = _c.CreateLabel();
        Label done = _c.CreateLabel();
        RequireOneForSelf(exit);
        _c.Label(ref read);
        _c.mov(rax, __qword_ptr[rdi]);
        _c.mov(rdx, __qword_ptr[rdi + 8]);
        _c.Label(ref readEnd);

        // Commands 0 (write) and 2 (write, keeping A and D), of an entry that is not present and has no bits there to keep.
        _c.test(al, 5);
        _c.jne(back);
        _c.mov(r10, rax);
        _c.shr(r10, 12);
        LoadMap(r10, mapAddress, back);
        _c.test(r10b, FastPathLayout.IsTable);
        _c.je(back);
        _c.and(rax, -8);
        _c.mov(rsi, _places.Alias - DomainMemory.First.Address);
        _c.add(rsi, rax);
        _c.test(__byte_ptr[rsi], PresentAccessedDirty);
        _c.jne(back);

        _c.test(dl, 1);
        _c.je(absent);
        _c.test(dl, RefusedInEntry);
        _c.jne(back);
        _c.test(r10b, FastPathLayout.IsL1);
        _c.jne(level1);
        _c.test(r10b, FastPathLayout.IsL2);
        _c.je(back);
        _c.test(edx, 1 << GlobalBit);
        _c.jne(back);
        LoadTarget(mapAddress, back);
        _c.test(r10b, FastPathLayout.IsL1);
        _c.je(back);
        _c.jmp(allowed);

        _c.Label(ref level1);
        LoadTarget(mapAddress, back);
        _c.test(dl, 2);
        _c.jne(writable);
        _c.test(r10b, FastPathLayout.MayRead);
        _c.je(back);
        _c.jmp(allowed);
        _c.Label(ref writable);
        _c.test(r10b, FastPathLayout.MayWrite);
        _c.je(back);
        _c.Label(ref allowed);
        _c.AddInstruction(Instruction.Create(Code.Mov_r32_rm32, Register.R10D, Guest(FastPathLayout.LogCount)));
        _c.cmp(r10d, FastPathLayout.LogEntries);
        _c.jae(back);
        _c.btr(rdx, GlobalBit);
        _c.or(rdx, UserBit);
        _c.mov(__qword_ptr[rsi], rdx);
        _c.shl(r10, 4);
        _c.AddInstruction(Instruction.Create(Code.Lea_r64_m, Register.RSI, Guest(FastPathLayout.Log)));
        _c.mov(__qword_ptr[rsi + r10], rax);
        _c.mov(__qword_ptr[rsi + r10 + 8], rdx);
        _c.AddInstruction(Instruction.Create(Code.Inc_rm32, Guest(FastPathLayout.LogCount)));
        _c.jmp(done);

        _c.Label(ref absent);
        _c.mov(__qword_ptr[rsi], rdx);
        _c.Label(ref done);
        RestoreOneForSelf();
        Return();

        _c.Label(ref back);
        RestoreOneForSelf();
        _c.mov(eax, (int)Hypercall.MmuUpdate);
        _c.jmp(exit);
    }

    private void RequireOneForSelf(Label exit)
    {
        _c.cmp(rsi, 1);
        _c.jne(exit);
        _c.test(rdx, rdx);
        _c.jne(exit);
        _c.cmp(r10, DomainIds.Self);
        _c.jne(exit);
    }

    private void RestoreOneForSelf()
    {
        _c.mov(esi, 1);
        _c.xor(edx, edx);
        _c.mov(r10d, DomainIds.Self);
    }

    /// <summary>R10 = the frame map's byte of the frame in the new entry.</summary>
    private void LoadTarget(Label mapAddress, Label back)
    {
        _c.mov(r10, rdx);
        _c.shl(r10, 12);
        _c.shr(r10, 24);
        LoadMap(r10, mapAddress, back);
    }

    /// <summary>Machine frame → its byte in the frame map; leaves for a frame outside the domain's.</summary>
    private void LoadMap(AssemblerRegister64 frame, Label mapAddress, Label back)
    {
        _c.sub(frame, checked((int)DomainMemory.First.Value));
        _c.cmp(frame, checked((int)_places.Frames));
        _c.jae(back);
        _c.add(frame, __qword_ptr[mapAddress]);
        _c.movzx(r10d, __byte_ptr[frame]);
    }

    private void Return()
    {
        _c.xor(eax, eax);
        _c.jmp(rcx);
    }

    private MemoryOperand Guest(int offset) => new(Register.RIP, (long)(_places.Guest + (ulong)offset), 8);
}

/// <summary>Where a vCPU's fast paths find things, in the guest's addresses.</summary>
/// <param name="Code">The code itself.</param>
/// <param name="Guest">The vCPU's own pages.</param>
/// <param name="Map">The frame map.</param>
/// <param name="Alias">The alias of the domain's first frame.</param>
/// <param name="Frames">How many frames the domain has.</param>
/// <param name="Exit">Where the plain way begins.</param>
internal readonly record struct FastPathPlaces(ulong Code, ulong Guest, ulong Map, ulong Alias, long Frames, ulong Exit);
