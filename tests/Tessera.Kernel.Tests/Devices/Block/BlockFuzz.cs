using System.Globalization;
using System.Runtime.InteropServices;
using Tessera.Kernel.Devices.Block;
using Tessera.Plugins.Block.Ram;
using Tessera.Sdk.Conformance.Block;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Devices.Block;

/// <summary>
/// A hostile block frontend: random and half-right requests, forged grants and indices, memory that changes while it is read, a ring that
/// is its own data. Every request taken ends once; a neighbour's disk, memory and service are what they were; nothing stays behind.
/// TESSERA_FUZZ_REQUESTS says how many requests, TESSERA_FUZZ_SEED from which seed.
/// </summary>
internal sealed class BlockFuzz
{
    private const int DiskBytes = 1 << 20;

    private static long Requests => long.Parse(Environment.GetEnvironmentVariable("TESSERA_FUZZ_REQUESTS") ?? "100000", CultureInfo.InvariantCulture);

    private static int Seed => int.Parse(Environment.GetEnvironmentVariable("TESSERA_FUZZ_SEED") ?? "20261122", CultureInfo.InvariantCulture);

    [TestCase(false)]
    [TestCase(true)]
    public void A_hostile_frontend_hurts_only_itself(bool persistent)
    {
        TestContext.Out.WriteLine($"seed {Seed}, {Requests} requests");
        using HandMachine machine = new();
        using RamDisk disk = Filled(1);
        using RamDisk other = Filled(2);
        HandFrontend hostile = new(machine, machine.Create(), disk, persistent: persistent);
        HandFrontend neighbour = new(machine, machine.Create(), other);
        byte[] canary = new byte[4096];
        new Random(3).NextBytes(canary);
        // A page of the hostile domain that is granted to somebody else, and one of the neighbour's that is granted to nobody.
        hostile.Guest.Grant(480, 5, 490);
        canary.CopyTo(hostile.Guest.Page(490));
        canary.CopyTo(neighbour.Guest.Page(490));
        Random random = new(Seed);
        Attack attack = new(hostile, random, persistent);
        for (long sent = 0; sent < Requests; sent += attack.Batch())
        {
            if (random.Next(16) != 0)
                continue;
            int page = random.Next(8);
            Assert.That(neighbour.Run(HandFrontend.Transfer(BlkifOp.Read, (ulong)page * 8, HandFrontend.Segment(page))), Is.EqualTo(BlkifStatus.Okay), "the neighbour is served");
            Assert.That(neighbour.Data(page).SequenceEqual(Pattern(2).AsSpan(page * 4096, 4096)), Is.True, "the neighbour reads its own disk");
        }

        Assert.That(hostile.Guest.Page(490).SequenceEqual(canary), Is.True, "a page that was not granted was written");
        Assert.That(neighbour.Guest.Page(490).SequenceEqual(canary), Is.True, "another domain's page was written");
        BlockReading reading = hostile.Disk.Read();
        TestContext.Out.WriteLine($"{reading.Reads} reads, {reading.Writes} writes, {reading.Flushes} flushes, {reading.Discards} discards, {reading.Refused} refused, {reading.BrokenRings} rings broken");
        Assert.That(reading.Refused, Is.Positive);
        Assert.That(reading.Reads, Is.Positive);
        machine.Machine.Destroy(hostile.Guest.Domain);
        machine.Machine.Destroy(neighbour.Guest.Domain);
        Assert.That(machine.Machine.Frames.AssignedFrames, Is.Zero, "frames stay behind");
    }

    private static byte[] Pattern(int seed)
    {
        byte[] bytes = new byte[DiskBytes];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static RamDisk Filled(int seed)
    {
        RamDisk disk = new(new RamOptions { Size = new ByteSize(DiskBytes) });
        _ = disk.Open(Sdk.Devices.BlockAccess.ReadWrite);
        new BlockDriver(disk).Write(0, Pattern(seed));
        return disk;
    }

    private sealed class Attack(HandFrontend frontend, Random random, bool persistent)
    {
        private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

        /// <summary>Sends some requests and waits until the VMM has done with them.</summary>
        /// <returns>How many.</returns>
        public int Batch()
        {
            int count = 1 + random.Next(frontend.Slots);
            long done = Done(frontend.Disk.Read());
            long broken = frontend.Disk.Read().BrokenRings;
            for (int index = 0; index < count; index++)
                frontend.Put(Request());
            if (random.Next(64) == 0)
                frontend.Guest.Grant(HandFrontend.FirstDataGrant + (uint)random.Next(64), (ushort)random.Next(3), random.Next(-4, 700), (GrantEntryFlags)random.Next(0, 32));
            frontend.Kick();
            if (random.Next(4) == 0)
                Disturb();
            bool forged = random.Next(4000) == 0;
            if (forged)
                Volatile.Write(ref frontend.Index(0), (uint)random.Next());
            frontend.Ring();
            bool came = SpinWait.SpinUntil(() => frontend.Disk.Read() is var now && (Done(now) >= done + count || now.BrokenRings > broken), forged ? Patience / 10 : Patience);
            if (came && !forged && frontend.Disk.Read().BrokenRings == broken && Settled(count))
            {
                Repair();
                return count;
            }

            frontend.Reconnect(persistent);
            Repair();
            return count;
        }

        private static long Done(BlockReading reading) => reading.Reads + reading.Writes + reading.Flushes + reading.Discards + reading.Refused;

        private bool Settled(int count)
        {
            int taken = 0;
            return SpinWait.SpinUntil(
                () =>
                {
                    while (taken < count && frontend.TryTake(out _))
                        taken++;
                    return taken == count;
                },
                Patience);
        }

        private void Repair()
        {
            if (random.Next(8) != 0)
                return;
            for (int page = 0; page < 64; page++)
                frontend.Guest.Grant(HandFrontend.FirstDataGrant + (uint)page, 0, HandFrontend.FirstDataPage + page);
        }

        /// <summary>Changes what the VMM may be reading at this moment.</summary>
        private void Disturb()
        {
            for (int index = 0; index < 8; index++)
            {
                frontend.PutSlot((uint)random.Next(), Noise(random.Next(112)));
                Noise(64).CopyTo(frontend.Guest.Page(HandFrontend.IndirectPage)[random.Next(4000)..]);
            }
        }

        private byte[] Noise(int length)
        {
            byte[] bytes = new byte[length];
            random.NextBytes(bytes);
            return bytes;
        }

        private BlkifRequest Request()
        {
            if (random.Next(20) == 0)
            {
                BlkifRequest noise = default;
                random.NextBytes(MemoryMarshal.AsBytes(new Span<BlkifRequest>(ref noise)));
                noise.Operation = (BlkifOp)random.Next(9);
                return noise;
            }

            BlkifOp operation = (BlkifOp)random.Next(7);
            ulong sector = random.Next(8) == 0 ? (ulong)random.NextInt64() : (ulong)random.Next((DiskBytes / 512) + 16);
            if (operation == BlkifOp.Discard)
                return new BlkifRequest { Operation = operation, DiscardFlag = (byte)(random.Next(8) == 0 ? 1 : 0), Id = 1, Sector = sector, DiscardSectors = (ulong)random.Next(200) };
            if (operation == BlkifOp.Indirect)
                return IndirectRequest(sector);
            BlkifRequest request = new() { Operation = operation, Id = (ulong)random.NextInt64(), Sector = sector, SegmentCount = (byte)random.Next(random.Next(16) == 0 ? 256 : 5) };
            for (int index = 0; index < Blkif.MaxSegments; index++)
                request.Segments[index] = Segment();
            return request;
        }

        private BlkifRequest IndirectRequest(ulong sector)
        {
            for (int index = 0; index < 32; index++)
                MemoryMarshal.Write(frontend.Guest.Page(HandFrontend.IndirectPage)[(index * 8)..], Segment());
            BlkifRequest request = new()
            {
                Operation = BlkifOp.Indirect,
                IndirectOperation = (BlkifOp)random.Next(3),
                IndirectSegmentCount = (ushort)(random.Next(8) == 0 ? random.Next(ushort.MaxValue + 1) : random.Next(33)),
                Id = 1,
                Sector = sector,
            };
            for (int index = 0; index < Blkif.MaxIndirectPages; index++)
                request.IndirectGrants[index] = random.Next(8) == 0 ? (uint)random.Next() : 7;
            return request;
        }

        private BlkifSegment Segment() => new()
        {
            Grant = random.Next(6000) switch
            {
                // Its own ring as the data of a read: the disk's bytes become indices and requests.
                0 => HandFrontend.RingGrant,
                < 300 => (uint)random.Next(600),
                < 400 => (uint)random.NextInt64(),
                _ => HandFrontend.FirstDataGrant + (uint)random.Next(64),
            },
            FirstSector = (byte)random.Next(random.Next(8) == 0 ? 256 : 4),
            LastSector = (byte)(random.Next(8) == 0 ? random.Next(256) : random.Next(4, 8)),
        };
    }
}
