namespace Tessera.Sdk.Cpu;

/// <summary>Optional power of an <see cref="IGuestMachine"/>: shows frames of another domain, one by one, while guests run elsewhere. Without it domains cannot map each other's grants.</summary>
/// <remarks>Called by one thread at a time, and never while a CPU of this machine is in <see cref="IGuestCpu.Run"/>.</remarks>
public interface IShowsForeignFrames
{
    /// <summary>Makes a frame part of the machine.</summary>
    /// <param name="region">
    /// One frame of another domain, under a number that is outside the machine's regions and not shown yet; its host memory stays until
    /// <see cref="Hide"/> or the machine's end.
    /// </param>
    /// <returns>False when the host has no room for another.</returns>
    /// <exception cref="EngineException">The host refused.</exception>
    bool TryShow(MemoryRegion region);

    /// <summary>Takes a shown frame away: from now on nothing the guest has in its page tables reaches it.</summary>
    /// <param name="frame">The frame.</param>
    void Hide(Mfn frame);
}
