using Tessera.Kernel.Memory;
using Tessera.Plugins.Memory.DirectPaging;
using Tessera.Sdk;

namespace Tessera.Memory.Tests.Support;

/// <summary>A domain under direct paging, with the kernel's own frame table.</summary>
internal sealed class Machine : MmuMachine
{
    public Machine()
        : this(new FrameTable(new Mfn(FirstFrame), Own))
    {
    }

    private Machine(FrameTable table)
        : this(table, new CountingFrames(table))
    {
    }

    private Machine(FrameTable table, CountingFrames counting)
        : base(new DirectPaging(), counting) => (Table, Counting) = (table, counting);

    public FrameTable Table { get; }

    public CountingFrames Counting { get; }
}
