using Tessera.Plugins.Block.Nbd;
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

    [Test]
    public void Requests_end_with_an_error_when_the_server_dies()
    {
        using NbdStorage storage = new();
        using IBlockBackend backend = storage.Make();
        backend.Open(BlockAccess.ReadWrite);
        BlockDriver driver = new(backend);
        driver.Write(0, new byte[4096]);
        storage.KillServer();
        Assert.That(driver.Run(BlockOperation.Read, 0, 0, new byte[512]), Is.EqualTo(BlockStatus.IoError));
        Assert.That(driver.Run(BlockOperation.Flush, 0, 0), Is.EqualTo(BlockStatus.IoError));
    }
}
