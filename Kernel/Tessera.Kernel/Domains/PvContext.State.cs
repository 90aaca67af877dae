using Tessera.Kernel.Snapshots;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Domains;

// Saving and restoring.
internal sealed partial class PvContext
{
    private const int DescriptorsPerFrame = 512;
    private const int MostGdtEntries = FlatSelectors.FirstReservedEntry;
    private const int MostLdtEntries = 8192;

    /// <summary>Writes all but where vcpu_info lies.</summary>
    public void Save(StateWriter writer)
    {
        foreach (TrapGate gate in TrapTable)
        {
            writer.Word(gate.Address);
            writer.Number(gate.Cs);
            writer.Number(gate.Flags);
        }

        for (int type = 0; type < Callbacks.Length; type++)
        {
            writer.Word(Callbacks[type]);
            writer.Flag(CallbackMasksEvents[type]);
        }

        writer.Word(KernelStack);
        writer.Flag(UserMode);
        writer.Word(GsBaseKernel);
        writer.Word(GsBaseUser);
        writer.Number(IoPrivilege);
        writer.Word(IoBitmap);
        writer.Number(IoBitmapPorts);
        writer.Word(RunstateArea);
        writer.Word(TimeArea);
        Save(writer, GdtFrames, GdtEntries);
        Save(writer, LdtFrames, LdtEntries);
    }

    /// <summary>Reads it. The descriptor tables' frames are numbers as yet: whoever restores the vCPU has the MMU take them.</summary>
    /// <exception cref="SnapshotException">It cannot be.</exception>
    public void Restore(StateReader reader)
    {
        foreach (ref TrapGate gate in TrapTable.AsSpan())
        {
            gate = new TrapGate
            {
                Address = Canonical(reader, "a trap's handler"),
                Cs = (ushort)reader.Number("a trap's code segment", 0, ushort.MaxValue),
                Flags = (byte)reader.Number("a trap's flags", 0, byte.MaxValue),
            };
        }

        for (int type = 0; type < Callbacks.Length; type++)
        {
            Callbacks[type] = Canonical(reader, "a callback");
            CallbackMasksEvents[type] = reader.Flag("a callback's flag");
        }

        // The next three are checked where they are used, whoever gave them.
        KernelStack = reader.Word("the kernel's stack");
        UserMode = reader.Flag("the mode");
        GsBaseKernel = reader.Word("the kernel's GS base");
        GsBaseUser = reader.Word("the user's GS base");
        IoPrivilege = (int)reader.Number("the I/O privilege", 0, PortAccess.MaxLevel);
        IoBitmap = reader.Word("the I/O bitmap");
        IoBitmapPorts = (uint)reader.Number("the I/O bitmap's ports", 0, PortAccess.Ports);
        RunstateArea = reader.Word("the runstate area");
        TimeArea = reader.Word("the time area");
        (GdtFrames, GdtEntries) = Tables(reader, "the GDT", MostGdtEntries);
        (LdtFrames, LdtEntries) = Tables(reader, "the LDT", MostLdtEntries);
    }

    private static void Save(StateWriter writer, Mfn[] frames, int entries)
    {
        writer.Number(entries);
        foreach (Mfn frame in frames)
            writer.Number(frame.Value);
    }

    private static (Mfn[] Frames, int Entries) Tables(StateReader reader, string what, int most)
    {
        int entries = reader.Count($"the size of {what}", most);
        Mfn[] frames = new Mfn[(entries + DescriptorsPerFrame - 1) / DescriptorsPerFrame];
        foreach (ref Mfn frame in frames.AsSpan())
            frame = new Mfn(reader.Number($"a frame of {what}", 0, long.MaxValue));
        return (frames, entries);
    }

    private static ulong Canonical(StateReader reader, string what)
    {
        ulong address = reader.Word(what);
        return new VirtualAddress(address).IsCanonical ? address : throw StateReader.Wrong(what, $"0x{address:x}, which is no address");
    }
}
