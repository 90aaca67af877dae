using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Tessera.Kernel.Devices.Network;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Devices.Network;

/// <summary>What a hostile frontend does, by a seed.</summary>
internal sealed class NetAttack(HandNetFrontend frontend, FuzzedWire wire, Random random)
{
    /// <summary>Pages that begin with headers, so that what looks at those has something to look at.</summary>
    private const int HeaderPages = 16;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    private readonly NetTxRequest[] _slots = new NetTxRequest[HandNetFrontend.Slots];
    private readonly byte[] _frame = new byte[NetworkFrame.MostBytes];
    private int _count;

    public long Reconnects { get; private set; }

    /// <summary>Sends some slots, has frames delivered, and waits until the VMM has done with it.</summary>
    /// <returns>How many slots, those to receive into too.</returns>
    public int Batch()
    {
        Headers();
        int wanted = 1 + random.Next(HandNetFrontend.Slots);
        for (_count = 0; _count < wanted;)
            Append();
        _count = wanted;
        long broken = frontend.Nic.Read().BrokenRings;
        int posted = Post();
        frontend.Send(_slots.AsSpan(0, _count));
        if (random.Next(4) == 0)
            Disturb();
        for (int frames = random.Next(4); frames > 0; frames--)
            Deliver();
        bool forged = random.Next(2000) == 0;
        if (forged)
            Forge();
        bool came = SpinWait.SpinUntil(() => frontend.Unanswered == 0 || frontend.Nic.Read().BrokenRings > broken, forged ? Patience / 10 : Patience);
        if (came && !forged && frontend.Nic.Read().BrokenRings == broken && Settled())
        {
            if (random.Next(8) == 0)
                Repair();
            return _count + posted;
        }

        Reconnects++;
        frontend.Reconnect();
        Repair();
        return _count + posted;
    }

    /// <summary>Takes all answers; false when they are not those to what was sent.</summary>
    private bool Settled()
    {
        int taken = 0;
        while (frontend.TryTakeSent(out _))
        {
            if (++taken > _count)
                return false;
        }

        for (int received = 0; frontend.TryTakeReceived(out _); received++)
        {
            if (received > HandNetFrontend.Slots)
                return false;
        }

        return taken == _count;
    }

    /// <summary>Adds a frame, or what is none.</summary>
    private void Append()
    {
        switch (random.Next(20))
        {
            case 0:
                NetTxRequest noise = default;
                random.NextBytes(MemoryMarshal.AsBytes(new Span<NetTxRequest>(ref noise)));
                Add(noise);
                break;
            case 1:
                Add(Extra());
                break;
            case 2:
                // Pieces of a frame that does not end.
                for (int pieces = random.Next(random.Next(4) == 0 ? 256 : 24); pieces > 0; pieces--)
                    Add(HandNetFrontend.Piece(random.Next(HandNetFrontend.DataPages), 1 + random.Next(4096), NetTxFlags.MoreData | (NetTxFlags)random.Next(4)));
                break;
            case 3:
                // Extras over extras.
                Add(HandNetFrontend.Piece(random.Next(HeaderPages), 60 + random.Next(4000), NetTxFlags.ExtraInfo | (NetTxFlags)random.Next(16)));
                for (int extras = random.Next(random.Next(4) == 0 ? 256 : 6); extras > 0; extras--)
                    Add(HandNetFrontend.Gso((ushort)random.Next(65536), (NetGsoType)random.Next(4), (NetExtraType)random.Next(6), Netif.ExtraMore));
                break;
            case 4 or 5:
                NetTxRequest piece = HandNetFrontend.Piece(random.Next(HandNetFrontend.DataPages), random.Next(65536), (NetTxFlags)random.Next(16), random.Next(3) == 0 ? random.Next(65536) : 0);
                piece.Grant = Grant();
                Add(piece);
                break;
            default:
                Frame();
                break;
        }
    }

    /// <summary>A frame as it should be, or nearly.</summary>
    private void Frame()
    {
        int others = random.Next(3) == 0 ? random.Next(random.Next(4) == 0 ? 20 : 5) : 0;
        int first = _count;
        int offset = 0;
        int inFirst = random.Next(4) == 0 ? 4096 : 60 + random.Next(1500);
        int total = inFirst;
        bool cut = random.Next(3) == 0;
        NetTxFlags flags = (cut ? NetTxFlags.ExtraInfo | NetTxFlags.CsumBlank : (NetTxFlags)random.Next(4)) | (others > 0 ? NetTxFlags.MoreData : NetTxFlags.None);
        Add(HandNetFrontend.Piece(random.Next(HeaderPages), 0, flags, offset));
        if (cut)
            Add(Extra());
        for (int left = others; left > 0; left--)
        {
            int length = random.Next(2) == 0 ? 4096 : 1 + random.Next(4096);
            Add(HandNetFrontend.Piece(random.Next(HandNetFrontend.DataPages), length, left > 1 ? NetTxFlags.MoreData : NetTxFlags.None, random.Next(4097 - length)));
            total += length;
        }

        if (first >= _slots.Length)
            return;
        _slots[first].Size = (ushort)Math.Min(total, 65535);
        if (random.Next(8) != 0)
            return;
        ref NetTxRequest spoilt = ref _slots[Math.Min(first + random.Next(_count - first + 1), _slots.Length - 1)];
        MemoryMarshal.AsBytes(new Span<NetTxRequest>(ref spoilt))[random.Next(Netif.TxEntryBytes)] ^= (byte)(1 << random.Next(8));
    }

    private void Add(in NetTxRequest slot)
    {
        if (_count < _slots.Length)
            _slots[_count++] = slot;
    }

    private NetTxRequest Extra() => random.Next(4) == 0
        ? HandNetFrontend.Gso((ushort)random.Next(65536), (NetGsoType)random.Next(256), (NetExtraType)random.Next(256), (byte)random.Next(256))
        : HandNetFrontend.Gso((ushort)(random.Next(3) switch { 0 => random.Next(64), 1 => 1448, _ => random.Next(9000) }), (NetGsoType)(1 + random.Next(2)));

    private uint Grant() => random.Next(4000) switch
    {
        // Its own rings as data.
        0 => HandNetFrontend.TxGrant,
        1 => HandNetFrontend.RxGrant,
        < 400 => (uint)random.Next(600),
        < 600 => (uint)random.NextInt64(1L << 32),
        _ => HandNetFrontend.FirstDataGrant + (uint)random.Next(HandNetFrontend.DataPages),
    };

    /// <summary>Writes headers of its own and of others', right and wrong ones.</summary>
    private void Headers()
    {
        for (int count = 0; count < 4; count++)
        {
            Span<byte> page = frontend.Data(random.Next(HeaderPages));
            (random.Next(8) == 0 ? new MacAddress(0x0016_3E00_0002) : new MacAddress(0x0016_3E00_0001)).Write(page[6..]);
            int at = 14;
            if (random.Next(6) == 0)
            {
                BinaryPrimitives.WriteUInt16BigEndian(page[12..], 0x8100);
                at = 18;
            }

            bool v6 = random.Next(3) == 0;
            BinaryPrimitives.WriteUInt16BigEndian(page[(at - 2)..], random.Next(10) == 0 ? (ushort)random.Next(65536) : (ushort)(v6 ? 0x86DD : 0x0800));
            int length = random.Next(3) switch { 0 => random.Next(65536), 1 => 40 + random.Next(20), _ => random.Next(1500) };
            byte protocol = (byte)(random.Next(8) == 0 ? random.Next(256) : random.Next(4) == 0 ? 17 : 6);
            int transport = at + 40;
            if (v6)
            {
                BinaryPrimitives.WriteUInt16BigEndian(page[(at + 4)..], (ushort)length);
                page[at + 6] = protocol;
            }
            else
            {
                page[at] = (byte)(random.Next(6) == 0 ? random.Next(256) : 0x45);
                BinaryPrimitives.WriteUInt16BigEndian(page[(at + 2)..], (ushort)length);
                page[at + 9] = protocol;
                transport = at + ((page[at] & 15) * 4);
            }

            page[transport + 12] = (byte)(random.Next(4) == 0 ? random.Next(256) : 0x50);
        }
    }

    /// <summary>Grants pages to receive into: most of them are.</summary>
    private int Post()
    {
        int room = Math.Min(HandNetFrontend.Slots - frontend.Posted, random.Next(64));
        for (int count = 0; count < room; count++)
            frontend.Post(random.Next(8) == 0 ? Grant() : HandNetFrontend.FirstDataGrant + HeaderPages + (uint)random.Next(HandNetFrontend.DataPages - HeaderPages));
        return Math.Max(room, 0);
    }

    /// <summary>A frame from elsewhere, which is none of its doing.</summary>
    private void Deliver()
    {
        int length = random.Next(4) == 0 ? NetworkFrame.LeastBytes + random.Next(65535 - NetworkFrame.LeastBytes) : NetworkFrame.LeastBytes + random.Next(1600);
        _ = wire.Deliver(_frame.AsSpan(0, length), random.Next(3) == 0 ? new FrameOffload(FrameChecksum.Blank, FrameSegmentation.TcpV4, 1448) : default);
    }

    /// <summary>Changes what the VMM may be reading at this moment, and takes back what it granted.</summary>
    private void Disturb()
    {
        for (int count = 0; count < 8; count++)
        {
            Noise(frontend.Guest.Page(HandNetFrontend.TxPage)[(64 + (random.Next(HandNetFrontend.Slots) * Netif.TxEntryBytes))..], Netif.TxEntryBytes);
            Noise(frontend.Data(random.Next(HeaderPages))[random.Next(200)..], 16);
            // Its own pages and, beyond them, its neighbour's, which it cannot grant; but not the one that it grants to nobody.
            int page = random.Next(-4, 1100);
            GrantEntryFlags flags = random.Next(3) == 0 ? (GrantEntryFlags)random.Next(32) : random.Next(2) == 0 ? GrantEntryFlags.Invalid : GrantEntryFlags.PermitAccess | GrantEntryFlags.Readonly;
            frontend.Guest.Grant(HandNetFrontend.FirstDataGrant + (uint)random.Next(HandNetFrontend.DataPages), (ushort)random.Next(2), page == NetFuzz.NobodysPage ? page + 1 : page, flags);
        }
    }

    private void Noise(Span<byte> place, int length) => random.NextBytes(place[..length]);

    private void Forge()
    {
        if (random.Next(2) == 0)
            Volatile.Write(ref frontend.TxProducer, (uint)random.NextInt64(1L << 32));
        else
            Volatile.Write(ref frontend.RxProducer, (uint)random.NextInt64(1L << 32));
        frontend.RingTx();
    }

    private void Repair()
    {
        for (int page = 0; page < HandNetFrontend.DataPages; page++)
            frontend.Guest.Grant(HandNetFrontend.FirstDataGrant + (uint)page, 0, HandNetFrontend.FirstDataPage + page);
    }
}
