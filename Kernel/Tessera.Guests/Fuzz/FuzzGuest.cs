using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Fuzz;

/// <summary>`fuzz`: the hostile guest. One mode a run; each writes what it tried and what came of it into the report.</summary>
internal static class FuzzGuest
{
    public static byte[] Build(FuzzOptions options)
    {
        FuzzCode f = new();
        switch (options.Mode)
        {
            case FuzzMode.Random:
                new RandomCalls(f).Emit(options.Seed, options.Count);
                break;
            case FuzzMode.MapForeign:
                new ForeignFrames(f).Emit();
                break;
            case FuzzMode.WriteTable:
                TableWrites.Emit(f);
                break;
            case FuzzMode.ExecuteTable:
                TableExecution.Emit(f);
                break;
            case FuzzMode.BadTrapTable:
                BrokenEntries.EmitTrapTable(f, options.Seed);
                break;
            case FuzzMode.BadStack:
                BrokenEntries.EmitStack(f, options.Seed);
                break;
            case FuzzMode.BadIret:
                BrokenEntries.EmitIret(f, options.Seed);
                break;
            case FuzzMode.JumpStub:
                HypervisorRangeProbe.Emit(f);
                break;
            case FuzzMode.HltStorm:
                Storms.EmitPrivileged(f, options.Count);
                break;
            case FuzzMode.YieldStorm:
                Storms.EmitYield(f, options.Count);
                break;
            case FuzzMode.EventStorm:
                Storms.EmitEvents(f, options.Count);
                break;
            default:
                throw new ArgumentException($"There is no fuzz mode {options.Mode}.", nameof(options));
        }

        return f.G.Finish();
    }
}

/// <summary>What the modes of the hostile guest share: records, a window of scratch memory with a hole after it, an end.</summary>
internal sealed class FuzzCode
{
    /// <summary>Pages of the scratch window.</summary>
    public const int WindowPages = 4;

    private readonly ulong _attempt;

    public FuzzCode()
    {
        G = new(GuestKind.Fuzz);
        Window = G.ReservePages(WindowPages);
        Hole = G.ReservePages(1);
        _attempt = G.Reserve(8);
        G.MapSharedInfo();
        G.SetUpTraps();
        G.Set(rdi, Hole);
        G.Set(rsi, 0);
        G.C.mov(edx, (int)UpdateVaFlags.Invlpg);
        G.Hypercall(Hypercall.UpdateVaMapping);
        G.RequireZero(GuestError.HypercallRefused);
        G.SetProgress(GuestProgress.Running);
    }

    public GuestCode G { get; }

    public Assembler C => G.C;

    /// <summary>The scratch pages; mapped writable.</summary>
    public ulong Window { get; }

    /// <summary>The page after them; not mapped.</summary>
    public ulong Hole { get; }

    /// <summary>Names the next attack; its target is in RAX.</summary>
    public void Attempt(FuzzAttack attack)
    {
        C.shl(rax, 16);
        C.shr(rax, 16);
        G.Set(rcx, (ulong)attack << 48);
        C.or(rax, rcx);
        C.mov(GuestCode.Absolute(_attempt), rax);
    }

    /// <summary>Names the next attack; changes RAX and RCX.</summary>
    public void Attempt(FuzzAttack attack, ulong target)
    {
        G.Set(rax, target);
        Attempt(attack);
    }

    /// <summary>Writes the record of the attack named last; what came of it is in RAX. Keeps RAX, changes RCX and RDX.</summary>
    public void Record()
    {
        Label fits = C.CreateLabel();
        C.mov(ecx, GuestCode.ReportInt(ReportLayout.RecordCount));
        C.cmp(ecx, ReportLayout.MaxRecords);
        C.jb(fits);
        C.mov(ecx, ReportLayout.MaxRecords - 1);
        C.Label(ref fits);
        C.shl(ecx, 4);
        C.mov(rdx, GuestCode.Absolute(_attempt));
        C.mov(__qword_ptr[rcx + (unchecked((long)GuestImage.Report) + ReportLayout.Records)], rdx);
        C.mov(__qword_ptr[rcx + (unchecked((long)GuestImage.Report) + ReportLayout.Records + 8)], rax);
        C.inc(GuestCode.ReportInt(ReportLayout.RecordCount));
        C.inc(GuestCode.Report(ReportLayout.Units));
    }

    /// <summary>Records a hypercall's result in RAX and ends in failure when it is not an error.</summary>
    public void RecordRefusal()
    {
        Record();
        G.RequireRefusal(GuestError.AttackSucceeded);
    }

    /// <summary>Records a probe: RAX is the vector, or negative when the access went through, which then is success or not.</summary>
    public void RecordProbe(bool mustTrap)
    {
        Label through = C.CreateLabel(), done = C.CreateLabel();
        C.test(rax, rax);
        C.js(through);
        C.add(rax, (int)FuzzOutcome.Trapped);
        Record();
        C.jmp(done);
        C.Label(ref through);
        C.mov(eax, (int)FuzzOutcome.Through);
        Record();
        if (mustTrap)
        {
            G.Set(rsi, 0);
            G.Fail(GuestError.AttackSucceeded);
        }

        C.Label(ref done);
        C.zero_bytes();
    }

    /// <summary>Ends well.</summary>
    public void End()
    {
        G.SetProgress(GuestProgress.Finished);
        G.Shutdown(ShutdownReason.Poweroff);
    }

    /// <summary>Calls a hypercall on one mmu_update: pointer in RDI, value in RSI; answers in RAX.</summary>
    public void MmuUpdate()
    {
        C.mov(GuestCode.Absolute(G.Argument + MmuUpdateEntry.Pointer), rdi);
        C.mov(GuestCode.Absolute(G.Argument + MmuUpdateEntry.Value), rsi);
        OneOperation(Hypercall.MmuUpdate);
    }

    /// <summary>Calls one mmuext_op: frame in RDI; answers in RAX.</summary>
    public void MmuExt(MmuExtOp operation)
    {
        C.mov(__dword_ptr[(long)G.Argument + MmuExtEntry.Command], (int)operation);
        C.mov(GuestCode.Absolute(G.Argument + MmuExtEntry.Argument1), rdi);
        C.mov(GuestCode.Absolute(G.Argument + MmuExtEntry.Argument2), 0);
        OneOperation(Hypercall.MmuextOp);
    }

    private void OneOperation(Hypercall call)
    {
        G.Set(rdi, G.Argument);
        G.Set(rsi, 1);
        G.Set(rdx, 0);
        C.mov(r10d, DomainIds.Self);
        G.Hypercall(call);
    }
}
