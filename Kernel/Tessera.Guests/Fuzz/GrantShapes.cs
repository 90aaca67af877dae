using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Fuzz;

/// <summary>
/// Grant operations that come past the first checks: the guest writes an entry of its own table, mostly for one of the window's pages, and then maps, unmaps or copies by
/// references and domains of which some are its own. What it maps goes over the window, where nothing is missed.
/// </summary>
/// <param name="f">The hostile guest.</param>
/// <param name="random">Subroutine: RAX random, changes RCX.</param>
internal sealed class GrantShapes(FuzzCode f, Label random)
{
    private const int FewReferences = 15;
    private const int FewDomains = 15;
    private const int FewHandles = 63;
    private const int EntryFlagBits = 0x1F;

    private readonly GuestCode _g = f.G;
    private readonly Assembler _c = f.C;
    private readonly ulong _table = f.G.ReservePages(1);
    private readonly ulong _structure = f.G.ReservePages(1);
    private readonly ulong _self = f.G.Reserve(8);

    /// <summary>Maps the first frame of the own grant table, and finds the own domain's number: the one whose size may be asked for.</summary>
    public void Prepare()
    {
        Label next = _c.CreateLabel();
        _c.mov(GuestCode.Absolute(_self), 0);
        _c.Label(ref next);
        _c.inc(GuestCode.Absolute(_self));
        _c.mov(rax, GuestCode.Absolute(_self));
        _c.mov(Field(GrantLayout.QuerySizeDomain), rax);
        _c.mov(edx, 1);
        _g.Hypercall(Hypercall.GrantTableOp, (int)GrantTableOp.QuerySize, _structure);
        _g.RequireZero(GuestError.HypercallRefused);
        _c.cmp(__word_ptr[(long)_structure + GrantLayout.QuerySizeStatus], 0);
        _c.jne(next);
        Set16(0, DomainIds.Self);
        Field32(GrantLayout.SetupTableNrFrames, 1);
        _g.Set(rax, _structure + 64);
        _c.mov(Field(GrantLayout.SetupTableFrameList), rax);
        _c.mov(edx, 1);
        _g.Hypercall(Hypercall.GrantTableOp, (int)GrantTableOp.SetupTable, _structure);
        _g.RequireZero(GuestError.HypercallRefused);
        _c.mov(rsi, Field(64));
        _c.shl(rsi, 12);
        _c.or(rsi, GuestCode.Writable);
        _g.Set(rdi, _table);
        _c.mov(edx, (int)UpdateVaFlags.Invlpg);
        _g.Hypercall(Hypercall.UpdateVaMapping);
        _g.RequireZero(GuestError.HypercallRefused);
    }

    /// <summary>Writes an entry and a structure; the sub-op comes into RAX, the structure's address is <see cref="Structure"/>.</summary>
    public void Emit()
    {
        Label unmap = _c.CreateLabel(), copy = _c.CreateLabel(), done = _c.CreateLabel();
        WriteEntry();
        _c.call(random);
        _c.mov(edx, eax);
        _c.and(edx, 3);
        _c.je(unmap);
        _c.cmp(edx, 1);
        _c.je(copy);
        InWindow(0);
        Random32(8, 31);
        Random32(12, FewReferences);
        Domain(16);
        _g.Set(rax, (ulong)GrantTableOp.MapGrantRef);
        _c.jmp(done);
        _c.Label(ref unmap);
        InWindow(0);
        InWindow(8);
        Random32(16, FewHandles);
        // 1 and 7 are what is wanted; 3 and 5 come along.
        _c.call(random);
        _c.and(eax, (int)(GrantTableOp.UnmapAndReplace - GrantTableOp.UnmapGrantRef));
        _c.or(eax, (int)GrantTableOp.UnmapGrantRef);
        _c.jmp(done);
        _c.Label(ref copy);
        foreach (int side in (ReadOnlySpan<int>)[0, 16])
        {
            Random32(side, FewReferences);
            Random32(side + 4, 0);
            Random32(side + 8, 0x7FF << 16);
            Domain(side + 8);
        }

        Random32(32, (3 << 16) | 0xFFF);
        _g.Set(rax, (ulong)GrantTableOp.Copy);
        _c.Label(ref done);
        _c.zero_bytes();
    }

    /// <summary>Where the structure lies.</summary>
    public ulong Structure => _structure;

    // Forged marks of use, types and grantees and all. One frame in sixteen is any of the domain's: tables, code, the lot.
    private void WriteEntry()
    {
        Label any = _c.CreateLabel(), found = _c.CreateLabel(), anyType = _c.CreateLabel();
        PickDomain();
        _c.mov(edi, eax);
        _c.shl(edi, 16);
        _c.call(random);
        _c.mov(esi, eax);
        _c.shr(esi, 8);
        _c.and(esi, EntryFlagBits);
        _c.test(eax, 0x3_0000);
        _c.je(anyType);
        _c.and(esi, ~(int)GrantEntryFlags.TypeMask);
        _c.or(esi, (int)GrantEntryFlags.PermitAccess);
        _c.Label(ref anyType);
        _c.or(esi, edi);
        _c.mov(rdi, rax);
        _c.shr(rax, 40);
        _c.test(eax, 0xF000);
        _c.je(any);
        _c.and(eax, FuzzCode.WindowPages - 1);
        _c.add(eax, (int)((f.Window - GuestImage.VirtBase) >> 12));
        _c.jmp(found);
        _c.Label(ref any);
        _c.xor(edx, edx);
        _g.LoadStartInfo(rcx);
        _c.div(__qword_ptr[rcx + StartInfo.NrPages]);
        _c.mov(rax, rdx);
        _c.Label(ref found);
        _g.LoadFrameList(rcx);
        _c.mov(rax, __qword_ptr[rcx + (rax * 8)]);
        _c.and(edi, FewReferences);
        _g.Set(rcx, _table);
        _c.lea(rdi, __[rcx + (rdi * GrantLayout.EntrySize)]);
        _c.mov(__dword_ptr[rdi + GrantLayout.EntryFrame], eax);
        _c.mov(__dword_ptr[rdi], esi);
    }

    // Three times in four its own number, else any small one; in EAX, changes RCX.
    private void PickDomain()
    {
        Label any = _c.CreateLabel();
        _c.call(random);
        _c.mov(ecx, eax);
        _c.and(eax, FewDomains);
        _c.test(ecx, 0x300);
        _c.je(any);
        _c.mov(rax, GuestCode.Absolute(_self));
        _c.Label(ref any);
        _c.zero_bytes();
    }

    private void Domain(int offset)
    {
        PickDomain();
        _c.mov(__word_ptr[(long)_structure + offset], ax);
    }

    private void InWindow(int offset)
    {
        _c.call(random);
        _c.and(eax, (FuzzCode.WindowPages - 1) * GuestImage.PageSize);
        _g.Set(rcx, f.Window);
        _c.add(rax, rcx);
        _c.mov(Field(offset), rax);
    }

    private void Random32(int offset, int mask)
    {
        _c.call(random);
        _c.and(eax, mask);
        _c.mov(__dword_ptr[(long)_structure + offset], eax);
    }

    private void Field32(int offset, int value) => _c.mov(__dword_ptr[(long)_structure + offset], value);

    private void Set16(int offset, ushort value) => _c.mov(__word_ptr[(long)_structure + offset], value);

    private AssemblerMemoryOperand Field(int offset) => GuestCode.Absolute(_structure + (ulong)offset);
}
