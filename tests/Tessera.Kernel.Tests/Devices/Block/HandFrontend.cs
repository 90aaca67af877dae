using System.Runtime.InteropServices;
using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Devices.Block;

/// <summary>
/// A block frontend played by the test on a domain that never runs: it grants pages, connects through the store as xen-blkfront does, and
/// writes the ring by hand, well or badly.
/// </summary>
internal sealed unsafe class HandFrontend
{
    public const uint RingGrant = 8;
    public const uint FirstDataGrant = 64;

    /// <summary>Pages of data that are granted: each under the grant of its number from <see cref="FirstDataGrant"/> on.</summary>
    public const int DataPages = 320;

    public const int RingPage = HandDomain.FreePage;
    public const int IndirectPage = HandDomain.FreePage + 4;
    public const int FirstDataPage = HandDomain.FreePage + 16;

    private const int SlotBytes = 112;

    private readonly HandMachine _machine;
    private readonly int _pages;
    private uint _requests;
    private uint _responses;

    /// <summary>Attaches a disk over the backend and connects.</summary>
    public HandFrontend(HandMachine machine, HandDomain guest, IBlockBackend backend, int order = 0, bool persistent = false, bool isReadOnly = false)
    {
        (_machine, Guest, _pages) = (machine, guest, 1 << order);
        Disk = machine.Machine.AttachDisk(guest.Domain, new DiskConfiguration { Name = "xvda", Backend = backend, PersistentGrants = persistent, IsReadOnly = isReadOnly });
        for (uint page = 0; page < _pages; page++)
            guest.Grant(RingGrant + page, 0, RingPage + (int)page);
        for (int page = 0; page < DataPages; page++)
            guest.Grant(FirstDataGrant + (uint)page, 0, FirstDataPage + page);
        guest.Grant(7, 0, IndirectPage);
        Assert.That(guest.Domain.Events.AllocateUnbound(0, out int port), Is.EqualTo(XenErrno.Success));
        Port = port;
        Index(4) = 1;
        Index(12) = 1;
        for (int page = 0; page < _pages; page++)
            Write(_pages == 1 ? "ring-ref" : $"ring-ref{page}", $"{RingGrant + page}");
        if (_pages > 1)
            Write("ring-page-order", $"{order}");
        Write("event-channel", $"{port}");
        Write("protocol", "x86_64-abi");
        Write("feature-persistent", persistent ? "1" : "0");
        Write("state", $"{(int)XenbusState.Initialised}");
        WaitFor(XenbusState.Connected);
    }

    public HandDomain Guest { get; }

    public Disk Disk { get; }

    public int Port { get; }

    /// <summary>Slots of the ring.</summary>
    public int Slots => _pages switch { 1 => 32, 2 => 64, _ => 128 };

    public int InFlight => (int)(_requests - _responses);

    private string Front => $"/local/domain/{Guest.Id}/device/vbd/51712";

    private StoreClient Store => _machine.Machine.StoreClient;

    public void Write(string key, string value) => Store.Write($"{Front}/{key}", value);

    public string BackendPath => $"/local/domain/0/backend/vbd/{Guest.Id}/51712";

    public string? ReadBackend(string key) => Store.Read($"{BackendPath}/{key}");

    public void WaitFor(XenbusState state) =>
        Assert.That(SpinWait.SpinUntil(() => ReadBackend("state") == $"{(int)state}", Hang.Limit), Is.True, () => $"the backend is in state {ReadBackend("state")}, not {state}; {Disk.Error}");

    /// <summary>Closes, and comes again with an empty ring, as after a suspend.</summary>
    public void Reconnect(bool persistent)
    {
        Write("state", $"{(int)XenbusState.Closed}");
        WaitFor(XenbusState.Closed);
        for (uint page = 0; page < _pages; page++)
        {
            Guest.Grant(RingGrant + page, 0, RingPage + (int)page);
            Guest.Page(RingPage + (int)page).Clear();
        }

        (_requests, _responses) = (0, 0);
        Index(4) = 1;
        Index(12) = 1;
        Write("feature-persistent", persistent ? "1" : "0");
        Write("state", $"{(int)XenbusState.Initialising}");
        WaitFor(XenbusState.InitWait);
        Write("state", $"{(int)XenbusState.Initialised}");
        WaitFor(XenbusState.Connected);
    }

    /// <summary>One of the ring's four indices.</summary>
    // SAFETY: the domain's memory stays mapped while the test's machine lives, and the index lies in the ring's first page.
    public ref uint Index(int offset) => ref *(uint*)(Guest.Domain.Memory.PageForWriting(Guest.Frame(RingPage)) + offset);

    /// <summary>The bytes of a ring slot, across page ends.</summary>
    public void PutSlot(uint index, ReadOnlySpan<byte> bytes)
    {
        int offset = 64 + ((int)(index % (uint)Slots) * SlotBytes);
        // Pages of the domain lie side by side.
        bytes.CopyTo(MemoryMarshal.CreateSpan(ref MemoryMarshal.GetReference(Guest.Page(RingPage)), _pages * 4096)[offset..]);
    }

    /// <summary>Puts a request without telling anybody.</summary>
    public void Put(in BlkifRequest request) => PutSlot(_requests++, MemoryMarshal.AsBytes(new ReadOnlySpan<BlkifRequest>(in request)));

    /// <summary>Publishes what was put, and rings.</summary>
    public void Kick()
    {
        Volatile.Write(ref Index(0), _requests);
        Ring();
    }

    public void Ring() => Assert.That(Guest.Domain.Events.Send(Port), Is.EqualTo(XenErrno.Success));

    public bool TryTake(out BlkifResponse response)
    {
        response = default;
        if (Volatile.Read(ref Index(8)) == _responses)
            return false;
        int offset = 64 + ((int)(_responses++ % (uint)Slots) * SlotBytes);
        Span<byte> bytes = MemoryMarshal.CreateSpan(ref MemoryMarshal.GetReference(Guest.Page(RingPage)), _pages * 4096).Slice(offset, 16);
        response = MemoryMarshal.Read<BlkifResponse>(bytes);
        Volatile.Write(ref Index(12), _responses + 1);
        return true;
    }

    public BlkifResponse Take()
    {
        BlkifResponse response = default;
        Assert.That(SpinWait.SpinUntil(() => TryTake(out response), Hang.Limit), Is.True, "no response came");
        return response;
    }

    /// <summary>Carries out one request.</summary>
    public BlkifStatus Run(in BlkifRequest request)
    {
        Put(request);
        Kick();
        BlkifResponse response = Take();
        Assert.That((response.Id, response.Operation), Is.EqualTo((request.Id, request.Operation == BlkifOp.Indirect ? request.IndirectOperation : request.Operation)));
        return response.Status;
    }

    /// <summary>A request over the first data pages.</summary>
    public static BlkifRequest Transfer(BlkifOp operation, ulong sector, params ReadOnlySpan<BlkifSegment> segments)
    {
        BlkifRequest request = new() { Operation = operation, SegmentCount = (byte)segments.Length, Sector = sector, Id = sector ^ 0xABCDEF };
        for (int index = 0; index < Math.Min(segments.Length, Blkif.MaxSegments); index++)
            request.Segments[index] = segments[index];
        return request;
    }

    public static BlkifSegment Segment(int dataPage, byte first = 0, byte last = 7) => new() { Grant = FirstDataGrant + (uint)dataPage, FirstSector = first, LastSector = last };

    public Span<byte> Data(int page) => Guest.Page(FirstDataPage + page);
}
