using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Memory.Tests.Support;

/// <summary>
/// A small address space in a machine's first frames: L4 (0), L3 (1), L2 (2), L1 (3). It maps frame 8 writable, 9 read-only and the L1 itself
/// read-only, from <see cref="Base"/> on. No U bits, as a guest builds it.
/// </summary>
internal sealed class Tree
{
    public const ulong Base = 0xFFFF_8880_0000_0000;
    public const int Slot = 273;

    public Tree(Machine machine)
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

    public static Tree Adopted(Machine machine)
    {
        Tree tree = new(machine);
        Assert.That(machine.Mmu.AdoptBootTables(tree.L4), Is.EqualTo(XenErrno.Success));
        return tree;
    }

    public static VirtualAddress Page(int index, ulong offset = 0) => new(Base + ((ulong)index << 12) + offset);
}

internal static class MachineCalls
{
    public static XenErrno Do(this Machine machine, MmuExtOp command, Mfn frame, Mfn source = default, int vcpu = 0) =>
        machine.Mmu.Extended(vcpu, (uint)command, frame, source);

    public static XenErrno Write(this Machine machine, Mfn table, int index, ulong entry, MmuUpdateKind kind = MmuUpdateKind.NormalPtUpdate) =>
        machine.Mmu.Update(Machine.Address(table, index) | (ulong)kind, entry);
}
