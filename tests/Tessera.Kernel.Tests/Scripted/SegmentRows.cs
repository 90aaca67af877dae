using Tessera.Sdk.Xen;
using static Tessera.Kernel.Tests.Scripted.Script;
using static Tessera.Kernel.Tests.Scripted.Struct;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>Descriptor tables, segment bases and multicall (public/xen.h, arch-x86/xen-x86_64.h).</summary>
internal sealed class SegmentRows
{
    private const int Page = Free;
    private const int ListPage = Free + 100;

    // Flat data of DPL 0, and as it is made for ring 3; a call gate.
    private const ulong Data0 = 0x00cf_9300_0000_ffff;
    private const ulong Data3 = 0x00cf_f300_0000_ffff;
    private const ulong CallGate = 0x0000_ec00_0008_0000;

    /// <summary>Data of DPL 3 whose base is 0x12345678.</summary>
    private const ulong BasedData = 0x12cf_f334_5678_ffff;
    private const ulong Base = 0x1234_5678;

    private static readonly Step ReadOnly = Call(Hypercall.UpdateVaMapping, At(Page), Entry(Page, Ro), 0);
    private static readonly Step Listed = Stores(At(ListPage), U64(Frame(Page)));
    private static readonly Step[] BasedGdt = [Stores(At(Page, 8), U64(BasedData)), ReadOnly, Listed, SetGdt(512)];

    private static IEnumerable<TestCaseData> Rows => Row.Cases(
        new("set_gdt makes its descriptors for ring 3", SetGdt(512), Memory: [new(Machine(Page, 8), new(U64(Data3)))],
            After: [Stores(At(Page, 8), U64(Data0)), ReadOnly, Listed]),
        new("set_gdt of none", Call(Hypercall.SetGdt, Nowhere, 0)),
        new("set_gdt of more than the guest's descriptors", SetGdt(7169), Rax: -EINVAL, After: [ReadOnly, Listed]),
        new("set_gdt with a gate", SetGdt(512), Rax: -EINVAL, After: [Stores(At(Page, 8), U64(CallGate)), ReadOnly, Listed]),
        new("set_gdt of a page that is mapped writable", SetGdt(512), Rax: -EINVAL, After: [Listed]),
        new("set_gdt of a foreign frame", SetGdt(512), Rax: -EINVAL, After: [Stores(At(ListPage), U64(ForeignFrame))]),
        new("set_gdt whose second frame is foreign", SetGdt(513), Rax: -EINVAL,
            After: [ReadOnly, Stores(At(ListPage), U64(Frame(Page)), U64(ForeignFrame))]),
        new("a frame of a set_gdt that failed is plain memory", Call(Hypercall.UpdateVaMapping, At(Page), Entry(Page, Rw), 0),
            Memory: [new(EntryOf(Page), new(U64(Entry(Page, Rw))))], After: [.. BasedGdt, Call(Hypercall.SetGdt, Nowhere, 0)]),
        new("a frame of the GDT is none", Call(Hypercall.UpdateVaMapping, At(Page), Entry(Page, Rw), 0), Rax: -EBUSY, After: BasedGdt),
        new("set_gdt with a list that cannot be read", Call(Hypercall.SetGdt, Nowhere, 1), Rax: -EFAULT),

        new("set_ldt", SetLdt(At(Page), 512), After: [ReadOnly]),
        new("set_ldt of none", SetLdt(0, 0)),
        new("set_ldt inside a page", SetLdt(At(Page, 8), 8), Rax: -EINVAL, After: [ReadOnly]),
        new("set_ldt of too many descriptors", SetLdt(At(Page), 8193), Rax: -EINVAL, After: [ReadOnly]),
        new("set_ldt where nothing is mapped", SetLdt(Nowhere, 8), Rax: -EFAULT),
        new("set_ldt of a page that is mapped writable", SetLdt(At(Page), 8), Rax: -EINVAL),

        new("update_descriptor makes it for ring 3", UpdateDescriptor(Machine(Page, 16), Data0),
            Memory: [new(Machine(Page, 16), new(U64(Data3)))], After: BasedGdt),
        new("update_descriptor with a gate", UpdateDescriptor(Machine(Page, 16), CallGate), Rax: -EINVAL, After: BasedGdt),
        new("update_descriptor of half a descriptor", UpdateDescriptor(Machine(Page, 12), Data0), Rax: -EINVAL, After: BasedGdt),
        new("update_descriptor in a foreign frame", UpdateDescriptor(ForeignAddress, Data0), Rax: -EINVAL),
        new("update_descriptor in a page table", UpdateDescriptor(EntryOf(Page), Data0), Rax: -EINVAL),

        new("set_segment_base FS", SetBase(SegmentBase.Fs, 0x1234_5000), Registers: [(R.FsBase, 0x1234_5000)]),
        new("set_segment_base GS of the kernel", SetBase(SegmentBase.GsKernel, At(Page)), Registers: [(R.GsBase, At(Page))]),
        new("set_segment_base GS of the user is there after iret", Return, Rax: ReturnedRax,
            Registers: [.. Returned, (R.GsBase, 0x7777_0000)], Memory: [Unmasked],
            After: [.. Roots, SetBase(SegmentBase.GsUser, 0x7777_0000)]),
        new("set_segment_base GS selector takes the descriptor's base", Return, Rax: ReturnedRax,
            Registers: [.. Returned, (R.GsBase, Base)], Memory: [Unmasked],
            After: [.. Roots, .. BasedGdt, SetBase(SegmentBase.GsUserSel, 8)]),
        new("set_segment_base GS selector is of ring 3", SetBase(SegmentBase.GsUserSel, 8), Registers: [(R.Gs, 11)], After: BasedGdt),
        new("set_segment_base GS selector beyond the table is null", SetBase(SegmentBase.GsUserSel, 0x1003), After: BasedGdt),
        new("set_segment_base of a flat GS selector", SetBase(SegmentBase.GsUserSel, FlatSelectors.Data),
            Registers: [(R.Gs, FlatSelectors.Data)]),
        new("set_segment_base to an address that is not canonical", SetBase(SegmentBase.Fs, NotCanonical), Rax: -EINVAL),
        new("set_segment_base of no segment", SetBase((SegmentBase)4, 0), Rax: -EINVAL));

    private static IEnumerable<TestCaseData> Multicalls => Row.Cases(
        new("multicall puts each result into its entry",
            Multi(2, Asks(Hypercall.XenVersion, VersionOp.Pagesize), Asks(Hypercall.VcpuOp, VcpuOp.IsUp, 1)),
            Out: Array(Answered(Hypercall.XenVersion, 4096, VersionOp.Pagesize), Answered(Hypercall.VcpuOp, -ENOENT, VcpuOp.IsUp, 1))),
        new("multicall of as many as it says",
            Multi(1, Asks(Hypercall.XenVersion, VersionOp.Pagesize), Asks(Hypercall.XenVersion, VersionOp.Pagesize)),
            Out: Answered(Hypercall.XenVersion, 4096, VersionOp.Pagesize)),
        new("multicall passes six arguments", Multi(1, Asks(Hypercall.MmuUpdate, At(Page), 1, At(Page, 64), Self)),
            Out: Answered(Hypercall.MmuUpdate, 0, At(Page), 1, At(Page, 64), Self),
            Memory: [new(At(Page, 64), new(U32(1))), new(At(Page, 128), new(U64(0x77)))],
            After: [Stores(At(Page), U64(Machine(Page, 128)), U64(0x77))]),
        new("multicall of a call there is not", Multi(1, Asks((Hypercall)63)), Out: Answered((Hypercall)63, -ENOSYS)),
        new("multicall in a multicall", Multi(1, Asks(Hypercall.Multicall, At(Page), 1)),
            Out: Answered(Hypercall.Multicall, -EINVAL, At(Page), 1)),
        new("iret in a multicall", Multi(1, Asks(Hypercall.Iret)), Out: Answered(Hypercall.Iret, -ENOSYS)),
        new("yield in a multicall", Multi(1, Asks(Hypercall.SchedOp, SchedOp.Yield)), Outcome: Outcome.Yields,
            Out: Answered(Hypercall.SchedOp, 0, SchedOp.Yield)),
        new("shutdown in a multicall ends it", Multi(2, Asks(Hypercall.SchedOpCompat, SchedOp.Shutdown, 0), Asks(Hypercall.XenVersion)),
            Outcome: Outcome.Ends, Reason: "poweroff", Out: Answered(Hypercall.SchedOpCompat, 0, SchedOp.Shutdown, 0)),
        new("multicall of none", Call(Hypercall.Multicall, Nowhere, 0)),
        new("multicall with entries that cannot be read", Call(Hypercall.Multicall, Nowhere, 1), Rax: -EFAULT),
        new("multicall whose entries cannot be written", Call(Hypercall.Multicall, At(Page), 1), Rax: -EFAULT,
            After: [Stores(At(Page), U64(Hypercall.XenVersion)), ReadOnly]));

    [TestCaseSource(nameof(Rows))]
    public void A_segment_operation(Row row) => row.Check();

    [TestCaseSource(nameof(Multicalls))]
    public void A_multicall(Row row) => row.Check();

    [Test]
    public void The_engine_learns_of_the_tables()
    {
        using ScriptedGuest guest = new();
        Step readOnly = Call(Hypercall.UpdateVaMapping, At(Page + 1), Entry(Page + 1, Ro), 0);
        foreach (Step step in (Step[])[.. BasedGdt, readOnly, SetLdt(At(Page + 1), 3)])
            guest.Prepare(step);
        (Sdk.Mfn[] gdt, int gdtEntries, Sdk.Mfn[] ldt, int ldtEntries) = guest.Cpu.Tables;
        Assert.That((gdtEntries, ldtEntries), Is.EqualTo((512, 3)));
        Assert.That(gdt.Concat(ldt).Select(frame => (ulong)frame.Value), Is.EqualTo(new[] { guest.Frame(Page), guest.Frame(Page + 1) }));
    }

    private static Store Unmasked => new(SharedInfoAt(VcpuInfo.UpcallMask), new(U8(0)));

    private static Step[] Roots => ToUser()[..2];

    private static Step Return => ReturnsTo(At(CodePage), FlatSelectors.Code64, 0x202, At(UserStackPage + 1), FlatSelectors.Data);

    private static (R, Value)[] Returned => [(R.Rip, At(CodePage)), (R.Rflags, 0x202), (R.Rsp, At(UserStackPage + 1)), (R.R11, ReturnedR11),
        (R.Rcx, ReturnedRcx)];

    private static Step SetGdt(int entries) => Call(Hypercall.SetGdt, At(ListPage), entries);

    private static Step SetLdt(ulong address, int entries) =>
        Call(Hypercall.MmuextOp, new Struct(U32(MmuExtOp.SetLdt), U64(address), U64(entries)), 1, 0, Self);

    private static Step UpdateDescriptor(Value address, ulong descriptor) => Call(Hypercall.UpdateDescriptor, address, descriptor);

    private static Step SetBase(SegmentBase which, Value value) => Call(Hypercall.SetSegmentBase, which, value);

    private static Step Multi(int count, params Struct[] entries) => Call(Hypercall.Multicall, Array(entries), count);

    private static Struct Asks(Hypercall number, params Value[] arguments) => Answered(number, 0x5a5a, arguments);

    private static Struct Answered(Hypercall number, Value result, params Value[] arguments) =>
        new([U64(number), U64(result), .. arguments.Select(U64), .. Enumerable.Repeat(U64(0), 6 - arguments.Length)]);
}
