using Tessera.Plugins.Block.Nbd;
using Tessera.Sdk;
using Tessera.Sdk.Conformance.Block;
using Tessera.Sdk.Devices;

namespace Tessera.Block.Tests;

/// <summary>What a connection does when the other side does not.</summary>
internal sealed class NbdTests
{
    [Test]
    public void A_server_that_is_not_there_is_named()
    {
        using Nbd nbd = new(new NbdOptions { Uri = "nbd+unix:///?socket=/nowhere/at/all" });
        Assert.That(() => nbd.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>().With.Message.Contains("/nowhere/at/all").Or.Message.Contains("libnbd0"));
    }

    [TestCase(0.0)]
    [TestCase(0.3)]
    public void Requests_end_with_an_error_when_the_server_does_not_come_back(double seconds)
    {
        using NbdStorage storage = new() { Reconnect = Nanoseconds.FromSeconds(seconds) };
        using IBlockBackend backend = storage.Make();
        backend.Open(BlockAccess.ReadWrite);
        BlockDriver driver = new(backend);
        driver.Write(0, new byte[4096]);
        Assert.That(backend.Problem, Is.Null);
        storage.KillServer();
        Assert.That(driver.Run(BlockOperation.Read, 0, 0, new byte[512]), Is.EqualTo(BlockStatus.IoError));
        Assert.That(driver.Run(BlockOperation.Flush, 0, 0), Is.EqualTo(BlockStatus.IoError));
        Assert.That(backend.Problem, Does.Contain("end with errors from now on"));
        if (seconds > 0)
            Assert.That(backend.Problem, Does.Contain(storage.Uri).And.Contain("cannot be reached"));
    }

    [Test]
    public void Requests_wait_for_a_server_that_comes_back()
    {
        using NbdStorage storage = new();
        using IBlockBackend backend = storage.Make();
        backend.Open(BlockAccess.ReadWrite);
        BlockDriver driver = new(backend);
        driver.Write(8192, Noise(4096, seed: 1));
        storage.KillServer();
        byte[] found = new byte[4096];
        BlockPending read = driver.Begin(BlockOperation.Read, 8192, 0, found);
        BlockPending write = driver.Begin(BlockOperation.Write, 0, 0, Noise(512, seed: 2), Noise(1024, seed: 3));
        Assert.That(SpinWait.SpinUntil(() => backend.Problem is not null, Hang.Limit), Is.True);
        storage.StartServer();
        Assert.That((read.Wait(driver.Patience), write.Wait(driver.Patience)), Is.EqualTo((BlockStatus.Ok, BlockStatus.Ok)));
        Assert.That(found, Is.EqualTo(Noise(4096, seed: 1)));
        Assert.That(driver.Read(0, 1536), Is.EqualTo((byte[])[.. Noise(512, seed: 2), .. Noise(1024, seed: 3)]));
        Assert.That(backend.Problem, Is.Null);
    }

    [Test]
    public void What_a_server_acknowledged_and_lost_is_written_again_before_a_flush_covers_it()
    {
        // More than is remembered at once: the disk flushes by itself meanwhile.
        const int Size = 48 << 20;
        using NbdStorage storage = new(NbdServer.WriteBack, Size);
        using IBlockBackend backend = storage.Make();
        backend.Open(BlockAccess.ReadWrite);
        BlockDriver driver = new(backend);
        byte[] everything = Noise(Size, seed: 4);
        for (int at = 0; at < Size; at += 4 << 20)
            driver.Write(at, everything[at..(at + (4 << 20))]);
        driver.Write(4096, Noise(512, seed: 5));
        Noise(512, seed: 5).CopyTo(everything, 4096);
        Assert.That(driver.Run(BlockOperation.WriteZeroes, 65536, 65536), Is.EqualTo(BlockStatus.Ok));
        everything.AsSpan(65536, 65536).Clear();
        storage.KillServer();
        Assert.That(File.ReadAllBytes(storage.Disk), Is.Not.EqualTo(everything), "the server took something with it");
        storage.StartServer();
        driver.Flush();
        storage.KillServer();
        Assert.That(File.ReadAllBytes(storage.Disk).AsSpan().SequenceEqual(everything), Is.True);
    }

    [Test]
    public void A_server_gets_requests_of_the_sizes_that_it_takes()
    {
        const int Size = 8 << 20;
        const int Large = 3 << 20;
        using NbdStorage storage = new(NbdServer.Picky, Size);
        using IBlockBackend backend = storage.Make();
        BlockGeometry geometry = backend.Open(BlockAccess.ReadWrite);
        Assert.That((geometry.SectorSize, geometry.PhysicalSectorSize), Is.EqualTo((4096, 16384)));
        BlockDriver driver = new(backend);
        byte[] everything = Noise(Size, seed: 7);
        driver.Write(0, everything);
        Assert.That(driver.Read(4096, Large), Is.EqualTo(everything[4096..(4096 + Large)]));
        Assert.That(driver.Run(BlockOperation.WriteZeroes, 8192, Large), Is.EqualTo(BlockStatus.Ok));
        everything.AsSpan(8192, Large).Clear();
        Assert.That(driver.Run(BlockOperation.Discard, 4 << 20, Large), Is.EqualTo(BlockStatus.Ok));
        driver.Write(4 << 20, everything[(4 << 20)..((4 << 20) + Large)]);
        // What is written once more after the server died is cut in the same way.
        storage.KillServer();
        storage.StartServer();
        driver.Flush();
        Assert.That(backend.Problem, Is.Null);
        storage.KillServer();
        Assert.That(File.ReadAllBytes(storage.Disk).AsSpan().SequenceEqual(everything), Is.True);
    }

    [Test]
    public void A_partial_last_sector_is_refused_with_the_cure()
    {
        using NbdStorage storage = new(NbdServer.File, (64 << 10) + 100);
        using IBlockBackend backend = storage.Make();
        Assert.That(() => backend.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>().With.Message.Contains("last 100 bytes").And.Message.Contains("round-up=512"));
    }

    [Test]
    public void A_server_that_comes_back_with_another_disk_is_not_written()
    {
        using NbdStorage storage = new();
        using IBlockBackend backend = storage.Make();
        backend.Open(BlockAccess.ReadWrite);
        BlockDriver driver = new(backend);
        storage.KillServer();
        File.WriteAllBytes(storage.Disk, new byte[128 << 10]);
        BlockPending write = driver.Begin(BlockOperation.Write, 0, 0, Noise(512, seed: 6));
        storage.StartServer();
        Assert.That(write.Wait(driver.Patience), Is.EqualTo(BlockStatus.IoError));
        Assert.That(backend.Problem, Does.Contain("another disk"));
        Assert.That(File.ReadAllBytes(storage.Disk), Is.All.Zero);
    }

    [Test]
    public void A_disk_goes_while_its_server_is_away()
    {
        using NbdStorage storage = new();
        IBlockBackend backend = storage.Make();
        backend.Open(BlockAccess.ReadWrite);
        BlockDriver driver = new(backend);
        storage.KillServer();
        BlockPending write = driver.Begin(BlockOperation.Write, 0, 0, new byte[512]);
        backend.Dispose();
        Assert.That(write.Wait(driver.Patience), Is.EqualTo(BlockStatus.IoError));
    }

    private static byte[] Noise(int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
