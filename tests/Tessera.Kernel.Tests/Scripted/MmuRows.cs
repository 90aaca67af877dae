using Tessera.Sdk.Xen;
using static Tessera.Kernel.Tests.Scripted.Script;
using static Tessera.Kernel.Tests.Scripted.Struct;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>mmu_update, update_va_mapping and mmuext_op (public/xen.h), on the tables that a guest boots with.</summary>
internal sealed class MmuRows
{
    private const int Page = Free;
    private const ulong User = 4;
    private const ulong Large = 0x80;

    /// <summary>Where mmu_update and mmuext_op say how much they did: behind up to three requests.</summary>
    private static readonly ulong Done = At(ArgumentPage, 64);

    /// <summary>A page that can become a table: mapped for reading alone.</summary>
    private static readonly Step ReadOnlyPage = Map(Page, Entry(Page, Ro));

    private static readonly Step[] PinnedPage = [ReadOnlyPage, Ext(MmuExtOp.PinL1Table, Frame(Page))];

    private static IEnumerable<TestCaseData> Updates => Row.Cases(
        new("an update of an own mapping", Update(EntryOf(Page), Entry(Page + 1, Ro)),
            Memory: [new(EntryOf(Page), new(U64(Entry(Page + 1, Ro)))), DoneIs(1)]),
        new("an update is made for ring 3", Update(EntryOf(Page), Entry(Page, Rw & ~User)),
            Memory: [new(EntryOf(Page), new(U64(Entry(Page, Rw)))), DoneIs(1)]),
        new("an update that takes a mapping away", Update(EntryOf(Page), 0), Memory: [new(EntryOf(Page), new(U64(0))), DoneIs(1)]),
        new("an update that keeps accessed and dirty", Update(EntryOf(Page) + 2, Entry(Page + 1, 0x5)),
            Memory: [new(EntryOf(Page), new(U64(Entry(Page + 1, Ro)))), DoneIs(1)]),
        new("an update of an entry that is not present holds nothing", Update(EntryOf(Page), ForeignEntry(0x66)),
            Memory: [new(EntryOf(Page), new(U64(ForeignEntry(0x66)))), DoneIs(1)]),
        new("mmu_update of a foreign frame", Update(EntryOf(Page), ForeignEntry(Rw)), Rax: -EPERM, Memory: [DoneIs(0)]),
        new("mmu_update of a frame there is not", Update(EntryOf(Page), 0x7_ffff_f000UL | Rw), Rax: -EPERM, Memory: [DoneIs(0)]),
        new("mmu_update in a foreign table", Update(ForeignAddress, 0), Rax: -EINVAL, Memory: [DoneIs(0)]),
        new("mmu_update that maps a page table writable", Update(EntryOf(Page), Table1(Rw)), Rax: -EBUSY, Memory: [DoneIs(0)]),
        new("mmu_update that maps a page table for reading", Update(EntryOf(Page), Table1(Ro)),
            Memory: [new(EntryOf(Page), new(U64(Table1(Ro)))), DoneIs(1)]),
        new("mmu_update with a bit for large pages", Update(EntryOf(Page), Entry(Page, Rw | Large)), Rax: -EINVAL, Memory: [DoneIs(0)]),
        new("mmu_update of half an entry", Update(EntryOf(Page) + 4, 0), Rax: -ENOSYS, Memory: [DoneIs(0)]),
        new("mmu_update of a slot of the VMM", Update(EntryOf(HypervisorRange.Start, 4), 0), Rax: -EINVAL, Memory: [DoneIs(0)]),
        new("mmu_update of a level-4 entry to a page that is no table", Update(EntryOf(Nowhere, 4), Entry(Page, Rw)), Rax: -EINVAL,
            Memory: [DoneIs(0)]),
        new("mmu_update of memory that is no table", Update(Machine(Page, 8), 0x1234),
            Memory: [new(At(Page, 8), new(U64(0x1234))), DoneIs(1)]),
        new("mmu_update of a machine-to-physical entry", Update(Machine(Page) + 1, 7), Memory: [DoneIs(1)]),
        new("mmu_update of a foreign machine-to-physical entry", Update(ForeignAddress + 1, 7), Rax: -EINVAL, Memory: [DoneIs(0)]),
        new("mmu_update of nothing", Call(Hypercall.MmuUpdate, Nowhere, 0, 0, Self)),
        new("mmu_update by its own number", Call(Hypercall.MmuUpdate, Request(Machine(Page, 8), 5), 1, 0, Own), Rax: -ESRCH),
        new("mmu_update of devices' pages, which count as own", Call(Hypercall.MmuUpdate, Request(Machine(Page, 8), 5), 1, 0, DomainIds.Io),
            Memory: [new(At(Page, 8), new(U64(5)))]),
        new("mmu_update in the name of nobody", Call(Hypercall.MmuUpdate, Request(Machine(Page, 8), 5), 1, 0, 5555), Rax: -ESRCH),
        new("mmu_update in the name of another domain", Call(Hypercall.MmuUpdate, Request(Machine(Page, 8), 5), 1, 0, Other), Rax: -EPERM),
        new("mmu_update with the tables of another domain",
            Call(Hypercall.MmuUpdate, Request(Machine(Page, 8), 5), 1, 0, Self | ((Other + 1) * 0x1_0000)), Rax: -EPERM),
        new("mmu_update stops at the first that fails",
            Call(Hypercall.MmuUpdate,
                Requests(Request(Machine(Page, 8), 1), Request(ForeignAddress, 2), Request(Machine(Page, 16), 3)), 3,
                new Struct(U32(9)), Self),
            Rax: -EINVAL, Memory: [new(At(Page, 8), new(U64(1))), DoneIs(1)]),
        new("mmu_update with requests that cannot be read", Call(Hypercall.MmuUpdate, Nowhere, 1, 0, Self), Rax: -EFAULT),
        new("mmu_update whose second request cannot be read",
            Call(Hypercall.MmuUpdate, At(LastPage, 4096 - 16), 2, new Struct(U32(9)), Self), Rax: -EFAULT, Out: new(U32(1)),
            Memory: [new(At(Page, 8), new(U64(6)))], After: [Stores(At(LastPage, 4096 - 16), U64(Machine(Page, 8)), U64(6))]),
        new("mmu_update whose count cannot be written", Call(Hypercall.MmuUpdate, Request(Machine(Page, 8), 5), 1, Nowhere, Self),
            Memory: [new(At(Page, 8), new(U64(5)))]),
        new("mmu_update that goes on counts on",
            Call(Hypercall.MmuUpdate, Request(Machine(Page, 8), 5), 1 | (1L << 31), new Struct(U32(41)), Self),
            Memory: [new(At(Page, 8), new(U64(5))), DoneIs(42)]),
        new("mmu_update that goes on with a count that cannot be read",
            Call(Hypercall.MmuUpdate, Request(Machine(Page, 8), 5), 1 | (1L << 31), Nowhere, Self),
            Memory: [new(At(Page, 8), new(U64(5)))]),

        new("update_va_mapping", Map(Page, Entry(Page + 1, Rw)), Memory: [new(EntryOf(Page), new(U64(Entry(Page + 1, Rw))))]),
        new("update_va_mapping takes a mapping away", Map(Page, 0), Memory: [new(EntryOf(Page), new(U64(0)))]),
        new("update_va_mapping to a foreign frame", Map(Page, ForeignEntry(Rw)), Rax: -EPERM),
        new("update_va_mapping to a page table, writable", Map(Page, Table1(Rw)), Rax: -EBUSY),
        new("update_va_mapping where there is no table", Call(Hypercall.UpdateVaMapping, Nowhere, Entry(Page, Rw), 0), Rax: -EINVAL),
        new("update_va_mapping in the VMM's range", Call(Hypercall.UpdateVaMapping, HypervisorRange.Start, Entry(Page, Rw), 0),
            Rax: -EINVAL));

    private static IEnumerable<TestCaseData> Extended => Row.Cases(
        new("pin_l1_table", Ext(MmuExtOp.PinL1Table, Frame(Page)), After: [ReadOnlyPage]),
        new("pin_l1_table of a page that is mapped writable", Ext(MmuExtOp.PinL1Table, Frame(Page)), Rax: -EINVAL),
        new("pin_l1_table of a page with a foreign frame in it", Ext(MmuExtOp.PinL1Table, Frame(Page)), Rax: -EPERM,
            After: [Stores(At(Page, 8), U64(ForeignEntry(Rw))), ReadOnlyPage]),
        new("pin_l1_table makes its entries for ring 3", Ext(MmuExtOp.PinL1Table, Frame(Page)),
            Memory: [new(Machine(Page, 8), new(U64(Entry(Page + 1, Ro))))],
            After: [Stores(At(Page, 8), U64(Entry(Page + 1, Ro & ~User))), ReadOnlyPage]),
        new("pin_l2_table of a page that is one of level 1", Ext(MmuExtOp.PinL2Table, Frame(Page)), Rax: -EINVAL, After: PinnedPage),
        new("pin_l1_table twice", Ext(MmuExtOp.PinL1Table, Frame(Page)), Rax: -EINVAL, After: PinnedPage),
        new("pin_l4_table puts the VMM's entries in", Ext(MmuExtOp.PinL4Table, Frame(Page)),
            Memory: [new(Machine(Page, 257 * 8), new(U64(0x1063), Any(8)))], After: [ReadOnlyPage]),
        new("pin of a foreign frame", Ext(MmuExtOp.PinL1Table, ForeignFrame), Rax: -EINVAL),
        new("unpin_table", Ext(MmuExtOp.UnpinTable, Frame(Page)), After: PinnedPage),
        new("after unpin_table it is plain memory", Map(Page, Entry(Page, Rw)), Memory: [new(EntryOf(Page), new(U64(Entry(Page, Rw))))],
            After: [.. PinnedPage, Ext(MmuExtOp.UnpinTable, Frame(Page))]),
        new("before unpin_table it is none", Map(Page, Entry(Page, Rw)), Rax: -EBUSY, After: PinnedPage),
        new("unpin_table of a page that is not pinned", Ext(MmuExtOp.UnpinTable, Frame(Page)), Rax: -EINVAL),
        new("unpin_table of a foreign frame", Ext(MmuExtOp.UnpinTable, ForeignFrame), Rax: -EINVAL),
        new("new_baseptr changes the root", Ext(MmuExtOp.NewBaseptr, Frame(Page)), Registers: [(R.Root, Frame(Page))],
            After: [Copies(Table(4), Page), ReadOnlyPage, Ext(MmuExtOp.PinL4Table, Frame(Page))]),
        new("new_baseptr to the same root", Ext(MmuExtOp.NewBaseptr, Table(4))),
        new("new_baseptr to a page that is no table", Ext(MmuExtOp.NewBaseptr, Frame(Page)), Rax: -EINVAL),
        new("new_user_baseptr", Ext(MmuExtOp.NewUserBaseptr, Table(4))),
        new("new_user_baseptr 0", Ext(MmuExtOp.NewUserBaseptr, 0), After: [Ext(MmuExtOp.NewUserBaseptr, Table(4))]),
        new("new_user_baseptr to a foreign table", Ext(MmuExtOp.NewUserBaseptr, ForeignFrame), Rax: -EINVAL),
        new("clear_page", Ext(MmuExtOp.ClearPage, Frame(Page)), Memory: [new(At(Page, 0x800), new(U64(0)))],
            After: [Stores(At(Page, 0x800), U64(0x1234))]),
        new("clear_page of a page table", Ext(MmuExtOp.ClearPage, Table(1)), Rax: -EINVAL),
        new("clear_page of a foreign frame", Ext(MmuExtOp.ClearPage, ForeignFrame), Rax: -EINVAL),
        new("copy_page", Ext(MmuExtOp.CopyPage, Frame(Page), Frame(Page + 1)), Memory: [new(At(Page, 0x800), new(U64(0x1234)))],
            After: [Stores(At(Page + 1, 0x800), U64(0x1234))]),
        new("copy_page from a foreign frame", Ext(MmuExtOp.CopyPage, Frame(Page), ForeignFrame), Rax: -EINVAL),
        new("copy_page to a page table", Ext(MmuExtOp.CopyPage, Table(2), Frame(Page)), Rax: -EINVAL),
        new("tlb_flush_local", Ext(MmuExtOp.TlbFlushLocal, 0)),
        new("invlpg_local", Ext(MmuExtOp.InvlpgLocal, At(Page))),
        new("tlb_flush_multi", Ext(MmuExtOp.TlbFlushMulti, 0, At(Page))),
        new("invlpg_multi", Ext(MmuExtOp.InvlpgMulti, At(Page), At(Page))),
        new("tlb_flush_all", Ext(MmuExtOp.TlbFlushAll, 0)),
        new("invlpg_all", Ext(MmuExtOp.InvlpgAll, At(Page))),
        new("flush_cache", Ext(MmuExtOp.FlushCache, 0), Rax: -EACCES),
        new("flush_cache_global", Ext(MmuExtOp.FlushCacheGlobal, 0), Rax: -EINVAL),
        new("an operation there is not", Ext((MmuExtOp)14, Frame(Page)), Rax: -ENOSYS),
        new("mmuext_op in the name of another domain", Call(Hypercall.MmuextOp, Operation(MmuExtOp.TlbFlushLocal, 0, 0), 1, 0, Other),
            Rax: -EPERM),
        new("mmuext_op stops at the first that fails",
            Call(Hypercall.MmuextOp, Requests(Operation(MmuExtOp.TlbFlushLocal, 0, 0), Operation((MmuExtOp)14, 0, 0)), 2,
                new Struct(U32(9)), Self),
            Rax: -ENOSYS, Memory: [DoneIs(1)]),
        new("mmuext_op with operations that cannot be read", Call(Hypercall.MmuextOp, Nowhere, 1, 0, Self), Rax: -EFAULT),
        new("mmuext_op whose count cannot be written", Call(Hypercall.MmuextOp, Operation(MmuExtOp.TlbFlushLocal, 0, 0), 1, Nowhere, Self)),
        new("mmuext_op that goes on counts on",
            Call(Hypercall.MmuextOp, Operation(MmuExtOp.TlbFlushLocal, 0, 0), 1 | (1L << 31), new Struct(U32(41)), Self),
            Memory: [DoneIs(42)]));

    [TestCaseSource(nameof(Updates))]
    public void An_update_of_page_tables(Row row) => row.Check();

    [TestCaseSource(nameof(Extended))]
    public void An_extended_operation(Row row) => row.Check();

    private static Value Own => new(guest => guest.Id);

    private static Value Table1(ulong flags) => new(guest => (Table(1).Of(guest) << 12) | flags);

    private static Store DoneIs(uint count) => new(Done, new(U32(count)));

    private static Step Update(Value pointer, Value value) =>
        Call(Hypercall.MmuUpdate, Request(pointer, value), 1, new Struct(U32(9)), Self);

    private static Step Map(int page, Value entry) => Call(Hypercall.UpdateVaMapping, At(page), entry, 0);

    private static Step Ext(MmuExtOp command, Value argument1, Value? argument2 = null) =>
        Call(Hypercall.MmuextOp, Operation(command, argument1, argument2 ?? 0), 1, 0, Self);

    private static Step Copies(Value frame, int page) =>
        Call(Hypercall.MmuextOp, Operation(MmuExtOp.CopyPage, Frame(page), frame), 1, 0, Self);

    private static Struct Request(Value pointer, Value value) => new(U64(pointer), U64(value));

    private static Struct Operation(MmuExtOp command, Value argument1, Value argument2) =>
        new(U32(command), U64(argument1), U64(argument2));

    private static Struct Requests(params Struct[] requests) => Array(requests);
}
