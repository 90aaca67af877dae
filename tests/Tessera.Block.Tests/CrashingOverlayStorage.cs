using Tessera.Plugins.Block.CopyOnWrite;
using Tessera.Sdk.Conformance.Block;
using Tessera.Sdk.Devices;

namespace Tessera.Block.Tests;

/// <summary>An overlay on a storage that loses, at a crash, any part of what was not synchronized.</summary>
internal sealed class CrashingOverlayStorage : BlockStorage
{
    private const int Workers = 3;

    private readonly TemporaryFolder _folder = new();
    private readonly OverlayHeader _header;
    private readonly CrashingMedium _medium;

    public CrashingOverlayStorage()
    {
        byte[] contents = new byte[160 << 10];
        new Random(11).NextBytes(contents);
        File.WriteAllBytes(_folder.File("base"), contents);
        using BaseImage image = new(_folder.File("base"), Workers);
        _header = new OverlayHeader { Size = 200 << 10, BaseSize = image.Size, Fingerprint = image.Fingerprint(), BasePath = image.Path };
        _medium = new CrashingMedium((int)(_header.DataOffset + (_header.Blocks * OverlayHeader.BlockBytes)));
        Assert.That(Overlay.Format(new CrashingFile(_medium), _header), Is.EqualTo(BlockStatus.Ok));
    }

    public override bool CanCrash => true;

    public override IBlockBackend Make() => new CopyOnWrite(_ => new Overlay(new BaseImage(_folder.File("base"), Workers), new CrashingFile(_medium), "overlay", Workers), Workers);

    public override void Crash(int seed) => _medium.Crash(new Random(seed));

    protected override void Dispose(bool disposing)
    {
        _folder.Dispose();
        base.Dispose(disposing);
    }
}
