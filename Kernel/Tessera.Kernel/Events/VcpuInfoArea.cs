using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Events;

/// <summary>A vCPU's vcpu_info: in shared_info, or where the guest registered it. The guest may write it at any time.</summary>
/// <param name="place">Its slot in shared_info.</param>
internal sealed unsafe class VcpuInfoArea(byte* place)
{
    private readonly Lock _gate = new();

    // SAFETY: points to a whole, 8-byte aligned vcpu_info inside one frame of the domain, which stays mapped until the domain is destroyed.
    private byte* _place = place;

    /// <summary>The frame that holds a registered one, written to by the VMM as long as it does.</summary>
    public Mfn Frame { get; private set; } = Mfn.None;

    /// <summary>The guest takes no events now.</summary>
    public bool EventsMasked
    {
        get => Volatile.Read(ref _place[VcpuInfo.UpcallMask]) != 0;
        set => Volatile.Write(ref _place[VcpuInfo.UpcallMask], value ? (byte)1 : (byte)0);
    }

    /// <summary>An event is due, and the guest takes events.</summary>
    public bool IsEventDue => IsUpcallPending && !EventsMasked;

    /// <summary>An event is pending that the guest has not masked by port.</summary>
    private bool IsUpcallPending => Volatile.Read(ref _place[VcpuInfo.UpcallPending]) != 0;

    /// <summary>The address of the page fault that is delivered: the guest's CR2.</summary>
    public ulong FaultAddress
    {
        get => *(ulong*)(_place + VcpuInfo.Cr2);
        set => *(ulong*)(_place + VcpuInfo.Cr2) = value;
    }

    /// <summary>Its vcpu_time_info.</summary>
    public Span<byte> Time => new(_place + VcpuInfo.Time, VcpuTimeInfo.Size);

    /// <summary>Sets a port's selector bit and the upcall flag; true when an upcall became due by it. Any thread.</summary>
    public bool Select(int port)
    {
        lock (_gate)
        {
            ulong bit = 1UL << (port >> 6);
            if ((Interlocked.Or(ref *(ulong*)(_place + VcpuInfo.PendingSelector), bit) & bit) != 0 && IsUpcallPending)
                return false;
            Volatile.Write(ref _place[VcpuInfo.UpcallPending], 1);
            Interlocked.MemoryBarrier();
            return true;
        }
    }

    /// <summary>Finds it again in the memory of a restored domain, as it was left there.</summary>
    public void Restore(byte* place, Mfn frame)
    {
        lock (_gate)
        {
            _place = place;
            Frame = frame;
        }
    }

    /// <summary>Where in its frame a registered one lies.</summary>
    public int Offset => (int)((ulong)_place & 4095);

    /// <summary>Moves it to a place in guest memory: pending state goes along, and everything is raised once so that nothing is lost.</summary>
    public void Move(byte* place, Mfn frame)
    {
        lock (_gate)
        {
            new Span<byte>(_place, VcpuInfo.Size).CopyTo(new Span<byte>(place, VcpuInfo.Size));
            _place = place;
            Frame = frame;
            *(ulong*)(place + VcpuInfo.PendingSelector) = ulong.MaxValue;
            place[VcpuInfo.UpcallPending] = 1;
        }
    }
}
