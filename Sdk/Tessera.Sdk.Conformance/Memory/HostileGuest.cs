using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Sdk.Conformance.Memory;

/// <summary>
/// A guest whose every operation is decided by one number. Frames lean towards roles (0–3 L4, 4–7 L3, 8–11 L2, 12–17 L1, the rest data), so that
/// deep trees come about, but any frame may be used as anything, and some operations are plain garbage.
/// </summary>
internal sealed class HostileGuest(MmuMachine machine)
{
    private static readonly (int First, int Count)[] Roles = [(18, 14), (12, 6), (8, 4), (4, 4), (0, 4)];
    private static readonly int[] Indexes = [0, 1, 2, 255, 256, 257, 270, 271, 272, 273, 510, 511];
    private static readonly ulong[] Flags =
    [
        Entry.P | Entry.RW, Entry.P | Entry.RW, Entry.P, Entry.P | Entry.NX, Entry.P | Entry.RW | Entry.U | Entry.A | Entry.D, Entry.P | Entry.RW | Entry.G,
        Entry.RW, 0, Entry.P | Entry.PSE, Entry.P | Entry.RW | Entry.PCD,
    ];

    private ulong _state;

    /// <summary>Which tables it has pinned, and at which level.</summary>
    public Dictionary<Mfn, int> Pins { get; } = [];

    /// <summary>Which frames it has taken as descriptor tables, and how often.</summary>
    public Dictionary<Mfn, int> Held { get; } = [];

    /// <summary>How often it was answered what.</summary>
    public Dictionary<XenErrno, int> Answers { get; } = [];

    public void Act(int number)
    {
        _state = (ulong)number * 0x9E37_79B9_7F4A_7C15 + 1;
        switch (Choose(16))
        {
            case 0 or 1 or 2:
                BuildFrame();
                break;
            case 3 or 4:
                Pin();
                break;
            case 5:
                Unpin();
                break;
            case 6:
                Answer(machine.Do(MmuExtOp.NewBaseptr, Frame(4), vcpu: Choose(2)));
                break;
            case 7:
                Answer(machine.Do(MmuExtOp.NewUserBaseptr, Choose(3) == 0 ? new Mfn(0) : Frame(4), vcpu: Choose(2)));
                break;
            case 8 or 9 or 10 or 11:
                UpdateEntry();
                break;
            case 12:
                Answer(machine.Mmu.UpdateVaMapping(Choose(2), Address(), AnyEntry(Choose(3))));
                break;
            case 13:
                Descriptors();
                break;
            case 14:
                SetAccessedDirty();
                break;
            default:
                Answer(machine.Do((MmuExtOp)(5 + Choose(16)), Frame(Choose(5)), Frame(Choose(5))));
                break;
        }
    }

    /// <summary>An address that it could reach must be its own memory, a store that is emulated one to its own table.</summary>
    public void Look()
    {
        const PageFaultError store = PageFaultError.Present | PageFaultError.Write;
        foreach (int vcpu in (ReadOnlySpan<int>)[0, 1])
        {
            if (machine.Mmu.Translate(vcpu, Choose(2) == 0, Address(), Choose(2) == 0, out ulong at) && MmuMachine.IndexOf(new Mfn((long)(at >> 12))) < 0)
                throw new InvalidOperationException($"Translated to foreign memory {at:x}.");
            if (Address() is { IsCanonical: true } used)
                _ = machine.Walk(used.Value, vcpu, Choose(2) == 0);
            FaultAnswer answer = machine.Mmu.OnFault(vcpu, userMode: false, Address(), store);
            if (answer.Action == FaultAction.Emulate && machine.TypeOf(new Mfn((long)(answer.StoreAddress >> 12))).Type is not (>= FrameType.L1 and <= FrameType.L4))
                throw new InvalidOperationException($"A store is to be emulated at {answer.StoreAddress:x}, which is no table.");
        }
    }

    private int Choose(int count)
    {
        _state ^= _state >> 30;
        _state *= 0xBF58_476D_1CE4_E5B9;
        _state ^= _state >> 27;
        return (int)((_state >> 8) % (ulong)count);
    }

    private XenErrno Answer(XenErrno answer)
    {
        Answers[answer] = Answers.GetValueOrDefault(answer) + 1;
        return answer;
    }

    private Mfn Frame(int role)
    {
        switch (Choose(24))
        {
            case 0:
                return MmuMachine.ForeignFrame + Choose(4);
            case 1:
                return new Mfn(Choose(3) switch { 0 => -1, 1 => 1, _ => long.MaxValue });
            case 2 or 3:
                return machine[Choose(MmuMachine.Own)];
            default:
                (int first, int count) = Roles[role];
                return machine[first + Choose(count)];
        }
    }

    private ulong AnyEntry(int targetRole) => (Frame(targetRole).Address & Entry.FrameMask) | Flags[Choose(Choose(3) == 0 ? Flags.Length : 5)];

    private int AnyIndex() => Indexes[Choose(Indexes.Length)];

    private VirtualAddress Address()
    {
        ulong address = 0;
        for (int level = 4; level >= 1; level--)
            address = (address << 9) | (uint)AnyIndex();
        return new VirtualAddress(Choose(12) == 0 ? address << 14 : (ulong)((long)(address << 28) >> 16));
    }

    private void BuildFrame()
    {
        int level = Choose(5);
        Mfn frame = Frame(level);
        if (MmuMachine.IndexOf(frame) < 0 || machine.TypeOf(frame).Type is not (FrameType.None or FrameType.Writable))
            return;
        machine.PokeAll(frame, 0);
        for (int entries = Choose(7); entries > 0; entries--)
            machine.Poke(frame, AnyIndex(), level == 0 ? (ulong)Choose(int.MaxValue) << 34 | (uint)Choose(int.MaxValue) : AnyEntry(level - 1));
    }

    private void Pin()
    {
        int level = 1 + Choose(4);
        Mfn frame = Frame(level);
        if (Answer(machine.Do((MmuExtOp)(level - 1), frame)) == XenErrno.Success)
            Pins.Add(frame, level);
    }

    private void Unpin()
    {
        Mfn frame = Pins.Count > 0 && Choose(2) == 0 ? Pins.Keys.ElementAt(Choose(Pins.Count)) : Frame(Choose(5));
        bool expected = Pins.Remove(frame);
        if (Answer(machine.Do(MmuExtOp.UnpinTable, frame)) == XenErrno.Success != expected)
            throw new InvalidOperationException($"Unpin of {frame}, pinned: {expected}, answered otherwise.");
    }

    private void UpdateEntry()
    {
        int level = Choose(5);
        ulong pointer = MmuMachine.Address(Frame(level), AnyIndex()) | (uint)Choose(Choose(8) == 0 ? 8 : 3);
        Answer(machine.Mmu.Update(pointer, AnyEntry(Math.Max(0, level - 1))));
    }

    private void Descriptors()
    {
        Mfn frame = Frame(0);
        if (Choose(3) == 0)
        {
            Answer(machine.Mmu.UpdateDescriptor(MmuMachine.Address(frame, AnyIndex()) + (uint)(Choose(8) == 0 ? 3 : 0), (ulong)Choose(int.MaxValue) << 33));
        }
        else if (Held.Count > 0 && Choose(2) == 0)
        {
            frame = Held.Keys.ElementAt(Choose(Held.Count));
            machine.Mmu.ReleaseDescriptorFrame(frame);
            if (--Held[frame] == 0)
                Held.Remove(frame);
        }
        else if (Answer(machine.Mmu.AcquireDescriptorFrame(frame)) == XenErrno.Success)
        {
            Held[frame] = Held.GetValueOrDefault(frame) + 1;
        }
    }

    private void SetAccessedDirty()
    {
        Mfn frame = machine[Choose(MmuMachine.Own)];
        int index = AnyIndex();
        ulong entry = machine.Read(frame, index);
        bool vmmSlot = machine.TypeOf(frame).Type == FrameType.L4 && index is >= 256 and <= 271;
        if ((entry & Entry.P) != 0 && !vmmSlot && machine.TypeOf(frame).Type is >= FrameType.L1 and <= FrameType.L4)
            machine.Poke(frame, index, entry | Entry.A | Entry.D);
    }
}
