using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Fuzz;

/// <summary>
/// Random and malformed hypercalls from a seed: numbers 0 to 63 (a few beyond), arguments from the mix of <see cref="EmitArgument"/>,
/// alone (through the hypercall page or by syscall) and in multicalls of 64. What legitimately ends or stops the domain is left out.
/// </summary>
/// <remarks>RBX random state, R12 calls left, R13 the call's number.</remarks>
internal sealed class RandomCalls
{
    private const int BatchEntries = 64;
    private const int RefillMask = 31;
    private readonly FuzzCode _f;
    private readonly GuestCode _g;
    private readonly Assembler _c;
    private readonly ulong _turn;
    private readonly ulong _batch;
    private readonly ulong _call;
    private readonly GrantShapes _grants;
    private Label _random;
    private Label _argument;
    private Label _makeCall;

    public RandomCalls(FuzzCode f)
    {
        _f = f;
        _g = f.G;
        _c = f.C;
        _turn = _g.Reserve(8);
        _batch = _g.ReservePages(1);
        _call = _g.Reserve(6 * 8);
        _random = _c.CreateLabel("random");
        _argument = _c.CreateLabel("argument");
        _makeCall = _c.CreateLabel("makeCall");
        _grants = new(f, _random);
    }

    public void Emit(long seed, long count)
    {
        Label loop = _c.CreateLabel(), batch = _c.CreateLabel(), next = _c.CreateLabel(), noRefill = _c.CreateLabel();
        _grants.Prepare();
        // xorshift must not start at 0; neighbouring seeds must not start alike.
        ulong state = unchecked(((ulong)seed + 1) * 0x9E37_79B9_7F4A_7C15);
        _g.Set(rbx, state == 0 ? 1 : state);
        _g.Set(r12, count == 0 ? long.MaxValue : (ulong)count);
        _c.Label(ref loop);
        _c.test(GuestCode.Absolute(_turn), RefillMask);
        _c.jne(noRefill);
        EmitRefill();
        _c.Label(ref noRefill);
        _c.inc(GuestCode.Absolute(_turn));
        // A blocked call in a nest of calls clears the mask; there is no event handler to enter.
        _g.MaskUpcall();
        _c.call(_random);
        _c.test(al, 15);
        _c.je(batch);
        EmitSingle();
        _c.jmp(next);
        _c.Label(ref batch);
        EmitBatch();
        _c.Label(ref next);
        _c.test(r12, r12);
        _c.jg(loop);
        _f.End();
        EmitRandom();
        EmitArgument();
        EmitMakeCall();
    }

    // The window again mapped and filled, whatever earlier calls did to it.
    private void EmitRefill()
    {
        for (int page = 0; page < FuzzCode.WindowPages; page++)
        {
            Label good = _c.CreateLabel();
            _g.Remap(_f.Window + (ulong)(page * GuestImage.PageSize), GuestCode.Writable);
            _c.test(rax, rax);
            _c.je(good);
            _c.mov(GuestCode.Report(ReportLayout.ErrorCode), (int)GuestError.OwnMemoryLost);
            _c.mov(GuestCode.Report(ReportLayout.ErrorDetail), rax);
            _f.End();
            _c.Label(ref good);
        }

        Label fill = _c.CreateLabel(), tame = _c.CreateLabel(), store = _c.CreateLabel();
        _g.Set(rbp, _f.Window);
        _c.Label(ref fill);
        _c.call(_argument);
        // A multicall from the window must not find a blocking or a shutdown in it: these two numbers are those of sched_op.
        _c.cmp(rax, (int)Hypercall.SchedOp);
        _c.je(tame);
        _c.cmp(rax, (int)Hypercall.SchedOpCompat);
        _c.jne(store);
        _c.Label(ref tame);
        _c.inc(rax);
        _c.Label(ref store);
        _c.mov(__qword_ptr[rbp], rax);
        _c.add(rbp, 8);
        _g.Set(rax, _f.Window + (FuzzCode.WindowPages * (ulong)GuestImage.PageSize));
        _c.cmp(rbp, rax);
        _c.jb(fill);
    }

    private void EmitSingle()
    {
        Label bySyscall = _c.CreateLabel(), answered = _c.CreateLabel(), inTable = _c.CreateLabel();
        _c.call(_makeCall);
        _c.call(_random);
        _c.mov(r13, GuestCode.Absolute(_call));
        _c.test(eax, 0x0F00_0000);
        _c.jne(inTable);
        // One in sixteen has a number outside the table, which only syscall can carry.
        _c.or(rax, 64);
        _c.mov(r13, rax);
        _c.Label(ref inTable);
        LoadArguments();
        StoreLastCall();
        _c.call(_random);
        _c.cmp(r13, 64);
        _c.jae(bySyscall);
        _c.test(al, 1);
        _c.je(bySyscall);
        _c.mov(GuestCode.Report(ReportLayout.LastCall + 56), 0);
        _c.mov(rax, r13);
        _c.shl(rax, 5);
        _g.Set(rcx, GuestImage.HypercallPage);
        _c.add(rax, rcx);
        _c.call(rax);
        _c.jmp(answered);
        _c.Label(ref bySyscall);
        _c.mov(GuestCode.Report(ReportLayout.LastCall + 56), 1);
        _c.mov(rax, r13);
        _c.syscall();
        _c.Label(ref answered);
        _c.mov(GuestCode.Report(ReportLayout.LastCall + 48), rax);
        Count();
    }

    private void LoadArguments()
    {
        AssemblerRegister64[] arguments = [rdi, rsi, rdx, r10, r8];
        for (int i = 0; i < arguments.Length; i++)
            _c.mov(arguments[i], GuestCode.Absolute(_call + 8 + (ulong)(8 * i)));
    }

    private void StoreLastCall()
    {
        _c.mov(GuestCode.Report(ReportLayout.LastCall), r13);
        AssemblerRegister64[] arguments = [rdi, rsi, rdx, r10, r8];
        for (int i = 0; i < arguments.Length; i++)
            _c.mov(GuestCode.Report(ReportLayout.LastCall + 8 + (8 * i)), arguments[i]);
    }

    // Counts a call of number R13 with result RAX.
    private void Count()
    {
        Label good = _c.CreateLabel();
        _c.mov(ecx, r13d);
        _c.and(ecx, 63);
        _c.inc(__dword_ptr[(rcx * 4) + (unchecked((long)GuestImage.Report) + ReportLayout.Calls)]);
        _c.inc(GuestCode.Report(ReportLayout.Units));
        _c.dec(r12);
        _c.cmp(rax, -4095);
        _c.jb(good);
        _c.inc(__dword_ptr[(rcx * 4) + (unchecked((long)GuestImage.Report) + ReportLayout.Refusals)]);
        _c.Label(ref good);
        _c.zero_bytes();
    }

    // 64 multicall entries in a page of their own, so that no call before took it away by its address.
    private void EmitBatch()
    {
        Label entry = _c.CreateLabel(), count = _c.CreateLabel(), refused = _c.CreateLabel(), done = _c.CreateLabel();
        _g.Set(rbp, _batch);
        _c.Label(ref entry);
        _c.call(_makeCall);
        _c.mov(rax, GuestCode.Absolute(_call));
        _c.mov(__qword_ptr[rbp + MultiCallEntry.Op], rax);
        for (int i = 0; i < 5; i++)
        {
            _c.mov(rax, GuestCode.Absolute(_call + 8 + (ulong)(8 * i)));
            _c.mov(__qword_ptr[rbp + MultiCallEntry.Args + (8 * i)], rax);
        }

        _c.add(rbp, MultiCallEntry.Size);
        _g.Set(rax, _batch + (BatchEntries * MultiCallEntry.Size));
        _c.cmp(rbp, rax);
        _c.jb(entry);
        _c.mov(r13d, (int)Hypercall.Multicall);
        _g.Set(rdi, _batch);
        _g.Set(rsi, BatchEntries);
        StoreLastCall();
        _c.mov(GuestCode.Report(ReportLayout.LastCall + 56), 2);
        _g.Hypercall(Hypercall.Multicall);
        _c.mov(GuestCode.Report(ReportLayout.LastCall + 48), rax);
        _c.test(rax, rax);
        _c.jne(refused);
        CountEntries(count);
        _c.jmp(done);
        _c.Label(ref refused);
        Count();
        _c.Label(ref done);
        _c.zero_bytes();
    }

    // An entry may have unmapped the page it stands in: a trap there ends the counting, not the guest.
    private void CountEntries(Label count)
    {
        Label recovery = _g.BeginProbe();
        _g.Set(rbp, _batch);
        _c.Label(ref count);
        _c.mov(r13, __qword_ptr[rbp + MultiCallEntry.Op]);
        _c.mov(rax, __qword_ptr[rbp + MultiCallEntry.Result]);
        Count();
        _c.add(rbp, MultiCallEntry.Size);
        _g.Set(rax, _batch + (BatchEntries * MultiCallEntry.Size));
        _c.cmp(rbp, rax);
        _c.jb(count);
        _g.EndProbe(ref recovery);
    }

    // xorshift64*: RAX; changes RCX.
    private void EmitRandom()
    {
        _c.Label(ref _random);
        _c.mov(rax, rbx);
        _c.shr(rax, 12);
        _c.xor(rbx, rax);
        _c.mov(rax, rbx);
        _c.shl(rax, 25);
        _c.xor(rbx, rax);
        _c.mov(rax, rbx);
        _c.shr(rax, 27);
        _c.xor(rbx, rax);
        _g.Set(rax, 0x2545_F491_4F6C_DD1D);
        _c.imul(rax, rbx);
        // The low bits of the product are its weakest.
        _c.ror(rax, 29);
        _c.ret();
    }

    /// <summary>One argument in RAX, from sixteen sorts; changes RCX, RDX, RDI, RSI.</summary>
    private void EmitArgument()
    {
        Action<GuestCode>[] sorts =
        [
            _ => _c.and(eax, 15),
            _ => _c.and(eax, 31),
            _ => _c.and(eax, 255),
            g =>
            {
                _c.and(eax, 7);
                _c.or(eax, DomainIds.Self);
            },
            _ =>
            {
                _c.and(eax, 63);
                _c.neg(rax);
            },
            InWindow,
            InWindow,
            g =>
            {
                _c.and(eax, 63);
                _c.neg(rax);
                g.Set(rcx, _f.Hole);
                _c.add(rax, rcx);
            },
            g =>
            {
                _c.shr(rax, 17);
                g.Set(rcx, HypervisorRange.Start);
                _c.or(rax, rcx);
            },
            g =>
            {
                g.Set(rcx, 1UL << 47);
                _c.or(rax, rcx);
                _c.btr(rax, 63);
            },
            _ => _c.call(_random),
            g => OwnFrame(g, windowOnly: false),
            g =>
            {
                OwnFrame(g, windowOnly: true);
                _c.shl(rax, 12);
                _c.or(rax, GuestCode.Writable);
            },
            TableFrame,
            ForeignFrame,
            _ =>
            {
                _c.mov(ecx, eax);
                _c.mov(eax, 1);
                _c.shl(rax, cl);
            },
        ];
        Label[] labels = [.. sorts.Select(_ => _c.CreateLabel())];
        _c.Label(ref _argument);
        _c.call(_random);
        _c.mov(ecx, eax);
        _c.shr(rax, 4);
        _c.and(ecx, 15);
        for (int i = 0; i < sorts.Length - 1; i++)
        {
            _c.cmp(ecx, i);
            _c.je(labels[i]);
        }

        _c.jmp(labels[^1]);
        for (int i = 0; i < sorts.Length; i++)
        {
            _c.Label(ref labels[i]);
            sorts[i](_g);
            _c.ret();
        }
    }

    private void InWindow(GuestCode g)
    {
        _c.and(eax, (FuzzCode.WindowPages * GuestImage.PageSize) - 8);
        g.Set(rcx, _f.Window);
        _c.add(rax, rcx);
    }

    private void OwnFrame(GuestCode g, bool windowOnly)
    {
        if (windowOnly)
        {
            _c.and(eax, FuzzCode.WindowPages - 1);
            _c.add(eax, (int)((_f.Window - GuestImage.VirtBase) >> 12));
        }
        else
        {
            _c.mov(eax, eax);
            g.LoadStartInfo(rcx);
            _c.xor(edx, edx);
            _c.div(__qword_ptr[rcx + StartInfo.NrPages]);
            _c.mov(rax, rdx);
        }

        g.LoadFrameList(rcx);
        _c.mov(rax, __qword_ptr[rcx + (rax * 8)]);
    }

    // A page table's frame, or the machine address of one of its entries.
    private void TableFrame(GuestCode g)
    {
        Label whole = _c.CreateLabel();
        _c.mov(rsi, rax);
        _c.mov(eax, eax);
        g.LoadStartInfo(rcx);
        _c.xor(edx, edx);
        _c.div(__qword_ptr[rcx + StartInfo.NrPtFrames]);
        _c.mov(rax, __qword_ptr[rcx + StartInfo.PtBase]);
        g.Set(rdi, GuestImage.VirtBase);
        _c.sub(rax, rdi);
        _c.shr(rax, 12);
        _c.add(rax, rdx);
        g.LoadFrameList(rcx);
        _c.mov(rax, __qword_ptr[rcx + (rax * 8)]);
        _c.bt(rsi, 40);
        _c.jae(whole);
        _c.shl(rax, 12);
        _c.shr(rsi, 41);
        _c.and(esi, 0xFFB);
        _c.or(rax, rsi);
        _c.Label(ref whole);
    }

    // A frame's number, half of them from the first own one on, where granted frames are shown; or the machine address of an entry in it.
    private void ForeignFrame(GuestCode g)
    {
        const int NumbersInUse = 0x3FFF;
        Label whole = _c.CreateLabel();
        Label anywhere = _c.CreateLabel();
        _c.mov(rsi, rax);
        _c.and(eax, 0xF_FFFF);
        _c.bt(rsi, 41);
        _c.jae(anywhere);
        _c.and(eax, NumbersInUse);
        g.LoadFrameList(rcx);
        _c.add(rax, __qword_ptr[rcx]);
        _c.Label(ref anywhere);
        _c.bt(rsi, 40);
        _c.jae(whole);
        _c.shl(rax, 12);
        _c.or(rax, 7);
        _c.Label(ref whole);
    }

    // A call in the six words of _call: random arguments, half of them then in the shape the number wants, and nothing that ends or stops
    // the domain by right.
    private void EmitMakeCall()
    {
        Label tame = _c.CreateLabel();
        _c.Label(ref _makeCall);
        _c.call(_random);
        _c.and(eax, 63);
        _c.mov(GuestCode.Absolute(_call), rax);
        for (int i = 0; i < 5; i++)
        {
            _c.call(_argument);
            _c.mov(GuestCode.Absolute(_call + 8 + (ulong)(8 * i)), rax);
        }

        _c.call(_random);
        _c.test(al, 1);
        _c.je(tame);
        new CallShapes(_f, _call, _random, _grants).Emit(tame);
        _c.Label(ref tame);
        EmitTame();
        _c.ret();
    }

    // What would end or stop the domain by right becomes something near it.
    private void EmitTame()
    {
        Label notIret = _c.CreateLabel(), scheduling = _c.CreateLabel(), done = _c.CreateLabel();
        _c.mov(edi, __dword_ptr[(long)_call]);
        _c.mov(esi, __dword_ptr[(long)_call + 8]);
        _c.cmp(edi, (int)Hypercall.Iret);
        _c.jne(notIret);
        _c.mov(GuestCode.Absolute(_call), 63);
        _c.Label(ref notIret);
        _c.cmp(edi, (int)Hypercall.SchedOp);
        _c.je(scheduling);
        _c.cmp(edi, (int)Hypercall.SchedOpCompat);
        _c.je(scheduling);
        _c.cmp(edi, (int)Hypercall.VcpuOp);
        _c.jne(done);
        _c.cmp(esi, (int)VcpuOp.Down);
        _c.jne(done);
        _c.or(GuestCode.Absolute(_call + 8), 32);
        _c.jmp(done);
        _c.Label(ref scheduling);
        _c.cmp(esi, (int)SchedOp.Poll);
        _c.ja(done);
        _c.and(GuestCode.Absolute(_call + 8), 4);
        _c.Label(ref done);
        _c.zero_bytes();
    }
}
