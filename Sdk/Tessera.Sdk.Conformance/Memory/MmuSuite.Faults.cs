using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;
using static Tessera.Sdk.Conformance.Memory.Entry;

namespace Tessera.Sdk.Conformance.Memory;

// Page faults.
public sealed partial class MmuSuite
{
    private const PageFaultError Read = PageFaultError.None;
    private const PageFaultError Store = PageFaultError.Present | PageFaultError.Write;

    [Check("A fault that the tables explain is the guest's.")]
    private void A_fault_that_the_tables_explain_is_the_guests()
    {
        Boot();
        ulong[] nowhere = [Page(3), Page(512), 0, ulong.MaxValue, 0x8000_0000_0000_0000, 0xFFFF_8080_0000_0000, 0xFFFF_8700_0000_0000];
        foreach (ulong address in nowhere)
        {
            foreach (PageFaultError error in (PageFaultError[])[Read, PageFaultError.Write, PageFaultError.Fetch])
                Expect.Equal(Fault(address, error), FaultAnswer.Guests(error), $"{error} at {address:x}");
        }

        Expect.Equal(Fault(Page(1), Store), FaultAnswer.Guests(Store), "a read-only page");
        Expect.Equal(Fault(Page(1), PageFaultError.Present | PageFaultError.Fetch), FaultAnswer.Guests(PageFaultError.Present | PageFaultError.Fetch), "a page that is no code");
        Expect.Equal(Fault(Page(0), Read, vcpu: 1), FaultAnswer.Guests(Read), "a vCPU without tables");
        Expect.Equal(Fault(Page(0), PageFaultError.User, userMode: true), FaultAnswer.Guests(PageFaultError.User), "a process without tables");
    }

    [Check("A fault that the tables do not explain is resolved: the CPU can make the access.")]
    private void A_fault_that_the_tables_do_not_explain_is_resolved()
    {
        Boot();
        Expect.Equal(_machine.Write(_tables.L1, 5, _machine[10].Address | P), XenErrno.Success);
        Expect.Equal(Fault(Page(5), Read), FaultAnswer.Resolved, "a read");
        Expect.Equal(_machine.Walk(Page(5)), (_machine[10], false));
        Expect.Equal(Fault(Page(5), Store), FaultAnswer.Guests(Store), "a write, while it is read-only");
        Expect.Equal(_machine.Write(_tables.L1, 5, _machine[10].Address | P | RW), XenErrno.Success);
        Expect.Equal(Fault(Page(5), Store), FaultAnswer.Resolved, "a write");
        Expect.Equal(_machine.Walk(Page(5)), (_machine[10], true));
        Expect.Equal(_machine.Write(_tables.L1, 5, 0), XenErrno.Success);
        Expect.Equal(Fault(Page(5), Read), FaultAnswer.Guests(Read), "when it is gone");
        _machine.RequireSafe([]);
    }

    [Check("A store of the kernel to one of its page tables is an update of the entry that it aims at; a process's is not.")]
    private void A_store_of_the_kernel_to_one_of_its_page_tables_is_an_update()
    {
        const ulong Offset = (77 * sizeof(ulong)) + sizeof(uint); // a store of 32 bits may begin in an entry's upper half
        Boot();
        Expect.Equal(_machine.Do(MmuExtOp.NewUserBaseptr, _tables.L4), XenErrno.Success);
        Mfn[] tables = [_tables.L1, _tables.L2, _tables.L3, _tables.L4];
        for (int level = 1; level <= tables.Length; level++)
        {
            Mfn table = tables[level - 1];
            Expect.Equal(_machine.Write(_tables.L1, 10 + level, table.Address | P), XenErrno.Success);
            ulong address = Page(10 + level) + Offset;
            FaultAnswer answer = Fault(address, Store);
            Expect.Equal(answer.Action, FaultAction.Emulate, $"of level {level}");
            Expect.Equal(answer.StoreAddress, table.Address + Offset, $"of level {level}");
            Expect.Equal(Fault(address, Store | PageFaultError.User, userMode: true), FaultAnswer.Guests(Store | PageFaultError.User), $"a process, level {level}");
            Expect.Equal(_machine.Write(_tables.L1, 10 + level, 0), XenErrno.Success);
            Expect.Equal(Fault(address, PageFaultError.Write), FaultAnswer.Guests(PageFaultError.Write), $"where the table of level {level} is not mapped any more");
        }
    }

    private FaultAnswer Fault(ulong address, PageFaultError error, bool userMode = false, int vcpu = 0) =>
        _machine.Mmu.OnFault(vcpu, userMode, new VirtualAddress(address), error);
}
