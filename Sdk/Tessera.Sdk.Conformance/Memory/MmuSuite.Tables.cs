using Tessera.Sdk.Xen;
using static Tessera.Sdk.Conformance.Memory.Entry;

namespace Tessera.Sdk.Conformance.Memory;

// Whole tables: at boot, pinned, as roots; and descriptor tables.
public sealed partial class MmuSuite
{
    private const ulong KernelCode = 0x00AF_9B00_0000_FFFF;
    private const ulong UserCode = 0x00AF_FB00_0000_FFFF;
    private const ulong AbsentGate = 0x0000_0E00_0000_0000;

    [Check("Boot tables become the kernel root of the first vCPU, and of nobody else.")]
    private void Boot_tables_become_the_root_of_the_first_vcpu()
    {
        Boot();
        Expect.True(_machine.Mmu.Root(0, userMode: false) != Mfn.None);
        Expect.Equal(_machine.Mmu.Root(0, userMode: true), Mfn.None);
        Expect.Equal(_machine.Mmu.Root(1, userMode: false), Mfn.None);
        _machine.RequireSafe([]);
    }

    [Check("Boot tables that map themselves writable, or that are not the domain's, are refused.")]
    private void Boot_tables_that_map_themselves_writable_are_refused()
    {
        _machine.Poke(_tables.L1, 3, _tables.L2.Address | P | RW);
        Expect.Equal(_machine.Mmu.AdoptBootTables(_tables.L4), XenErrno.EBUSY);
        Expect.Equal(_machine.Mmu.AdoptBootTables(Mfn.None), XenErrno.EINVAL);
        _machine.Mmu.Release();
        _frames.RequireIdle();
    }

    [Check("What the guest put into the VMM's slots of a table, no CPU reaches.")]
    private void What_the_guest_put_into_the_VMMs_slots_no_CPU_reaches()
    {
        Boot();
        Mfn root = _machine[4];
        for (int slot = 256; slot <= 271; slot++)
            _machine.Poke(root, slot, MmuMachine.ForeignFrame.Address | P | RW | U);
        Expect.Equal(_machine.Do(MmuExtOp.PinL4Table, root), XenErrno.Success);
        Expect.Equal(_machine.Do(MmuExtOp.NewBaseptr, root, vcpu: 1), XenErrno.Success);
        _machine.RequireSafe([]);
    }

    [Check("A table is pinned once, and unpinned once.")]
    [Case(MmuExtOp.PinL1Table)]
    [Case(MmuExtOp.PinL2Table)]
    [Case(MmuExtOp.PinL3Table)]
    [Case(MmuExtOp.PinL4Table)]
    private void A_table_is_pinned_once_and_unpinned_once(MmuExtOp pin)
    {
        Boot();
        Mfn table = _machine[4];
        Expect.Equal(_machine.Do(pin, table), XenErrno.Success);
        Expect.Equal(_machine.Do(pin, table), XenErrno.EINVAL, "once more");
        IsNotPlain(table);
        Expect.Equal(_machine.Do(MmuExtOp.UnpinTable, table), XenErrno.Success);
        Expect.Equal(_machine.Do(MmuExtOp.UnpinTable, table), XenErrno.EINVAL, "once more");
        IsPlain(table);
    }

    [Check("A table cannot be pinned at another level while it is one.")]
    private void A_table_cannot_be_pinned_at_another_level_while_it_is_one()
    {
        Boot();
        Expect.Equal(_machine.Do(MmuExtOp.PinL2Table, _tables.L1), XenErrno.EINVAL);
        Expect.Equal(_machine.Do(MmuExtOp.PinL1Table, _tables.L1), XenErrno.Success);
    }

    [Check("Foreign frames cannot be pinned, made a root, cleared or copied.")]
    private void Foreign_frames_cannot_be_pinned_made_a_root_cleared_or_copied()
    {
        Boot();
        MmuExtOp[] commands =
        [
            MmuExtOp.PinL1Table, MmuExtOp.PinL4Table, MmuExtOp.UnpinTable, MmuExtOp.NewBaseptr, MmuExtOp.NewUserBaseptr,
            MmuExtOp.ClearPage, MmuExtOp.CopyPage,
        ];
        foreach (MmuExtOp command in commands)
        {
            foreach (Mfn frame in (Mfn[])[MmuMachine.ForeignFrame, Mfn.None, new(long.MinValue), new(1)])
                Expect.Equal(_machine.Do(command, frame, _machine[12]), XenErrno.EINVAL, $"{command} {frame}");
        }

        Expect.Equal(_machine.Do(MmuExtOp.CopyPage, _machine[12], MmuMachine.ForeignFrame), XenErrno.EINVAL);
        Expect.Equal(_machine.Do(MmuExtOp.CopyPage, _machine[12], Mfn.None), XenErrno.EINVAL);
    }

    [Check("A pin that fails leaves nothing held, at any level.")]
    private void A_pin_that_fails_leaves_nothing_held()
    {
        _machine.Poke(_tables.L4, 511, MmuMachine.ForeignFrame.Address | P);
        Expect.Equal(_machine.Do(MmuExtOp.PinL4Table, _tables.L4), XenErrno.EINVAL);
        _machine.Poke(_tables.L4, 511, 0);
        foreach (int frame in (int[])[0, 1, 2, 3])
        {
            Expect.Equal(_machine.Do(MmuExtOp.PinL1Table, _machine[frame + 20]), XenErrno.Success);
            Expect.Equal(_machine.Do(MmuExtOp.ClearPage, _machine[frame]), XenErrno.Success, $"table {frame} is plain memory");
        }
    }

    [Check("Roots hold their tables, for each vCPU and each mode.")]
    private void Roots_hold_their_tables_for_each_vcpu_and_mode()
    {
        Boot();
        Expect.True(!Translates(0, Page(0), forWriting: false, userMode: true));
        Expect.Equal(_machine.Do(MmuExtOp.NewBaseptr, _tables.L4, vcpu: 1), XenErrno.Success);
        Expect.Equal(_machine.Walk(Page(0), vcpu: 1), (_machine[8], true));
        Expect.Equal(_machine.Do(MmuExtOp.NewUserBaseptr, _machine[5]), XenErrno.Success, "an empty table");
        Expect.Equal(_machine.Walk(Page(0), userMode: true), null);
        IsNotPlain(_machine[5]);
        Expect.Equal(_machine.Do(MmuExtOp.NewUserBaseptr, _tables.L4), XenErrno.Success);
        Expect.Equal(_machine.Walk(Page(0), userMode: true), (_machine[8], true));
        IsPlain(_machine[5]);
        Expect.Equal(_machine.Do(MmuExtOp.NewUserBaseptr, new Mfn(0)), XenErrno.Success, "none");
        Expect.Equal(_machine.Mmu.Root(0, userMode: true), Mfn.None);
        Expect.Equal(_machine.Do(MmuExtOp.UnpinTable, _tables.L4), XenErrno.Success);
        IsNotPlain(_tables.L4);
        Expect.Equal(_machine.Do(MmuExtOp.NewBaseptr, new Mfn(0)), XenErrno.EINVAL);
        Expect.Equal(_machine.Walk(Page(0)), (_machine[8], true));
        _machine.RequireSafe([]);
    }

    [Check("Clearing and copying change plain memory only.")]
    private void Clearing_and_copying_change_plain_memory_only()
    {
        Boot();
        _machine.PokeAll(_machine[12], 0x55);
        Expect.Equal(_machine.Do(MmuExtOp.CopyPage, _machine[13], _machine[12]), XenErrno.Success);
        Expect.True(!_machine.ReadAll(_machine[13]).ContainsAnyExcept(0x55UL), "the copy");
        Expect.Equal(_machine.Do(MmuExtOp.ClearPage, _machine[12]), XenErrno.Success);
        Expect.True(!_machine.ReadAll(_machine[12]).ContainsAnyExcept(0UL), "the cleared page");
        Expect.Equal(_machine.Do(MmuExtOp.ClearPage, _tables.L1), XenErrno.EINVAL);
        Expect.Equal(_machine.Do(MmuExtOp.CopyPage, _tables.L1, _machine[12]), XenErrno.EINVAL);
        Expect.Equal(_machine.Walk(Page(0)), (_machine[8], true));
    }

    [Check("Commands that are not the MMU's are answered with ENOSYS.")]
    private void Other_commands_are_not_implemented_here()
    {
        Boot();
        Expect.Equal(_machine.Do(MmuExtOp.TlbFlushLocal, _machine[0]), XenErrno.ENOSYS);
        Expect.Equal(_machine.Do((MmuExtOp)99, _machine[0]), XenErrno.ENOSYS);
    }

    [Check("Code and data descriptors come out with DPL 3.")]
    [Case(0UL, 0UL)]
    [Case(KernelCode, UserCode)]
    [Case(UserCode, UserCode)]
    [Case(0x00CF_9300_0000_FFFFUL, 0x00CF_F300_0000_FFFFUL)]
    [Case(0x00AF_9F00_0000_FFFFUL, 0x00AF_FF00_0000_FFFFUL)]
    [Case(AbsentGate, AbsentGate)]
    private void Code_and_data_come_out_with_DPL_3(ulong descriptor, ulong expected)
    {
        Expect.Equal(_machine.Mmu.UpdateDescriptor(MmuMachine.Address(_machine[6], 9), descriptor), XenErrno.Success);
        Expect.Equal(_machine.Read(_machine[6], 9), expected);
        _machine.Poke(_machine[7], 9, descriptor);
        Expect.Equal(_machine.Mmu.AcquireDescriptorFrame(_machine[7]), XenErrno.Success);
        Expect.Equal(_machine.Read(_machine[7], 9), expected);
    }

    [Check("Present system descriptors (LDT, TSS, gates) are refused.")]
    private void Present_system_descriptors_are_refused()
    {
        Boot();
        foreach (int type in (int[])[2, 5, 9, 11, 12, 14, 15])
        {
            ulong descriptor = 0x0000_E000_0000_0000UL | ((ulong)type << 40);
            Expect.Equal(_machine.Mmu.UpdateDescriptor(MmuMachine.Address(_machine[6], 9), descriptor), XenErrno.EINVAL, $"type {type}");
            _machine.Poke(_machine[7], 511, descriptor);
            Expect.Equal(_machine.Mmu.AcquireDescriptorFrame(_machine[7]), XenErrno.EINVAL, $"type {type}");
        }

        IsPlain(_machine[7]);
    }

    [Check("A descriptor table cannot be mapped writable or used as a table until its last release.")]
    private void A_descriptor_table_cannot_be_mapped_writable_or_used_as_a_table()
    {
        Boot();
        Mfn frame = _machine[6];
        Expect.Equal(_machine.Mmu.AcquireDescriptorFrame(frame), XenErrno.Success);
        Expect.Equal(_machine.Mmu.AcquireDescriptorFrame(frame), XenErrno.Success, "a second time");
        _machine.Mmu.ReleaseDescriptorFrame(frame);
        IsNotPlain(frame);
        Expect.Equal(_machine.Write(_tables.L2, 5, frame.Address | P | RW), XenErrno.EINVAL);
        Expect.Equal(_machine.Write(_tables.L1, 5, frame.Address | P), XenErrno.Success, "read-only");
        _machine.RequireSafe([frame]);
        _machine.Mmu.ReleaseDescriptorFrame(frame);
        Expect.Equal(_machine.Write(_tables.L1, 5, frame.Address | P | RW), XenErrno.Success);
        Expect.Equal(_machine.Mmu.AcquireDescriptorFrame(frame), XenErrno.EINVAL, "it is mapped writable");
    }

    [Check("A page table or a foreign frame is no descriptor table.")]
    private void A_page_table_or_a_foreign_frame_is_no_descriptor_table()
    {
        Boot();
        Expect.Equal(_machine.Mmu.AcquireDescriptorFrame(_tables.L1), XenErrno.EINVAL);
        Expect.Equal(_machine.Mmu.AcquireDescriptorFrame(MmuMachine.ForeignFrame), XenErrno.EINVAL);
        Expect.Equal(_machine.Mmu.UpdateDescriptor(_tables.L1.Address, 0), XenErrno.EINVAL);
        Expect.Equal(_machine.Mmu.UpdateDescriptor(MmuMachine.ForeignFrame.Address, 0), XenErrno.EINVAL);
        Expect.Equal(_machine.Mmu.UpdateDescriptor(_machine[6].Address + 4, 0), XenErrno.EINVAL);
    }
}
