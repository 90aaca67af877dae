namespace Tessera.Sdk.Cpu;

/// <summary>
/// Optional power of an <see cref="IGuestMachine"/>: it is told of every write to the machine's memory that does not come from its own guest code, for engines that keep
/// something made from memory (translated code). Changes of page-table entries come by <see cref="IGuestMachine.EntryChanged"/> alone.
/// </summary>
/// <remarks>Any thread; the writer may hold locks of the kernel, so take note and return. Frames are the machine's own.</remarks>
public interface ITracksWrites
{
    /// <summary>The VMM has written into a frame. It is told before guest code of the machine can know of the write.</summary>
    void MemoryWritten(Mfn frame);

    /// <summary>
    /// From now on a frame may be written at any moment without a word: a page shared with the VMM, one lent to a device or to another domain. Calls nest.
    /// </summary>
    void WritesBegin(Mfn frame);

    /// <summary>One reason less to write the frame at any moment; with the last, what was made from it before is out of date once more.</summary>
    void WritesEnd(Mfn frame);
}
