using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// Which frames are written: while there is a log, only a write enters a page into a TLB for writing, and taking the log empties the TLBs of such pages.
internal sealed partial class SoftwareMachine : ILogsDirtyFrames
{
    /// <summary>There is a log.</summary>
    public bool HasLog { get; private set; }

    /// <inheritdoc/>
    public void StartLog()
    {
        HasLog = true;
        Frames.ClearDirty();
        ForgetWrites();
    }

    /// <inheritdoc/>
    public void TakeLog(Mfn first, Span<ulong> bitmap)
    {
        if (!HasLog)
            throw new InvalidOperationException($"{Name}: the log was not started.");
        Frames.TakeDirty(first, bitmap);
        ForgetWrites();
    }

    /// <inheritdoc/>
    public void StopLog() => HasLog = false;

    private void ForgetWrites()
    {
        foreach (SoftwareCpu cpu in _cpus)
            cpu.FlushWrites();
    }
}
