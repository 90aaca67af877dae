using Tessera.Sdk.Conformance.Block;
using Tessera.Sdk.Devices;

namespace ChecksumDisk.Tests;

/// <summary>A disk in memory that a test can spoil, and enlarge.</summary>
internal sealed class SpoiltDisk : IBlockBackend, IGrowingStorage
{
    public byte[] Bytes { get; set; } = new byte[128 << 10];

    private BlockGeometry Geometry { get; set; } = new() { Size = 0 };

    public BlockGeometry Open(BlockAccess access) =>
        Geometry = new BlockGeometry { Size = Bytes.Length, VolatileCache = false, ReadOnly = access == BlockAccess.ReadOnly };

    public long Grow()
    {
        Geometry = Geometry with { Size = Bytes.Length };
        return Bytes.Length;
    }

    public void Submit(BlockRequest request)
    {
        BlockStatus status = Geometry.Check(request);
        Span<byte> place = status == BlockStatus.Ok && request.Operation != BlockOperation.Flush ? Bytes.AsSpan((int)request.Offset, (int)request.Length) : [];
        if (status == BlockStatus.Ok && request.Operation == BlockOperation.WriteZeroes)
            place.Clear();
        foreach (Memory<byte> segment in status == BlockStatus.Ok ? request.Segments : [])
        {
            if (request.Operation == BlockOperation.Read)
                place[..segment.Length].CopyTo(segment.Span);
            else
                segment.Span.CopyTo(place);
            place = place[segment.Length..];
        }

        request.Complete(status);
    }

    public void Dispose()
    {
    }
}

[TestFixture]
internal sealed class ChecksumConformance : BlockConformance
{
    protected override BlockStorage NewStorage() => new VolatileBlockStorage(() => new ChecksumDisk(new SpoiltDisk()));
}

internal sealed class ChecksumTests
{
    [Test]
    public void AReadThatIsNotWhatWasWrittenEndsWithAnError()
    {
        using SpoiltDisk spoilt = new();
        using ChecksumDisk disk = new(spoilt);
        disk.Open(BlockAccess.ReadWrite);
        BlockDriver driver = new(disk);
        driver.Write(4096, new byte[1024]);
        Assert.That(driver.Read(4096, 1024), Is.EqualTo(new byte[1024]));
        spoilt.Bytes[4096 + 700] ^= 4;
        Assert.That(driver.Run(BlockOperation.Read, 4096, 0, new byte[1024]), Is.EqualTo(BlockStatus.IoError));
        Assert.That(driver.Run(BlockOperation.Read, 4096, 0, new byte[512]), Is.EqualTo(BlockStatus.Ok), "the other sector is as it was");
        Assert.That(driver.Run(BlockOperation.Read, 0, 0, new byte[4096]), Is.EqualTo(BlockStatus.Ok), "of what it did not write it knows nothing");
    }

    [Test]
    public void ItGrowsWithTheDiskBeneath()
    {
        using SpoiltDisk spoilt = new();
        using ChecksumDisk disk = new(spoilt);
        disk.Open(BlockAccess.ReadWrite);
        BlockDriver driver = new(disk);
        driver.Write(4096, new byte[512]);
        spoilt.Bytes = [.. spoilt.Bytes, .. new byte[64 << 20]];
        int last = spoilt.Bytes.Length - 512;
        Assert.That(driver.Run(BlockOperation.Read, last, 0, new byte[512]), Is.Not.EqualTo(BlockStatus.Ok), "not yet");
        Assert.That(disk.TryGet<IGrowingStorage>()!.Grow(), Is.EqualTo(spoilt.Bytes.Length));
        driver.Write(last, new byte[512]);
        Assert.That(driver.Read(last, 512), Is.EqualTo(new byte[512]));
        spoilt.Bytes[4096] ^= 4;
        spoilt.Bytes[last] ^= 4;
        Assert.That(driver.Run(BlockOperation.Read, 4096, 0, new byte[512]), Is.EqualTo(BlockStatus.IoError), "what was known before still is");
        Assert.That(driver.Run(BlockOperation.Read, last, 0, new byte[512]), Is.EqualTo(BlockStatus.IoError));
    }

    [Test]
    public void ItDoesNotGrowWhereTheDiskBeneathDoesNot()
    {
        using ChecksumDisk disk = new(new ChecksumDisk(new FixedDisk()));
        Assert.That(disk.TryGet<IGrowingStorage>(), Is.Null);
    }

    private sealed class FixedDisk : IBlockBackend
    {
        public BlockGeometry Open(BlockAccess access) => new() { Size = 4096 };

        public void Submit(BlockRequest request) => request.Complete(BlockStatus.Ok);

        public void Dispose()
        {
        }
    }
}
