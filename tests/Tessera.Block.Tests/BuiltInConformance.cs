using Tessera.Plugins.Block.Ram;
using Tessera.Plugins.Block.Throttle;
using Tessera.Sdk.Conformance;
using Tessera.Sdk.Conformance.Block;
using Tessera.Sdk.Plugins;

namespace Tessera.Block.Tests;

[TestFixture]
internal sealed class RamConformance : BlockConformance
{
    protected override BlockStorage NewStorage() => new VolatileBlockStorage(() => new RamDisk(new RamOptions { Size = new ByteSize(200 << 10) }));
}

[TestFixture]
internal sealed class RawFileConformance : BlockConformance
{
    protected override BlockStorage NewStorage() => new RawFileStorage(direct: false);
}

[TestFixture]
internal sealed class DirectRawFileConformance : BlockConformance
{
    protected override ConformanceOptions Options => base.Options with { Scenarios = 15 };

    protected override BlockStorage NewStorage() => new RawFileStorage(direct: true);
}

[TestFixture]
internal sealed class CopyOnWriteConformance : BlockConformance
{
    protected override BlockStorage NewStorage() => new CopyOnWriteStorage();
}

[TestFixture]
internal sealed class CopyOnWriteCrashConformance : BlockConformance
{
    protected override ConformanceOptions Options => base.Options with { Scenarios = 120 };

    protected override BlockStorage NewStorage() => new CrashingOverlayStorage();
}

[TestFixture]
internal sealed class ThrottleConformance : BlockConformance
{
    protected override BlockStorage NewStorage()
    {
        TestScope scope = new();
        return new VolatileBlockStorage(() => new Throttle(
            new ThrottleOptions { Iops = 100_000, BytesPerSecond = new ByteSize(1L << 30), Group = "all", GroupIops = 90_000 },
            new RamDisk(new RamOptions { Size = new ByteSize(200 << 10) }),
            scope,
            TimeProvider.System));
    }
}

[TestFixture]
internal sealed class NbdConformance : BlockConformance
{
    protected override ConformanceOptions Options => base.Options with { Scenarios = 10 };

    protected override BlockStorage NewStorage() => new NbdStorage();
}

[TestFixture]
internal sealed class NbdDyingServerConformance : BlockConformance
{
    protected override ConformanceOptions Options => base.Options with { Scenarios = 6 };

    protected override BlockStorage NewStorage() => new DyingServerStorage();
}

[TestFixture]
internal sealed class Qcow2Conformance : BlockConformance
{
    protected override ConformanceOptions Options => base.Options with { Scenarios = 6 };

    protected override BlockStorage NewStorage() => new NbdStorage(NbdServer.Qcow2);
}
