using System.Runtime.InteropServices;
using Tessera.Plugins.Cpu.Software.Native;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

/// <summary>A host thread that runs guests. Nothing interrupts it: translated code comes back by itself every few thousand instructions, and then kicks and the time are looked at.</summary>
internal sealed class SoftwareThread : IEngineThread
{
    private static readonly Lock SlotGate = new();
    private static readonly Stack<int> FreeSlots = new(Enumerable.Range(0, Translator.MostThreads).Reverse());

    private readonly byte[] _affinityBefore = new byte[NativeCalls.AffinityBytes];
    private readonly bool _restore;
    private int _kicked;
    private bool _disposed;

    /// <param name="hostCpu">The host CPU to stay on.</param>
    public SoftwareThread(int hostCpu)
    {
        if (hostCpu is < 0 or >= NativeCalls.AffinityBytes * 8)
            throw new EngineException($"Host CPU {hostCpu} is not between 0 and {(NativeCalls.AffinityBytes * 8) - 1}.", "Name host CPUs that exist (lscpu lists them).");
        _restore = NativeCalls.TryGetAffinity(_affinityBefore);
        Span<byte> mask = stackalloc byte[NativeCalls.AffinityBytes];
        mask.Clear();
        mask[hostCpu / 8] = (byte)(1 << (hostCpu % 8));
        int errno = NativeCalls.SetAffinity(mask);
        if (errno != 0)
        {
            throw new EngineException(
                $"Pinning a thread to host CPU {hostCpu} failed: {Marshal.GetPInvokeErrorMessage(errno)}.",
                "Name host CPUs that exist and that this process may use (taskset -p shows them).");
        }

        lock (SlotGate)
        {
            if (!FreeSlots.TryPop(out int slot))
                throw new EngineException($"One process can have at most {Translator.MostThreads} threads that run guests.", "Use fewer physical CPUs.");
            Alone = new AloneCode(slot);
        }
    }

    /// <summary>The generation of translated code that this thread may be in.</summary>
    public Translator? Held { get; set; }

    /// <summary>What it keeps for instructions that are carried out alone.</summary>
    public AloneCode Alone { get; }

    /// <inheritdoc/>
    public void Kick() => Volatile.Write(ref _kicked, 1);

    /// <summary>Whether a kick arrived since the last time it was asked.</summary>
    public bool TakeKick() => Volatile.Read(ref _kicked) != 0 && Interlocked.Exchange(ref _kicked, 0) != 0;

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        Held = null;
        lock (SlotGate)
            FreeSlots.Push(Alone.Slot);
        if (_restore)
            _ = NativeCalls.SetAffinity(_affinityBefore);
    }
}
