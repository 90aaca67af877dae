using Tessera.Plugins.Block.Ram;
using Tessera.Sdk.Conformance;
using Tessera.Sdk.Conformance.Block;
using Tessera.Sdk.Plugins;

namespace Tessera.Kernel.Tests.Devices.Block;

/// <summary>The suite of block backends, through the ring.</summary>
[TestFixture(0, false, false)]
[TestFixture(0, true, false)]
[TestFixture(2, false, true)]
[TestFixture(2, true, true)]
internal sealed class BlockRingConformance(int order, bool persistent, bool indirect) : BlockConformance
{
    protected override ConformanceOptions Options => base.Options with { Scenarios = 8 };

    protected override BlockStorage NewStorage() =>
        new VolatileBlockStorage(() => new RingBackend(new RamDisk(new RamOptions { Size = new ByteSize(200 << 10) }), order, persistent, indirect));

    protected override string? Excuse(string check) => check == "a-request-allocates-nothing-on-the-thread-that-submits-it"
        ? "The frontend played by the test allocates; what the VMM allocates is looked at in BlockRingTests."
        : null;
}
