using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests;

/// <summary>
/// `paging`: each round builds an address space of four tables, pins it, runs on it, changes it in every way there is, checks the memory
/// after each step, and drops it. The first thing found wrong ends the guest with its <see cref="GuestError"/>.
/// </summary>
internal sealed class PagingGuest
{
    // The window's slots, one for each level, all different so that a wrong level shows.
    private const int Slot4 = 1;
    private const int Slot3 = 2;
    private const int Slot2 = 3;
    private const int DirectSlot = 500;
    private const ulong Window = ((ulong)Slot4 << 39) | ((ulong)Slot3 << 30) | ((ulong)Slot2 << 21);
    private const int KernelSlot = 511;
    private const int Page = GuestImage.PageSize;

    private readonly int _pages;
    private readonly GuestCode _g;
    private readonly Assembler _c;
    private readonly ulong _l4;
    private readonly ulong _l3;
    private readonly ulong _l2;
    private readonly ulong _l1;
    private readonly ulong _data;
    private readonly ulong _operations;
    private readonly ulong _oldRoot;

    private PagingGuest(PagingOptions options)
    {
        _pages = options.Pages;
        _g = new(GuestKind.Paging);
        _c = _g.C;
        _l4 = _g.ReservePages(1);
        _l3 = _g.ReservePages(1);
        _l2 = _g.ReservePages(1);
        _l1 = _g.ReservePages(1);
        _data = _g.ReservePages(_pages);
        _operations = _g.Reserve(64 * 16);
        _oldRoot = _g.Reserve(8);
    }

    private ulong[] Tables => [_l4, _l3, _l2, _l1];

    public static byte[] Build(PagingOptions options) => new PagingGuest(options).Build(options.Rounds);

    // R12 is the round, part of every pattern, so that contents of an earlier round are never right.
    private byte[] Build(long rounds)
    {
        Label round = _c.CreateLabel("round");
        _g.MapSharedInfo();
        _g.SetUpTraps();
        FindOldRoot();
        _g.SetProgress(GuestProgress.Running);
        _g.Set(r12, 1);
        _c.Label(ref round);
        FillData();
        BuildTables();
        PinAndSwitch();
        CheckWindow(rotation: 0, GuestError.WrongContents);
        Rotate();
        CheckWindow(rotation: 1, GuestError.StaleMapping);
        CheckSingleUpdates();
        CheckProtection();
        CheckDirectWrite();
        DropTables();
        _c.inc(r12);
        _c.inc(GuestCode.Report(ReportLayout.Units));
        if (rounds > 0)
        {
            _g.Set(rax, (ulong)rounds);
            _c.cmp(r12, rax);
            _c.jbe(round);
            _g.SetProgress(GuestProgress.Finished);
            _g.Shutdown(ShutdownReason.Poweroff);
        }
        else
        {
            _c.jmp(round);
        }

        return _g.Finish();
    }

    private void FindOldRoot()
    {
        _g.LoadStartInfo(rsi);
        _c.mov(rdi, __qword_ptr[rsi + StartInfo.PtBase]);
        _g.Set(rax, GuestImage.VirtBase);
        _c.sub(rdi, rax);
        _c.shr(rdi, 12);
        _g.LoadFrameList(rax);
        _c.mov(rax, __qword_ptr[rax + (rdi * 8)]);
        _c.mov(GuestCode.Absolute(_oldRoot), rax);
    }

    /// <summary>RAX = the pattern of a page's first word; each next word is greater by one.</summary>
    private void LoadPattern(int page, int salt)
    {
        _g.Set(rax, 0x9E37_79B9_7F4A_7C15);
        _c.imul(rax, r12);
        _g.Set(rdx, ((ulong)(page + 1) << 40) ^ ((ulong)salt << 56));
        _c.xor(rax, rdx);
    }

    private void FillData()
    {
        for (int page = 0; page < _pages; page++)
        {
            Label next = _c.CreateLabel();
            LoadPattern(page, salt: 0);
            _g.Set(rdi, _data + (ulong)(page * Page));
            _c.mov(ecx, Page / 8);
            _c.Label(ref next);
            _c.mov(__qword_ptr[rdi], rax);
            _c.inc(rax);
            _c.add(rdi, 8);
            _c.dec(ecx);
            _c.jne(next);
        }
    }

    private void BuildTables()
    {
        foreach (ulong table in Tables)
        {
            _g.Set(rdi, table);
            _c.mov(ecx, Page / 8);
            _g.Set(rax, 0);
            _c.rep.stosq();
        }

        for (int page = 0; page < _pages; page++)
        {
            _g.LoadEntry(rax, _data + (ulong)(page * Page), GuestCode.Writable);
            _c.mov(GuestCode.Absolute(_l1 + (ulong)(page * 8)), rax);
        }

        Link(_l2, Slot2, _l1);
        Link(_l3, Slot3, _l2);
        Link(_l4, Slot4, _l3);
        _g.LoadStartInfo(rsi);
        _c.mov(rsi, __qword_ptr[rsi + StartInfo.PtBase]);
        _c.mov(rax, __qword_ptr[rsi + (KernelSlot * 8)]);
        _c.mov(GuestCode.Absolute(_l4 + (KernelSlot * 8)), rax);
    }

    private void Link(ulong table, int slot, ulong lower)
    {
        _g.LoadEntry(rax, lower, GuestCode.Writable);
        _c.mov(GuestCode.Absolute(table + (ulong)(slot * 8)), rax);
    }

    private void SetOperation(int index, MmuExtOp command)
    {
        ulong at = _operations + (ulong)(index * MmuExtEntry.Size);
        _c.mov(__dword_ptr[(long)at + MmuExtEntry.Command], (int)command);
        _c.mov(GuestCode.Absolute(at + MmuExtEntry.Argument1), rax);
    }

    private void MakeOperations(int count, Hypercall call)
    {
        _g.Set(rdi, _operations);
        _g.Set(rsi, (ulong)count);
        _g.Set(rdx, 0);
        _c.mov(r10d, DomainIds.Self);
        _g.Hypercall(call);
    }

    private void PinAndSwitch()
    {
        // A table the guest can still write must be refused; then, with the tables read-only, accepted.
        _g.LoadFrame(rax, _l4);
        SetOperation(0, MmuExtOp.PinL4Table);
        MakeOperations(1, Hypercall.MmuextOp);
        _g.RequireRefusal(GuestError.PinnedWritable);
        foreach (ulong table in Tables)
        {
            _g.Remap(table, GuestCode.ReadOnly);
            _g.RequireZero(GuestError.UpdateRefused);
        }

        _g.LoadFrame(rax, _l4);
        SetOperation(0, MmuExtOp.PinL4Table);
        SetOperation(1, MmuExtOp.NewBaseptr);
        MakeOperations(2, Hypercall.MmuextOp);
        _g.RequireZero(GuestError.PinRefused);
    }

    /// <summary>Each page of the window shows the data page this many further on, in three places of the page.</summary>
    private void CheckWindow(int rotation, GuestError error)
    {
        for (int page = 0; page < _pages; page++)
        {
            LoadPattern((page + rotation) % _pages, salt: 0);
            _g.Set(rdi, Window + (ulong)(page * Page));
            CheckWord(0, error);
            CheckWord(255, error);
            CheckWord(511, error);
        }
    }

    private void CheckWord(int word, GuestError error)
    {
        Label good = _c.CreateLabel();
        _c.lea(rdx, __qword_ptr[rax + word]);
        _c.mov(rsi, __qword_ptr[rdi + (word * 8)]);
        _c.cmp(rsi, rdx);
        _c.je(good);
        _g.Fail(error);
        _c.Label(ref good);
        _c.zero_bytes();
    }

    private void Rotate()
    {
        for (int page = 0; page < _pages; page++)
        {
            ulong at = _operations + (ulong)(page * MmuUpdateEntry.Size);
            _g.LoadFrame(rax, _l1);
            _c.shl(rax, 12);
            _c.add(rax, (page * 8) | (int)MmuUpdateKind.NormalPtUpdate);
            _c.mov(GuestCode.Absolute(at + MmuUpdateEntry.Pointer), rax);
            _g.LoadEntry(rax, _data + (ulong)((page + 1) % _pages * Page), GuestCode.Writable);
            _c.mov(GuestCode.Absolute(at + MmuUpdateEntry.Value), rax);
        }

        MakeOperations(_pages, Hypercall.MmuUpdate);
        _g.RequireZero(GuestError.UpdateRefused);
        SetOperation(0, MmuExtOp.TlbFlushLocal);
        MakeOperations(1, Hypercall.MmuextOp);
        _g.RequireZero(GuestError.UpdateRefused);
    }

    /// <summary>Maps page 0 back by update_va_mapping, writes through it and looks through the kernel's own mapping.</summary>
    private void CheckSingleUpdates()
    {
        UpdateWindow(_data, GuestCode.Writable);
        LoadPattern(0, salt: 0);
        _g.Set(rdi, Window);
        CheckWord(17, GuestError.StaleMapping);
        LoadPattern(0, salt: 1);
        _c.mov(__qword_ptr[rdi], rax);
        _g.Set(rdi, _data);
        CheckWord(0, GuestError.WriteLost);
    }

    private void UpdateWindow(ulong page, int flags)
    {
        if (page == 0)
            _g.Set(rsi, 0);
        else
            _g.LoadEntry(rsi, page, flags);
        _g.Set(rdi, Window);
        _c.mov(edx, (int)UpdateVaFlags.Invlpg);
        _g.Hypercall(Hypercall.UpdateVaMapping);
        _g.RequireZero(GuestError.UpdateRefused);
    }

    private void CheckProtection()
    {
        UpdateWindow(_data, GuestCode.ReadOnly);
        _g.Set(rdi, Window);
        LoadPattern(0, salt: 1);
        CheckWord(0, GuestError.StaleMapping);
        Label recovery = _g.BeginProbe();
        _c.mov(__qword_ptr[rdi], rdi);
        _g.EndProbe(ref recovery);
        RequireFault(expectedError: 3, GuestError.ReadOnlyIgnored);
        UpdateWindow(0, 0);
        _g.Set(rdi, Window);
        recovery = _g.BeginProbe();
        _c.mov(rdi, __qword_ptr[rdi]);
        _g.EndProbe(ref recovery);
        RequireFault(expectedError: 0, GuestError.UnmapIgnored);
    }

    private void RequireFault(int expectedError, GuestError otherwise)
    {
        Label faulted = _c.CreateLabel(), wrong = _c.CreateLabel(), good = _c.CreateLabel();
        _c.cmp(rax, 14);
        _c.je(faulted);
        _c.mov(rsi, rax);
        _g.Fail(otherwise);
        _c.Label(ref faulted);
        _c.mov(rsi, GuestCode.Absolute(_g.FaultAddress));
        _g.Set(rax, Window);
        _c.cmp(rsi, rax);
        _c.jne(wrong);
        _c.cmp(GuestCode.Absolute(_g.TrapError), expectedError);
        _c.je(good);
        _c.Label(ref wrong);
        _g.Fail(GuestError.WrongFault);
        _c.Label(ref good);
        _c.zero_bytes();
    }

    /// <summary>A good store straight into the read-only table must work as an update; making the table writable must not.</summary>
    private void CheckDirectWrite()
    {
        _g.Remap(_l1, GuestCode.Writable);
        _g.RequireRefusal(GuestError.TableMadeWritable);
        Label good = _c.CreateLabel();
        Label recovery = _g.BeginProbe();
        _g.LoadEntry(rbx, _data + Page, GuestCode.Writable);
        _c.mov(GuestCode.Absolute(_l1 + (DirectSlot * 8)), rbx);
        _g.EndProbe(ref recovery);
        _c.mov(rsi, GuestCode.Absolute(_l1 + (DirectSlot * 8)));
        _c.mov(rdi, rsi);
        _c.xor(rdi, rbx);
        // The hypervisor adds the user bit; accessed and dirty are the processor's.
        _c.and(rdi, ~0x64);
        _c.je(good);
        _g.Fail(GuestError.DirectWriteLost);
        _c.Label(ref good);
        LoadPattern(1, salt: 0);
        _g.Set(rdi, Window + (DirectSlot * Page));
        CheckWord(3, GuestError.StaleMapping);
    }

    private void DropTables()
    {
        _c.mov(rax, GuestCode.Absolute(_oldRoot));
        SetOperation(0, MmuExtOp.NewBaseptr);
        _g.LoadFrame(rax, _l4);
        SetOperation(1, MmuExtOp.UnpinTable);
        MakeOperations(2, Hypercall.MmuextOp);
        _g.RequireZero(GuestError.UnpinRefused);
        foreach (ulong table in Tables)
        {
            _g.Remap(table, GuestCode.Writable);
            _g.RequireZero(GuestError.TableNotReturned);
        }
    }
}
