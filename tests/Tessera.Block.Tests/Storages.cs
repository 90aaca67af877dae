using Tessera.Plugins.Block.CopyOnWrite;
using Tessera.Plugins.Block.RawFile;
using Tessera.Sdk.Conformance.Block;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Block.Tests;

/// <summary>A disk in a file.</summary>
internal sealed class RawFileStorage(bool direct) : BlockStorage
{
    private readonly TemporaryFolder _folder = new();

    public override IBlockBackend Make() => new RawFile(new RawFileOptions { Path = _folder.File("disk"), Create = new ByteSize(256 << 10), Direct = direct, Workers = 3 });

    protected override void Dispose(bool disposing)
    {
        _folder.Dispose();
        base.Dispose(disposing);
    }
}

/// <summary>An overlay file over a base whose size is not whole blocks, and larger than it.</summary>
internal sealed class CopyOnWriteStorage : BlockStorage
{
    private readonly TemporaryFolder _folder = new();

    public CopyOnWriteStorage()
    {
        byte[] contents = new byte[(200 << 10) + 512];
        new Random(7).NextBytes(contents);
        File.WriteAllBytes(_folder.File("base"), contents);
    }

    public override IBlockBackend Make() =>
        new CopyOnWrite(new CopyOnWriteOptions { Base = _folder.File("base"), Overlay = _folder.File("overlay"), Size = new ByteSize(300 << 10), Workers = 3 });

    protected override void Dispose(bool disposing)
    {
        _folder.Dispose();
        base.Dispose(disposing);
    }
}
