using Tessera.Sdk.Memory;
using Tessera.Sdk.Simulation;
using Tessera.Sdk.Xen;
using static Tessera.Sdk.Conformance.Memory.Entry;

namespace Tessera.Sdk.Conformance.Memory;

// How long an operation takes at a stretch, the end of a domain, and guests that try everything.
public sealed partial class MmuSuite
{
    /// <summary>
    /// An entry changes two accounts at most: its target's, and its own table's with the last entry. The rest is the operation's own.
    /// </summary>
    private const int Bound = MmuLimits.EntriesAtOnce + 32;

    [Check("No stretch of an operation, or of its undoing, looks at more entries than the limit.")]
    private void Every_stretch_of_an_operation_is_bounded()
    {
        Boot();
        Mfn root = BuildWide();
        IDomainMmu raw = _machine.Mmu.Raw;
        int stretches = 0;
        (MmuExtOp Command, Mfn Frame)[] operations =
        [
            (MmuExtOp.PinL4Table, root), (MmuExtOp.NewUserBaseptr, root), (MmuExtOp.UnpinTable, root),
            (MmuExtOp.NewUserBaseptr, new Mfn(0)), (MmuExtOp.NewUserBaseptr, root),
        ];
        foreach ((MmuExtOp command, Mfn frame) in operations)
        {
            XenErrno answer;
            do
            {
                answer = Stretch(() => raw.Extended(0, (uint)command, frame, Mfn.None));
                while (!Stretch(() => raw.Work(MmuLimits.EntriesAtOnce)))
                    stretches++;
            }
            while (answer == XenErrno.ERESTART);
            Expect.Equal(answer, XenErrno.Success, $"{command} in stretches");
        }

        Expect.Equal(_machine.Walk(Page(0), userMode: true), (_machine[10], false));
        _machine.RequireSafe([]);
        Note($"{stretches} stretches more than operations");
    }

    [Check("While work is left nothing changes, everything that would answers ERESTART, and reading goes on.")]
    private void While_work_is_left_nothing_changes()
    {
        Boot();
        IDomainMmu raw = _machine.Mmu.Raw;
        Mfn root = BuildWide();
        XenErrno first = raw.Extended(0, (uint)MmuExtOp.PinL4Table, root, Mfn.None);
        if (!raw.HasWork)
            throw new NotPromisedException("The MMU leaves no work, not for eleven full tables.");
        int changes = _frames.Changes;
        Expect.Equal(raw.Update(MmuMachine.Address(_tables.L1, 0), 0), XenErrno.ERESTART);
        Expect.Equal(raw.UpdateVaMapping(0, BootTables.Page(0), 0), XenErrno.ERESTART);
        Expect.Equal(raw.Extended(0, (uint)MmuExtOp.UnpinTable, _tables.L4, Mfn.None), XenErrno.ERESTART);
        Expect.Equal(raw.Extended(0, (uint)MmuExtOp.ClearPage, _machine[9], Mfn.None), XenErrno.ERESTART);
        Expect.Equal(raw.AcquireDescriptorFrame(_machine[31]), XenErrno.ERESTART);
        Expect.Equal(raw.UpdateDescriptor(_machine[31].Address, 0), XenErrno.ERESTART);
        Expect.Equal(_frames.Changes, changes);
        Expect.Equal(_machine.Walk(Page(0)), (_machine[8], true));
        Expect.True(Translates(0, Page(0), forWriting: true), "reading goes on");
        _machine.Mmu.Finish();
        if (first == XenErrno.ERESTART)
            Expect.Equal(_machine.Do(MmuExtOp.PinL4Table, root), XenErrno.Success);
        Expect.Equal(_machine.Do(MmuExtOp.UnpinTable, root), XenErrno.Success);
    }

    [Check("A domain that dies leaves no type, no reference and no pin, also in the middle of an operation.")]
    private void A_domain_that_dies_leaves_nothing()
    {
        for (int slices = 0; slices <= 16; slices++)
        {
            foreach (bool dropping in (bool[])[false, true])
            {
                PowerOn();
                Boot();
                _ = _machine.Walk(Page(0));
                _machine.Do(MmuExtOp.PinL1Table, _tables.L1);
                _machine.Do(MmuExtOp.NewUserBaseptr, _tables.L4, vcpu: 1);
                _machine.Mmu.AcquireDescriptorFrame(_machine[13]);
                Mfn root = BuildWide();
                if (dropping)
                    Expect.Equal(_machine.Do(MmuExtOp.PinL4Table, root), XenErrno.Success);
                IDomainMmu raw = _machine.Mmu.Raw;
                _ = raw.Extended(0, (uint)(dropping ? MmuExtOp.UnpinTable : MmuExtOp.PinL4Table), root, Mfn.None);
                for (int slice = 0; slice < slices && !raw.Work(MmuLimits.EntriesAtOnce / 2); slice++)
                {
                }

                _machine.Mmu.Release();
                _frames.RequireIdle();
                Expect.Equal(_machine.OwnTables, 0, "tables that the MMU did not give back");
            }
        }
    }

    [Check("Whatever a guest does, no CPU reaches a foreign frame, a writable table, or other entries of the VMM than its own.")]
    private void Whatever_a_guest_does_no_CPU_reaches_what_it_must_not()
    {
        string? problem = null;
        int[]? smallest = RandomSearch.Find(
            _options,
            (random, steps) => RandomSearch.Items(random, steps, static step => (int)step.Below(int.MaxValue)),
            RandomSearch.Fewer,
            script =>
            {
                string? found = Play(script);
                problem = found ?? problem;
                return found is not null;
            });
        if (smallest is not null)
            Expect.Fail($"{problem}\nSeed {_options.Seed}; the smallest script of a guest found: {string.Join(", ", smallest)}");
        Note($"{_options.Scenarios} random guests");
    }

    private string? Play(int[] script)
    {
        PowerOn();
        _machine.Mmu.Slice = 1 + (script.Length * 7 % 600);
        HostileGuest guest = new(_machine);
        try
        {
            foreach (int number in script)
            {
                guest.Act(number);
                guest.Look();
                _machine.RequireSafe(guest.Held.Keys);
            }

            _machine.Mmu.Release();
            _frames.RequireIdle();
            Expect.Equal(_machine.OwnTables, 0, "tables that the MMU did not give back");
            return null;
        }
        catch (Exception exception) when (exception is CheckFailedException or InvalidOperationException or TamperedTablesException)
        {
            return exception.Message;
        }
    }

    /// <summary>An L4 table with eight full L1 tables below it, eleven full tables with it.</summary>
    private Mfn BuildWide()
    {
        for (int table = 20; table < 28; table++)
            _machine.PokeAll(_machine[table], _machine[10].Address | P);
        foreach (int table in (int[])[17, 18, 19])
        {
            for (int index = 0; index < 512; index++)
                _machine.Poke(_machine[table], index, _machine[table == 17 ? 20 + (index % 8) : table - 1].Address | P | RW);
        }

        return _machine[19];
    }

    private T Stretch<T>(Func<T> what)
    {
        int before = _frames.Changes;
        T answer = what();
        int changes = _frames.Changes - before;
        if (changes > Bound)
            Expect.Fail($"{changes} accounts changed at a stretch, where at most {MmuLimits.EntriesAtOnce} entries may be looked at");
        return answer;
    }
}
