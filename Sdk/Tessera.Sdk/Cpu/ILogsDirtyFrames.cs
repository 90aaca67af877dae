namespace Tessera.Sdk.Cpu;

/// <summary>
/// Optional power of an <see cref="IGuestMachine"/>: it logs which frames its guest code writes, for whoever copies memory while the guest
/// goes on (live migration, clones, checkpoints). What the VMM itself writes is the VMM's to log.
/// </summary>
/// <remarks>
/// One call at a time, by any thread, while no CPU of the machine is in <see cref="IGuestCpu.Run"/>. Without a log there is no cost.
/// </remarks>
public interface ILogsDirtyFrames
{
    /// <summary>Begins an empty log.</summary>
    /// <exception cref="EngineException">The host refused.</exception>
    void StartLog();

    /// <summary>
    /// Takes the log of one region: which of its frames guest code has written since the log began or was last taken. A frame counts when
    /// its bytes may have changed: stores, and the accessed and dirty bits that a CPU sets in page tables. None goes missing;
    /// that guest code reads a frame does not put it there.
    /// </summary>
    /// <param name="first">The first frame of a region of <see cref="GuestMachineLayout.Regions"/> that is not read-only.</param>
    /// <param name="bitmap">Overwritten: frame first + n is bit n % 64 of element n / 64. At least one bit for each frame of the region.</param>
    /// <exception cref="ArgumentException">There is no such region, or the bitmap is too short.</exception>
    /// <exception cref="InvalidOperationException">There is no log.</exception>
    void TakeLog(Mfn first, Span<ulong> bitmap);

    /// <summary>Ends the log.</summary>
    void StopLog();
}
