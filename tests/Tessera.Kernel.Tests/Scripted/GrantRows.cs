using Tessera.Sdk.Xen;
using static Tessera.Kernel.Tests.Scripted.Script;
using static Tessera.Kernel.Tests.Scripted.Struct;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>
/// grant_table_op (public/grant_table.h): its structures and their statuses. What a grant allows over time is tested with <see
/// cref="GrantTableTests"/> and <see cref="GrantMapTests"/>.
/// </summary>
internal sealed class GrantRows
{
    private const int Pages = 512;
    private const int Page = Free;
    private const int NoDomain = 77;
    private const int Reference = 9;
    private const uint Host = (uint)GrantMapFlags.HostMap;

    /// <summary>The other domain's table has one frame, behind shared_info; entry 9 grants its page to this domain.</summary>
    private static readonly Step Granted = OtherGrants(GrantEntryFlags.PermitAccess, Page);

    private static readonly Step[] MappedAlready = [Granted, Op(GrantTableOp.MapGrantRef, Mapping(At(Page), Host, Reference, Other))];

    private static IEnumerable<TestCaseData> Tables => Row.Cases(
        new("query_size", Op(GrantTableOp.QuerySize, Size(Self)), Out: new(U16(Self), U32(1), U32(64), U16(GrantStatus.Okay))),
        new("query_size by its own number", Op(GrantTableOp.QuerySize, Size(Own)),
            Out: new(U16(Own), U32(1), U32(64), U16(GrantStatus.Okay))),
        new("query_size of another domain", Op(GrantTableOp.QuerySize, Size(Other)),
            Out: new(U16(Other), U32(0), U32(0), U16(GrantStatus.PermissionDenied))),
        new("query_size of no domain", Op(GrantTableOp.QuerySize, Size(NoDomain)),
            Out: new(U16(NoDomain), U32(0), U32(0), U16(GrantStatus.BadDomain))),
        new("query_size of two", Call(Hypercall.GrantTableOp, GrantTableOp.QuerySize, Size(Self), 2), Rax: -EINVAL),
        new("query_size after setup_table", Op(GrantTableOp.QuerySize, Size(Self)),
            Out: new(U16(Self), U32(3), U32(64), U16(GrantStatus.Okay)), After: [Op(GrantTableOp.SetupTable, Setup(Self, 3))]),
        new("setup_table names its frames", Op(GrantTableOp.SetupTable, Setup(Self, 2)),
            Out: new(U16(Self), U32(2), U16(GrantStatus.Okay), U64(At(Page))),
            Memory: [new(At(Page), new(U64(Frame(Pages + 1)), U64(Frame(Pages + 2))))]),
        new("setup_table of too many frames", Op(GrantTableOp.SetupTable, Setup(Self, 65)),
            Out: new(U16(Self), U32(65), U16(GrantStatus.GeneralError), U64(At(Page)))),
        new("setup_table of another domain", Op(GrantTableOp.SetupTable, Setup(Other, 1)),
            Out: new(U16(Other), U32(1), U16(GrantStatus.PermissionDenied), U64(At(Page)))),
        new("setup_table with a list that cannot be written",
            Op(GrantTableOp.SetupTable, new Struct(U16(Self), U32(1), U16(99), U64(Nowhere))),
            Out: new(U16(Self), U32(1), U16(GrantStatus.BadVirtAddr), U64(Nowhere))),
        new("get_version", Op(GrantTableOp.GetVersion, Version(Self, 0)), Out: Version(Self, 1)),
        new("get_version of another domain", Op(GrantTableOp.GetVersion, Version(Other, 0)), Rax: -EPERM),
        new("get_version of no domain", Op(GrantTableOp.GetVersion, Version(NoDomain, 0)), Rax: -ESRCH),
        new("set_version 2", Op(GrantTableOp.SetVersion, new Struct(U32(2))), Out: new(U32(2))),
        new("set_version 3 answers what is in force", Op(GrantTableOp.SetVersion, new Struct(U32(3))), Rax: -EINVAL, Out: new(U32(1))),
        new("get_version after set_version", Op(GrantTableOp.GetVersion, Version(Own, 0)), Out: Version(Own, 2), After: [SetVersion2]),
        new("get_status_frames in version 1", Op(GrantTableOp.GetStatusFrames, Statuses(1)),
            Out: new(U32(1), U16(Self), U16(GrantStatus.GeneralError), U64(At(Page)))),
        new("get_status_frames in version 2", Op(GrantTableOp.GetStatusFrames, Statuses(1)),
            Out: new(U32(1), U16(Self), U16(GrantStatus.Okay), U64(At(Page))), Memory: [new(At(Page), new(U64(Frame(Pages + 1 + 64))))],
            After: [SetVersion2]),
        new("get_status_frames of too many", Op(GrantTableOp.GetStatusFrames, Statuses(2)),
            Out: new(U32(2), U16(Self), U16(GrantStatus.GeneralError), U64(At(Page))), After: [SetVersion2]),
        new("swap_grant_ref", Op(GrantTableOp.Swap, new Struct(U32(9), U32(10), U16(99))), Out: new(U32(9), U32(10), U16(GrantStatus.Okay)),
            Memory: [new(OwnEntry(9), new(U64(0))), new(OwnEntry(10), new(U16(GrantEntryFlags.PermitAccess), U16(5), U32(6)))],
            After: [Stores(OwnEntry(9), U16(GrantEntryFlags.PermitAccess), U16(5), U32(6))]),
        new("swap_grant_ref beyond the table", Op(GrantTableOp.Swap, new Struct(U32(9), U32(512), U16(99))),
            Out: new(U32(9), U32(512), U16(GrantStatus.BadGntref))),
        new("transfer leaves the page", Op(GrantTableOp.Transfer, new Struct(U64(Frame(Page)), U16(Other), U32(9), U16(99))),
            Out: new(U64(Frame(Page)), U16(Other), U32(9), U16(GrantStatus.BadPage))),
        new("cache_flush", Op(GrantTableOp.CacheFlush, new Struct(U64(Machine(Page)), U16(0), U16(64), U32(1)))),
        new("dump_table", Op(GrantTableOp.DumpTable, new Struct(U64(0))), Rax: -ENOSYS),
        new("an operation there is not", Op((GrantTableOp)13, new Struct(U64(0))), Rax: -ENOSYS),
        new("more operations than an int counts", Call(Hypercall.GrantTableOp, GrantTableOp.Copy, At(Page), 0x8000_0000), Rax: -EINVAL),
        new("no operations", Call(Hypercall.GrantTableOp, GrantTableOp.MapGrantRef, Nowhere, 0)));

    private static IEnumerable<TestCaseData> Mappings => Row.Cases(
        new("map_grant_ref", Op(GrantTableOp.MapGrantRef, Mapping(At(Page), Host, Reference, Other)),
            Out: Mapped(At(Page), Host, Reference, Other, GrantStatus.Okay, U64(ForeignAddress)),
            Memory: [new(EntryOf(Page), new(U64(ForeignEntry(Rw))))], After: [Granted]),
        new("map_grant_ref neither for host nor device", Op(GrantTableOp.MapGrantRef, Mapping(At(Page), 0, Reference, Other)),
            Out: Mapped(At(Page), 0, Reference, Other, GrantStatus.BadGntref), After: [Granted]),
        new("map_grant_ref of no domain", Op(GrantTableOp.MapGrantRef, Mapping(At(Page), Host, Reference, NoDomain)),
            Out: Mapped(At(Page), Host, Reference, NoDomain, GrantStatus.BadDomain)),
        new("map_grant_ref of DOMID_SELF", Op(GrantTableOp.MapGrantRef, Mapping(At(Page), Host, Reference, Self)),
            Out: Mapped(At(Page), Host, Reference, Self, GrantStatus.BadDomain)),
        new("map_grant_ref of what is not granted", Op(GrantTableOp.MapGrantRef, Mapping(At(Page), Host, Reference, Other)),
            Out: Mapped(At(Page), Host, Reference, Other, GrantStatus.GeneralError)),
        new("map_grant_ref beyond the table", Op(GrantTableOp.MapGrantRef, Mapping(At(Page), Host, 512, Other)),
            Out: Mapped(At(Page), Host, 512, Other, GrantStatus.BadGntref)),
        new("map_grant_ref for writing of what is granted for reading",
            Op(GrantTableOp.MapGrantRef, Mapping(At(Page), Host, Reference, Other)),
            Out: Mapped(At(Page), Host, Reference, Other, GrantStatus.GeneralError),
            After: [OtherGrants(GrantEntryFlags.PermitAccess | GrantEntryFlags.Readonly, Page)]),
        new("map_grant_ref with no argument", Call(Hypercall.GrantTableOp, GrantTableOp.MapGrantRef, Nowhere, 1), Rax: -EFAULT),
        new("map_grant_ref whose second argument cannot be read does the first",
            Call(Hypercall.GrantTableOp, GrantTableOp.MapGrantRef, At(LastPage, 4096 - 32), 2), Rax: -EFAULT,
            Memory: [new(At(LastPage, 4096 - 32), Mapped(At(Page), 0, Reference, Other, GrantStatus.BadGntref))],
            After: [new Step([], [new Store(At(LastPage, 4096 - 32), Mapping(At(Page), 0, Reference, Other))], null)]),
        new("unmap_grant_ref", Op(GrantTableOp.UnmapGrantRef, Unmapping(At(Page), 0, 0)),
            Out: new(U64(At(Page)), U64(0), U32(0), U16(GrantStatus.Okay)), Memory: [new(EntryOf(Page), new(U64(0)))],
            After: MappedAlready),
        new("unmap_grant_ref at another place", Op(GrantTableOp.UnmapGrantRef, Unmapping(At(Page + 1), 0, 0)),
            Out: new(U64(At(Page + 1)), U64(0), U32(0), U16(GrantStatus.GeneralError)), After: MappedAlready),
        new("unmap_grant_ref of a handle there is not", Op(GrantTableOp.UnmapGrantRef, Unmapping(At(Page), 0, 5)),
            Out: new(U64(At(Page)), U64(0), U32(5), U16(GrantStatus.BadHandle)), After: MappedAlready),
        new("unmap_and_replace", Op(GrantTableOp.UnmapAndReplace, Unmapping(At(Page), At(Page + 1), 0)),
            Out: new(U64(At(Page)), U64(At(Page + 1)), U32(0), U16(GrantStatus.Okay)),
            Memory: [new(EntryOf(Page), new(U64(Entry(Page + 1, 0x63 | 4)))), new(EntryOf(Page + 1), new(U64(0)))], After: MappedAlready));

    private static IEnumerable<TestCaseData> Copies => Row.Cases(
        new("copy between own pages", Copy(OwnPage(Page, 8), OwnPage(Page + 1, 0x100), 8, 0),
            Out: Copied(OwnPage(Page, 8), OwnPage(Page + 1, 0x100), 8, 0, GrantStatus.Okay),
            Memory: [new(At(Page + 1, 0x100), new(U64(0x1234)))], After: [Text8]),
        new("copy from a grant", Copy(Grant(Reference, 8), OwnPage(Page, 0), 8, GrantCopyFlags.SourceGref),
            Out: Copied(Grant(Reference, 8), OwnPage(Page, 0), 8, GrantCopyFlags.SourceGref, GrantStatus.Okay),
            Memory: [new(At(Page), new(U64(0x1234)))], After: [Granted, OtherDoes(Text8), OtherDoes(Call(Hypercall.XenVersion, 0, 0))]),
        new("copy to a grant for reading", Copy(OwnPage(Page, 0), Grant(Reference, 0), 8, GrantCopyFlags.DestGref),
            Out: Copied(OwnPage(Page, 0), Grant(Reference, 0), 8, GrantCopyFlags.DestGref, GrantStatus.GeneralError),
            After: [OtherGrants(GrantEntryFlags.PermitAccess | GrantEntryFlags.Readonly, Page)]),
        new("copy from what is not granted", Copy(Grant(Reference, 0), OwnPage(Page, 0), 8, GrantCopyFlags.SourceGref),
            Out: Copied(Grant(Reference, 0), OwnPage(Page, 0), 8, GrantCopyFlags.SourceGref, GrantStatus.GeneralError)),
        new("copy of a grant of no domain", Copy(Of(NoDomain, Reference, 0), OwnPage(Page, 0), 8, GrantCopyFlags.SourceGref),
            Out: Copied(Of(NoDomain, Reference, 0), OwnPage(Page, 0), 8, GrantCopyFlags.SourceGref, GrantStatus.BadDomain)),
        new("copy from another domain's frame", Copy(Of(Other, ForeignFrame, 0), OwnPage(Page, 0), 8, 0),
            Out: Copied(Of(Other, ForeignFrame, 0), OwnPage(Page, 0), 8, 0, GrantStatus.PermissionDenied)),
        new("copy from a frame that is not its own", Copy(Of(Self, ForeignFrame, 0), OwnPage(Page, 0), 8, 0),
            Out: Copied(Of(Self, ForeignFrame, 0), OwnPage(Page, 0), 8, 0, GrantStatus.BadPage)),
        new("copy to a page table", Copy(OwnPage(Page, 0), Of(Self, Table(1), 0), 8, 0),
            Out: Copied(OwnPage(Page, 0), Of(Self, Table(1), 0), 8, 0, GrantStatus.GeneralError)),
        new("copy beyond the source page", Copy(OwnPage(Page, 4089), OwnPage(Page + 1, 0), 8, 0),
            Out: Copied(OwnPage(Page, 4089), OwnPage(Page + 1, 0), 8, 0, GrantStatus.BadCopyArg)),
        new("copy beyond the destination page", Copy(OwnPage(Page, 0), OwnPage(Page + 1, 4089), 8, 0),
            Out: Copied(OwnPage(Page, 0), OwnPage(Page + 1, 4089), 8, 0, GrantStatus.BadCopyArg)),
        new("copy up to the end of both", Copy(OwnPage(Page, 4088), OwnPage(Page + 1, 4088), 8, 0),
            Out: Copied(OwnPage(Page, 4088), OwnPage(Page + 1, 4088), 8, 0, GrantStatus.Okay)));

    [TestCaseSource(nameof(Tables))]
    public void An_operation_on_the_table(Row row) => row.Check();

    [TestCaseSource(nameof(Mappings))]
    public void A_mapping(Row row) => row.Check();

    [TestCaseSource(nameof(Copies))]
    public void A_copy(Row row) => row.Check();

    private static Value Own => new(guest => guest.Id);

    private static Step SetVersion2 => Op(GrantTableOp.SetVersion, new Struct(U32(2)));

    private static Step Text8 => Stores(At(Page, 8), U64(0x1234));

    private static Value OwnEntry(int reference) => Machine(Pages + 1, reference * 8);

    private static Step OtherGrants(GrantEntryFlags flags, int page) =>
        OtherDoes(Call(Hypercall.XenVersion, 0, 0) with
        {
            Stores = [new Store(OwnEntry(Reference), new Struct(U16(flags), U16(Other), U32(Frame(page))))],
        });

    private static Struct Size(Value domain) => new(U16(domain), U32(0), U32(0), U16(99));

    private static Struct Setup(Value domain, uint frames) => new(U16(domain), U32(frames), U16(99), U64(At(Page)));

    private static Struct Statuses(uint frames) => new(U32(frames), U16(Self), U16(99), U64(At(Page)));

    private static Struct Version(Value domain, uint version) => new(U16(domain), U16(0), U32(version));

    private static Struct Mapping(Value address, uint flags, uint reference, Value domain) =>
        new(U64(address), U32(flags), U32(reference), U16(domain), U16(99), U32(0), U64(0));

    private static Struct Mapped(Value address, uint flags, uint reference, Value domain, GrantStatus status, Member? device = null) =>
        new(U64(address), U32(flags), U32(reference), U16(domain), U16(status), U32(0), device ?? U64(0));

    private static Struct Unmapping(Value address, Value second, uint handle) => new(U64(address), U64(second), U32(handle), U16(99));

    private static Member[] OwnPage(int page, int offset) => Of(Self, Frame(page), offset);

    private static Member[] Grant(uint reference, int offset) => Of(Other, reference, offset);

    private static Member[] Of(Value domain, Value number, int offset) => [U64(number), U16(domain), U16(offset), U32(0)];

    private static Step Copy(Member[] source, Member[] destination, int length, GrantCopyFlags flags) =>
        Op(GrantTableOp.Copy, Copied(source, destination, length, flags, (GrantStatus)99));

    private static Struct Copied(Member[] source, Member[] destination, int length, GrantCopyFlags flags, GrantStatus status) =>
        new([.. source, .. destination, U16(length), U16(flags), U16(status)]);

    private static Step Op(GrantTableOp operation, Struct argument) => Call(Hypercall.GrantTableOp, operation, argument, 1);
}
