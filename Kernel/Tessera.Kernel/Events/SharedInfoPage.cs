using Tessera.Kernel.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Events;

/// <summary>
/// A domain's shared_info page as the VMM uses it. The guest may write anything into it at any time: every value read is only a
/// hint, and every bit operation is atomic.
/// </summary>
internal sealed unsafe class SharedInfoPage(DomainMemory memory, GuestWrites writes)
{
    // SAFETY: the frame is the domain's own for its whole life; every access below stays inside its 4096 bytes, and 64-bit words are aligned.
    private readonly byte* _page = writes.Page(memory.SharedInfoFrame);

    /// <summary>The vCPU's slot in the page, used until it registers a vcpu_info of its own.</summary>
    public VcpuInfoArea VcpuInfo(int index) => new(_page + SharedInfo.VcpuInfo + (index * Sdk.Xen.VcpuInfo.Size));

    /// <summary>Sets a pending bit; true when it was clear.</summary>
    public bool SetPending(int port)
    {
        ulong bit = 1UL << (port & 63);
        return (Interlocked.Or(ref Word(SharedInfo.EventPending, port), bit) & bit) == 0;
    }

    /// <summary>Clears a pending bit.</summary>
    public void ClearPending(int port) => Interlocked.And(ref Word(SharedInfo.EventPending, port), ~(1UL << (port & 63)));

    /// <summary>Clears a mask bit; true when it was set.</summary>
    public bool ClearMask(int port)
    {
        ulong bit = 1UL << (port & 63);
        return (Interlocked.And(ref Word(SharedInfo.EventMask, port), ~bit) & bit) != 0;
    }

    /// <summary>Whether the port is pending.</summary>
    public bool IsPending(int port) => (Volatile.Read(ref Word(SharedInfo.EventPending, port)) & (1UL << (port & 63))) != 0;

    /// <summary>Whether the port is masked.</summary>
    public bool IsMasked(int port) => (Volatile.Read(ref Word(SharedInfo.EventMask, port)) & (1UL << (port & 63))) != 0;

    /// <summary>Writes the wall clock at system time zero.</summary>
    public void SetWallClock(DateTimeOffset wall)
    {
        long ns = (wall - DateTimeOffset.UnixEpoch).Ticks * 100;
        uint version = *(uint*)(_page + SharedInfo.WallClockVersion) | 1;
        Write32(SharedInfo.WallClockVersion, version);
        Write32(SharedInfo.WallClockSeconds, (uint)(ns / 1_000_000_000));
        Write32(SharedInfo.WallClockSecondsHigh, (uint)((ns / 1_000_000_000) >> 32));
        Write32(SharedInfo.WallClockNanoseconds, (uint)(ns % 1_000_000_000));
        Write32(SharedInfo.WallClockVersion, version + 1);
    }

    private void Write32(int offset, uint value) => Volatile.Write(ref *(uint*)(_page + offset), value);

    private ref ulong Word(int array, int port) => ref *(ulong*)(_page + array + ((port >> 6) * 8));
}
