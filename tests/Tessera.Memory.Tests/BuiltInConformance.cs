using Tessera.Plugins.Memory.DirectPaging;
using Tessera.Plugins.Memory.StaticPartition;
using Tessera.Sdk.Memory;

namespace Tessera.Memory.Tests;

[TestFixture]
internal sealed class DirectPagingConformance : MmuConformance
{
    protected override IMmuVirtualization Create() => new DirectPaging();
}

[TestFixture]
internal sealed class StaticPartitionConformance : MemoryPolicyConformance
{
    protected override IMemoryPolicy Create() => new StaticPartition();
}
