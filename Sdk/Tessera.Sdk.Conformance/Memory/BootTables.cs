namespace Tessera.Sdk.Conformance.Memory;

/// <summary>
/// A small address space in a machine's first frames: L4 (0), L3 (1), L2 (2), L1 (3). It maps frame 8 writable, 9 read-only and the L1
/// itself read-only, from <see cref="Base"/> on. No U bits, as a guest builds it.
/// </summary>
internal sealed class BootTables
{
    public const ulong Base = 0xFFFF_8880_0000_0000;
    public const int Slot = 273;

    public BootTables(MmuMachine machine)
    {
        L4 = machine[0];
        L3 = machine[1];
        L2 = machine[2];
        L1 = machine[3];
        machine.Poke(L4, Slot, L3.Address | Entry.P | Entry.RW);
        machine.Poke(L3, 0, L2.Address | Entry.P | Entry.RW);
        machine.Poke(L2, 0, L1.Address | Entry.P | Entry.RW);
        machine.Poke(L1, 0, machine[8].Address | Entry.P | Entry.RW);
        machine.Poke(L1, 1, machine[9].Address | Entry.P | Entry.NX);
        machine.Poke(L1, 2, L1.Address | Entry.P);
    }

    public Mfn L4 { get; }

    public Mfn L3 { get; }

    public Mfn L2 { get; }

    public Mfn L1 { get; }

    public static BootTables Adopted(MmuMachine machine)
    {
        BootTables tables = new(machine);
        Expect.Equal(machine.Mmu.AdoptBootTables(tables.L4), XenErrno.Success, "of tables as a builder makes them");
        return tables;
    }

    public static VirtualAddress Page(int index, ulong offset = 0) => new(Base + ((ulong)index << 12) + offset);
}
