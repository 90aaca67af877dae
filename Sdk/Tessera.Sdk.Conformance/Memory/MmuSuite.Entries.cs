using Tessera.Sdk.Xen;
using static Tessera.Sdk.Conformance.Memory.Entry;

namespace Tessera.Sdk.Conformance.Memory;

// Updates of single entries, and walks.
public sealed partial class MmuSuite
{
    [Check("A mapping is there as soon as it is made, and gone when it is taken away.")]
    private void A_mapping_is_there_as_soon_as_it_is_made_and_gone_when_it_is_taken_away()
    {
        Boot();
        Expect.Equal(_machine.Walk(Page(0)), (_machine[8], true));
        Expect.Equal(_machine.Walk(Page(1)), (_machine[9], false));
        Expect.Equal(_machine.Walk(Page(5)), null);
        Expect.Equal(_machine.Write(_tables.L1, 5, _machine[10].Address | P | RW), XenErrno.Success);
        Expect.Equal(_machine.Walk(Page(5)), (_machine[10], true));
        Expect.Equal(_machine.Write(_tables.L1, 5, _machine[10].Address | P), XenErrno.Success);
        Expect.Equal(_machine.Walk(Page(5)), (_machine[10], false));
        Expect.Equal(_machine.Write(_tables.L1, 5, 0), XenErrno.Success);
        Expect.Equal(_machine.Walk(Page(5)), null);
        _machine.RequireTablesReported();
    }

    [Check("An entry that is not present may hold anything.")]
    private void An_entry_that_is_not_present_may_hold_anything()
    {
        const ulong Swap = 0xDEAD_BEEF_0000_1FFE;
        Boot();
        Expect.Equal(_machine.Write(_tables.L1, 5, Swap), XenErrno.Success);
        Expect.Equal(_machine.Read(_tables.L1, 5), Swap);
        Expect.Equal(_machine.Walk(Page(5)), null);
    }

    [Check("Foreign and impossible frames are refused, and the old entry stays.")]
    private void Foreign_and_impossible_frames_are_refused_and_the_old_entry_stays()
    {
        Boot();
        ulong before = _machine.Read(_tables.L1, 0);
        ulong foreign = MmuMachine.ForeignFrame.Address;
        foreach (ulong entry in (ulong[])[foreign | P, foreign | P | RW, P | RW])
            Expect.Equal(_machine.Write(_tables.L1, 0, entry), XenErrno.EPERM, $"entry {entry:x}");
        Expect.Equal(_machine.Write(_tables.L1, 0, FrameMask | P), XenErrno.EINVAL, "the number that stands for none");
        Expect.Equal(_machine.Write(_tables.L2, 5, foreign | P | RW), XenErrno.EINVAL);
        Expect.Equal(_machine.Read(_tables.L1, 0), before);
        Expect.Equal(_machine.Walk(Page(0)), (_machine[8], true));
    }

    [Check("Tables cannot be mapped writable, at any level; they can be read.")]
    private void Tables_cannot_be_mapped_writable_at_any_level()
    {
        Boot();
        foreach (Mfn table in (Mfn[])[_tables.L1, _tables.L2, _tables.L3, _tables.L4])
        {
            IsNotPlain(table);
            Expect.Equal(_machine.Write(_tables.L1, 5, table.Address | P), XenErrno.Success, "read-only");
        }

        _machine.RequireSafe([]);
    }

    [Check("A frame that is mapped writable cannot become a table.")]
    private void A_frame_that_is_mapped_writable_cannot_become_a_table()
    {
        Boot();
        Expect.Equal(_machine.Write(_tables.L2, 5, _machine[8].Address | P | RW), XenErrno.EINVAL);
        Expect.Equal(_machine.Do(MmuExtOp.PinL1Table, _machine[8]), XenErrno.EINVAL);
        _machine.RequireSafe([]);
    }

    [Check("Entries of the VMM cannot be updated.")]
    private void Entries_of_the_VMM_cannot_be_updated()
    {
        Boot();
        for (int slot = 256; slot <= 271; slot++)
            Expect.Equal(_machine.Write(_tables.L4, slot, 0), XenErrno.EINVAL, $"slot {slot}");
        _machine.RequireSafe([]);
    }

    [Check("A table that is linked maps what it holds, and is plain memory again when it is unlinked.")]
    private void A_table_that_is_linked_maps_what_it_holds()
    {
        Boot();
        Mfn table = _machine[4];
        _machine.Poke(table, 7, _machine[11].Address | P | RW);
        Expect.Equal(_machine.Write(_tables.L2, 5, table.Address | P | RW), XenErrno.Success);
        Expect.Equal(_machine.Walk(Page((5 * 512) + 7)), (_machine[11], true));
        IsNotPlain(table);
        Expect.Equal(_machine.Write(_tables.L2, 5, 0), XenErrno.Success);
        Expect.Equal(_machine.Walk(Page((5 * 512) + 7)), null);
        IsPlain(table);
    }

    [Check("Linking a bad table changes nothing and leaves nothing held.")]
    private void Linking_a_bad_table_leaves_nothing_held()
    {
        Boot();
        Mfn l2 = _machine[4], l1 = _machine[5];
        _machine.Poke(l1, 0, _machine[11].Address | P | RW);
        _machine.Poke(l2, 0, l1.Address | P | RW);
        _machine.Poke(l2, 511, MmuMachine.ForeignFrame.Address | P | RW);
        Expect.Equal(_machine.Write(_tables.L3, 5, l2.Address | P | RW), XenErrno.EINVAL);
        Expect.Equal(_machine.Read(_tables.L3, 5), 0UL);
        foreach (Mfn frame in (Mfn[])[l2, l1, _machine[11]])
            IsPlain(frame);
    }

    [Check("Preserving keeps accessed and dirty of the old entry, a normal update does not.")]
    private void Preserving_keeps_accessed_and_dirty_and_a_normal_update_does_not()
    {
        Boot();
        _machine.Poke(_tables.L1, 0, _machine.Read(_tables.L1, 0) | A | D);
        ulong readOnly = _machine[8].Address | P;
        Expect.Equal(_machine.Write(_tables.L1, 0, readOnly, MmuUpdateKind.PtUpdatePreserveAd), XenErrno.Success);
        Expect.Equal(_machine.Read(_tables.L1, 0) & (A | D), A | D);
        Expect.Equal(_machine.Write(_tables.L1, 0, readOnly), XenErrno.Success);
        Expect.Equal(_machine.Read(_tables.L1, 0) & (A | D), 0UL);
    }

    [Check("Plain memory is written as it is, unless it is a descriptor table.")]
    private void Plain_memory_is_written_as_it_is_unless_it_is_a_descriptor_table()
    {
        Boot();
        Expect.Equal(_machine.Write(_machine[12], 3, 0x1234_5679), XenErrno.Success);
        Expect.Equal(_machine.Read(_machine[12], 3), 0x1234_5679UL);
        IsPlain(_machine[12]);
        Expect.Equal(_machine.Mmu.AcquireDescriptorFrame(_machine[13]), XenErrno.Success);
        Expect.Equal(_machine.Write(_machine[13], 3, 1), XenErrno.EINVAL);
    }

    [Check("Pointers to what is not the domain's, or between entries, are refused.")]
    private void Bad_pointers_are_refused()
    {
        Boot();
        Expect.Equal(_machine.Mmu.Update(MmuMachine.ForeignFrame.Address, 0), XenErrno.EINVAL);
        Expect.Equal(_machine.Mmu.Update(ulong.MaxValue & ~7UL, 0), XenErrno.EINVAL);
        Expect.Equal(_machine.Mmu.Update(_tables.L1.Address | 4, 0), XenErrno.ENOSYS);
    }

    [Check("Machine-to-physical entries are set for the domain's own frames only.")]
    private void Machine_to_physical_is_set_for_own_frames_only()
    {
        Boot();
        Expect.Equal(_machine.Mmu.Update(_machine[9].Address | 1, 77), XenErrno.Success);
        Expect.Equal(_machine.MachineToPhysical.GetValueOrDefault(_machine[9]), new Pfn(77));
        Expect.Equal(_machine.Mmu.Update(MmuMachine.ForeignFrame.Address | 1, 77), XenErrno.EINVAL);
        Expect.Equal(_machine.MachineToPhysical.Count, 1);
    }

    [Check("update_va_mapping writes the entry that maps the address, where there is one.")]
    private void Update_va_mapping_writes_the_entry_that_maps_the_address()
    {
        Boot();
        Expect.Equal(_machine.Mmu.UpdateVaMapping(0, BootTables.Page(6), _machine[10].Address | P | RW), XenErrno.Success);
        Expect.Equal(_machine.Walk(Page(6)), (_machine[10], true));
        foreach (ulong address in (ulong[])[Page(512), 0x8000_0000_0000_0000, 0xFFFF_8080_0000_0000])
            Expect.Equal(_machine.Mmu.UpdateVaMapping(0, new VirtualAddress(address), 0), XenErrno.EINVAL, $"{address:x}");
        Expect.Equal(_machine.Mmu.UpdateVaMapping(1, BootTables.Page(6), 0), XenErrno.EINVAL, "a vCPU without tables");
    }

    [Check("An address translates to its byte, for writing only where every level is writable.")]
    private void An_address_translates_to_its_byte()
    {
        Boot();
        Expect.True(_machine.Mmu.Translate(0, userMode: false, BootTables.Page(0, 0x123), forWriting: true, out ulong machine));
        Expect.Equal(machine, _machine[8].Address + 0x123);
        Expect.True(Translates(0, Page(1), forWriting: false));
        Expect.True(!Translates(0, Page(1), forWriting: true), "a read-only page");
        Expect.Equal(_machine.Write(_tables.L3, 0, _tables.L2.Address | P), XenErrno.Success);
        Expect.True(Translates(0, Page(0), forWriting: false));
        Expect.True(!Translates(0, Page(0), forWriting: true), "a read-only table above");
    }

    [Check("What is not mapped does not translate.")]
    private void What_is_not_mapped_does_not_translate()
    {
        Boot();
        foreach (ulong address in (ulong[])[Page(3), Page(512), 0, 0x0000_8880_0000_0000, 0xFFFF_8080_0000_0000, 0xFFFF_8700_0000_0000])
            Expect.True(!Translates(0, address, forWriting: false), $"{address:x}");
        Expect.True(!Translates(1, Page(0), forWriting: false), "a vCPU without tables");
    }

    [Check("The entry of an address is found whether or not it is present.")]
    private void The_entry_of_an_address_is_found_whether_or_not_it_is_present()
    {
        Boot();
        Expect.True(_machine.Mmu.FindEntry(0, BootTables.Page(77), out ulong entry));
        Expect.Equal(entry, MmuMachine.Address(_tables.L1, 77));
        Expect.True(!_machine.Mmu.FindEntry(0, BootTables.Page(512), out _), "no table");
        Expect.True(!_machine.Mmu.FindEntry(1, BootTables.Page(0), out _), "a vCPU without tables");
        Expect.True(!_machine.Mmu.FindEntry(0, new VirtualAddress(0xFFFF_8080_0000_0000), out _), "a slot of the VMM");
    }

    [Check("Single updates, walks and faults allocate nothing.")]
    private void Single_updates_walks_and_faults_allocate_nothing()
    {
        Boot();
        ulong pointer = MmuMachine.Address(_tables.L1, 5);
        ulong entry = _machine[10].Address | P | RW;
        Exercise(10);
        Expect.AllocatesNothing(() => Exercise(10_000), "by 90,000 updates, walks and faults");

        void Exercise(int times)
        {
            for (int round = 0; round < times; round++)
            {
                _machine.Mmu.Update(pointer, entry);
                _machine.Mmu.Update(pointer | (ulong)MmuUpdateKind.PtUpdatePreserveAd, entry & ~RW);
                _machine.Mmu.UpdateVaMapping(0, BootTables.Page(5), 0);
                _machine.Mmu.Update(pointer, MmuMachine.ForeignFrame.Address | P);
                Translates(0, Page(0), forWriting: true);
                _machine.Mmu.FindEntry(0, BootTables.Page(0), out _);
                Fault(Page(0), Read);
                Fault(Page(2), Store);
                Fault(Page(3), Read);
            }
        }
    }

    private bool Translates(int vcpu, ulong address, bool forWriting, bool userMode = false) =>
        _machine.Mmu.Translate(vcpu, userMode, new VirtualAddress(address), forWriting, out _);
}
