using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Memory;

/// <summary>What the MMU plugin may touch of one domain.</summary>
internal sealed unsafe class MmuHost(DomainId domain, int maxVcpus, FrameTable frames, DomainMemory memory, GuestWrites writes, IGuestMachine machine) : IMmuHost
{
    /// <inheritdoc/>
    public DomainId Domain { get; } = domain;

    /// <inheritdoc/>
    public int MaxVcpus { get; } = maxVcpus;

    /// <inheritdoc/>
    public IFrameTable Frames { get; } = frames;

    /// <inheritdoc/>
    public IReadOnlyList<RootEntry> HypervisorEntries { get; } = [.. machine.RootEntries, memory.TableEntry];

    /// <summary>Notes what is written; null for nobody.</summary>
    public DirtyLog? Log { get; set; }

    /// <inheritdoc/>
    // SAFETY: both checked the frame; 512 entries are the whole of it.
    public Span<ulong> Table(Mfn frame) => new(memory.Has(frame) ? memory.PageForWriting(frame) : Tables.Page(frame), 512);

    /// <summary>Frames for tables of the MMU's own.</summary>
    public MmuTables Tables { get; } = new(memory, machine);

    /// <inheritdoc/>
    public bool TryAllocateTables(Span<Mfn> tables) => Tables.TryAllocate(tables);

    /// <inheritdoc/>
    public void FreeTables(ReadOnlySpan<Mfn> tables) => Tables.Free(tables);

    /// <summary>The MMU has been released.</summary>
    /// <exception cref="InvalidOperationException">It kept tables: a defect of the plugin.</exception>
    public void RequireNoTables()
    {
        if (Tables.InUse > 0)
            throw new InvalidOperationException($"The MMU of {Domain} did not give back {Tables.InUse} of its tables.");
    }

    /// <inheritdoc/>
    public void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry)
    {
        machine.EntryChanged(entryAddress, oldEntry, newEntry);
        Log?.EntryWritten(entryAddress);
    }

    /// <inheritdoc/>
    public void MemoryWritten(Mfn frame) => writes.Written(frame);

    /// <inheritdoc/>
    public void RootRetired(Mfn root) => (machine as IKeepsTranslations)?.RootRetired(root);

    /// <inheritdoc/>
    public void SetPfn(Mfn frame, Pfn pfn) => memory.SetPfn(frame, (ulong)pfn.Value);
}
