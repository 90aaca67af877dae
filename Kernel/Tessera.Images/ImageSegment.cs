namespace Tessera.Images;

/// <summary>One piece of a kernel to place in a domain's memory (an ELF PT_LOAD program header).</summary>
/// <param name="PhysicalAddress">
/// Where it goes: bytes from the domain's pseudo-physical address 0 (p_paddr less the PADDR_OFFSET note). It is mapped at VirtBase + PhysicalAddress.
/// </param>
/// <param name="Data">The bytes of the file; a slice of the image, not a copy.</param>
/// <param name="MemorySize">Bytes of memory it takes, at least the length of Data; the rest is zero.</param>
public sealed record ImageSegment(ulong PhysicalAddress, ReadOnlyMemory<byte> Data, ulong MemorySize)
{
    /// <summary>The first pseudo-physical byte after the segment.</summary>
    public ulong End => PhysicalAddress + MemorySize;
}
