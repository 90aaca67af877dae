using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Store;

/// <summary>
/// The page a domain shares with the store (public/io/xs_wire.h). Everything in it is the guest's word: indexes are read once, and a
/// pair that cannot be is said so; positions are reduced to the ring's size.
/// </summary>
internal readonly unsafe struct StoreRingPage
{
    private const uint Reconnecting = 1;
    private const uint Reconnection = 1;
    private const uint ErrorField = 2;

    // SAFETY: the creator says that the page stays mapped as long as the ring is used; every access below is inside its 4096 bytes.
    private readonly byte* _page;

    /// <summary>A view of the page at a host address.</summary>
    public StoreRingPage(nint page) => _page = (byte*)page;

    /// <summary>The guest asks for a fresh start.</summary>
    public bool WantsReconnection => Volatile.Read(ref Word(StoreRing.Connection)) == Reconnecting;

    /// <summary>Says what this end can do: reconnect, and name errors.</summary>
    public void Offer() => Word(StoreRing.ServerFeatures) = Reconnection | ErrorField;

    /// <summary>Tells the guest that its connection is dead, and why.</summary>
    public void Fail(StoreRingError error) => Volatile.Write(ref Word(StoreRing.Error), (uint)error);

    /// <summary>Empties both rings and says that the connection is there again.</summary>
    public void Restart()
    {
        Word(StoreRing.RequestCons) = Word(StoreRing.RequestProd) = Word(StoreRing.ResponseCons) = Word(StoreRing.ResponseProd) = 0;
        Word(StoreRing.Error) = 0;
        Volatile.Write(ref Word(StoreRing.Connection), 0);
    }

    /// <summary>Takes what the guest wrote, at most so much.</summary>
    /// <returns>Bytes taken; -1 when the indexes cannot be.</returns>
    public int Take(Span<byte> destination)
    {
        uint consumed = Volatile.Read(ref Word(StoreRing.RequestCons));
        uint waiting = Volatile.Read(ref Word(StoreRing.RequestProd)) - consumed;
        if (waiting > StoreRing.RingSize)
            return -1;
        int count = (int)Math.Min(waiting, (uint)destination.Length);
        for (int index = 0; index < count; index++)
            destination[index] = _page[StoreRing.Request + ((consumed + (uint)index) & (StoreRing.RingSize - 1))];
        Volatile.Write(ref Word(StoreRing.RequestCons), consumed + (uint)count);

        // The guest notifies when it sees this index; whoever looks for more must look after it is visible.
        Interlocked.MemoryBarrier();
        return count;
    }

    /// <summary>Gives the guest what waits, as much as its ring takes.</summary>
    /// <returns>Bytes given; -1 when the indexes cannot be.</returns>
    public int Give(StoreOutbox outbox)
    {
        uint produced = Volatile.Read(ref Word(StoreRing.ResponseProd));
        uint waiting = produced - Volatile.Read(ref Word(StoreRing.ResponseCons));
        if (waiting > StoreRing.RingSize)
            return -1;
        Span<byte> chunk = stackalloc byte[StoreRing.RingSize];
        int count = outbox.Take(chunk[..(int)(StoreRing.RingSize - waiting)]);
        for (int index = 0; index < count; index++)
            _page[StoreRing.Response + ((produced + (uint)index) & (StoreRing.RingSize - 1))] = chunk[index];
        Volatile.Write(ref Word(StoreRing.ResponseProd), produced + (uint)count);
        Interlocked.MemoryBarrier();
        return count;
    }

    private ref uint Word(int offset) => ref *(uint*)(_page + offset);
}

/// <summary>Why a connection died (XENSTORE_ERROR_*).</summary>
internal enum StoreRingError : uint
{
    None = 0,
    Communication = 1,
    RingIndex = 2,
    Protocol = 3,
}
