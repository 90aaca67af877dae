using Tessera.Sdk.Xen;
using static Tessera.Kernel.Tests.Scripted.Script;
using static Tessera.Kernel.Tests.Scripted.Struct;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>memory_op (public/memory.h), of a domain with 512 frames.</summary>
internal sealed class MemoryRows
{
    private const int Pages = 512;
    private const int Page = Free;
    private const int NoDomain = 77;

    /// <summary>Where the frame list lies: behind the reservation.</summary>
    private static readonly ulong List = At(Free + 100);

    private static readonly Step Unmapped = Call(Hypercall.UpdateVaMapping, At(Page), 0, 0);

    private static IEnumerable<TestCaseData> Rows => Row.Cases(
        new("maximum_ram_page is the last of its own frames", Op(MemoryOp.MaximumRamPage, 0), Rax: LastFrame),
        new("current_reservation", Op(MemoryOp.CurrentReservation, Domain(Self)), Rax: Pages),
        new("current_reservation by its own number", Op(MemoryOp.CurrentReservation, Domain(Own)), Rax: Pages),
        new("current_reservation of another domain", Op(MemoryOp.CurrentReservation, Domain(Other)), Rax: -EPERM),
        new("current_reservation of no domain", Op(MemoryOp.CurrentReservation, Domain(NoDomain)), Rax: -ESRCH),
        new("current_reservation with no argument", Op(MemoryOp.CurrentReservation, Nowhere), Rax: -EFAULT),
        new("current_reservation after a page was given back", Op(MemoryOp.CurrentReservation, Domain(Self)), Rax: Pages - 1,
            After: [Unmapped, Lists(Frame(Page)), Reserve(MemoryOp.DecreaseReservation, 1)]),
        new("maximum_reservation", Op(MemoryOp.MaximumReservation, Domain(Self)), Rax: Pages),
        new("maximum_reservation of another domain", Op(MemoryOp.MaximumReservation, Domain(Other)), Rax: -EPERM),
        new("machphys_mapping", Op(MemoryOp.MachphysMapping, Sized(24)),
            Out: new(U64(0xffff_8100_0000_0000), U64(0xffff_8140_0000_0000), U64(LastFrame))),
        new("machphys_mapping to nowhere", Op(MemoryOp.MachphysMapping, Nowhere), Rax: -EFAULT),
        new("memory_map is one range of RAM", Op(MemoryOp.MemoryMap, new Struct(U32(8), U64(List))), Out: new(U32(1), U64(List)),
            Memory: [new(List, new(U64(0), U64(Pages << 12), U32(1)))]),
        new("memory_map with no room stores nothing", Op(MemoryOp.MemoryMap, new Struct(U32(0), U64(List)))),
        new("memory_map to nowhere", Op(MemoryOp.MemoryMap, new Struct(U32(8), U64(Nowhere))), Rax: -EFAULT),
        new("memory_map with no argument", Op(MemoryOp.MemoryMap, Nowhere), Rax: -EFAULT),

        new("decrease_reservation gives a page back, and what was in it is gone", Reserve(MemoryOp.DecreaseReservation, 1), Rax: 1,
            Memory: [new(Machine(Page), new(U64(0)))], After: [Stores(At(Page), U64(0x1234)), Unmapped, Lists(Frame(Page))]),
        new("decrease_reservation of a page that is mapped", Reserve(MemoryOp.DecreaseReservation, 1), Rax: 0, After: [Lists(Frame(Page))]),
        new("decrease_reservation of a page table", Reserve(MemoryOp.DecreaseReservation, 1), Rax: 0, After: [Lists(Table(1))]),
        new("decrease_reservation of a descriptor table", Reserve(MemoryOp.DecreaseReservation, 1), Rax: 0,
            After: [Unmapped, Lists(Frame(Page)), Call(Hypercall.SetGdt, List, 512)]),
        new("decrease_reservation of shared_info", Reserve(MemoryOp.DecreaseReservation, 1), Rax: 0, After: [Lists(Frame(Pages))]),
        new("decrease_reservation of a foreign page", Reserve(MemoryOp.DecreaseReservation, 1), Rax: 0,
            After: [Lists(ForeignFrame)]),
        new("decrease_reservation of a page twice says how many it did", Reserve(MemoryOp.DecreaseReservation, 2), Rax: 1,
            After: [Unmapped, Lists(Frame(Page), Frame(Page))]),
        new("decrease_reservation of a list that ends in nothing",
            Call(Hypercall.MemoryOp, MemoryOp.DecreaseReservation, Reservation(At(LastPage, 4096 - 8), 2, 0, Self)), Rax: 1,
            After: [Unmapped, Stores(At(LastPage, 4096 - 8), U64(Frame(Page)))]),
        new("decrease_reservation that goes on",
            Call(Hypercall.MemoryOp, (int)MemoryOp.DecreaseReservation | (1 << 6), Reservation(List, 2, 0, Self)), Rax: 2,
            After: [Unmapped, Lists(Frame(Page + 1), Frame(Page))]),
        new("populate_physmap takes a page back and says which", Reserve(MemoryOp.PopulatePhysmap, 1), Rax: 1,
            Memory: [new(List, new(U64(Frame(Page))))],
            After: [Unmapped, Lists(Frame(Page)), Reserve(MemoryOp.DecreaseReservation, 1), Lists(Page)]),
        new("increase_reservation takes a page back", Reserve(MemoryOp.IncreaseReservation, 1), Rax: 1,
            Memory: [new(List, new(U64(Frame(Page))))],
            After: [Unmapped, Lists(Frame(Page)), Reserve(MemoryOp.DecreaseReservation, 1), Lists(Page)]),
        new("populate_physmap beyond what was given back", Reserve(MemoryOp.PopulatePhysmap, 1), Rax: 0, After: [Lists(Page)]),
        new("a page that was given back is nobody's to map", Call(Hypercall.UpdateVaMapping, At(Page), Entry(Page, Rw), 0), Rax: -EBUSY,
            After: [Unmapped, Lists(Frame(Page)), Reserve(MemoryOp.DecreaseReservation, 1)]),
        new("a page that was taken back can be mapped", Call(Hypercall.UpdateVaMapping, At(Page), Entry(Page, Rw), 0),
            Memory: [new(EntryOf(Page), new(U64(Entry(Page, Rw))))],
            After: [Unmapped, Lists(Frame(Page)), Reserve(MemoryOp.DecreaseReservation, 1), Lists(Page),
                Reserve(MemoryOp.PopulatePhysmap, 1)]),
        new("a reservation of none", Reserve(MemoryOp.DecreaseReservation, 0)),
        new("a reservation of larger pages", Call(Hypercall.MemoryOp, MemoryOp.PopulatePhysmap, Reservation(List, 1, 9, Self))),
        new("a reservation of another domain", Call(Hypercall.MemoryOp, MemoryOp.PopulatePhysmap, Reservation(List, 1, 0, Other))),
        new("a reservation with no argument", Op(MemoryOp.PopulatePhysmap, Nowhere)),
        new("add_to_physmap", Op(MemoryOp.AddToPhysmap, new Struct(U16(Self), U16(0), U32(0), U64(0), U64(5))), Rax: -EACCES),
        new("exchange", Op(MemoryOp.Exchange, Sized(72))));

    [TestCaseSource(nameof(Rows))]
    public void An_operation_on_memory(Row row) => row.Check();

    private static Value Own => new(guest => guest.Id);

    private static Struct Domain(Value number) => new(U16(number));

    private static Struct Sized(int bytes) => new(Text("", bytes));

    private static Struct Reservation(ulong list, Value count, int order, Value domain) =>
        new(U64(list), U64(count), U32(order), U32(0), U16(domain));

    private static Step Lists(params Value[] frames) => Stores(List, [.. frames.Select(U64)]);

    private static Step Reserve(MemoryOp operation, int count) => Op(operation, Reservation(List, count, 0, Self));

    private static Step Op(MemoryOp operation, Argument argument) => Call(Hypercall.MemoryOp, operation, argument);
}
