using System.Runtime.InteropServices;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Memory;

/// <summary>What the MMU plugin may touch of one domain.</summary>
internal sealed class MmuHost(DomainId domain, int maxVcpus, FrameTable frames, DomainMemory memory, IGuestMachine machine) : IMmuHost
{
    /// <inheritdoc/>
    public DomainId Domain { get; } = domain;

    /// <inheritdoc/>
    public int MaxVcpus { get; } = maxVcpus;

    /// <inheritdoc/>
    public IFrameTable Frames { get; } = frames;

    /// <inheritdoc/>
    public IReadOnlyList<RootEntry> HypervisorEntries { get; } = [.. machine.RootEntries, memory.TableEntry];

    /// <inheritdoc/>
    public Span<ulong> Table(Mfn frame) => MemoryMarshal.Cast<byte, ulong>(memory.Frame(frame));

    /// <inheritdoc/>
    public void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry) => machine.EntryChanged(entryAddress, oldEntry, newEntry);

    /// <inheritdoc/>
    public void SetPfn(Mfn frame, Pfn pfn) => memory.SetPfn(frame, (ulong)pfn.Value);
}
