using Tessera.Plugins.Memory.DirectPaging;
using Tessera.Plugins.Memory.StaticPartition;
using Tessera.Sdk.Memory;

namespace Tessera.Memory.Tests;

[TestFixture]
internal sealed class DirectPagingConformance : MmuConformance
{
    protected override IMmuVirtualization Create() => new DirectPaging();
}

/// <summary>An MMU that runs guests on tables of its own, with few frames for them and with many.</summary>
[TestFixture(9)]
[TestFixture(100)]
internal sealed class ShadowPagingConformance(int tables) : MmuConformance
{
    protected override IMmuVirtualization Create() => new ShadowPaging(tables);
}

[TestFixture]
internal sealed class StaticPartitionConformance : MemoryPolicyConformance
{
    protected override IMemoryPolicy Create() => new StaticPartition();
}
